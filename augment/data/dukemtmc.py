"""DukeMTMC-reID roots: Market-1501's folders and other names (Ristani et al., ECCVW 2016; Zheng et al., ICCV 2017).

`0001_c2_f0046182.jpg` is identity, camera, frame. The gallery holds 408 identities that only one camera saw and that no
query shows: they distract, but they are people and keep their numbers.
"""

import re

from augment.data.market1501 import Folders, Naming, image_files

TITLE = "DukeMTMC-reID"
PUBLISHED = {
    "train": {"images": 16_522, "identities": 702, "cameras": 8},
    "query": {"images": 2_228, "identities": 702, "cameras": 8},
    "gallery": {"images": 17_661, "identities": 702 + 408, "cameras": 8},
}
NAME = re.compile(r"^(?P<pid>-1|\d{4,})_c(?P<camid>\d+)_f(?P<frame>\d+)\.(?:jpg|jpeg|png)$", re.I)
EXAMPLE = "0001_c2_f0046182.jpg"
NESTED = ("DukeMTMC-reID", "dukemtmc-reid", "dukemtmc-reid/DukeMTMC-reID")


def is_root(folders: Folders) -> bool:
    """Whether most of the training images have such names; the folders are Market-1501's."""
    named = [parse_name(path.name) is not None for path in image_files(folders.train)]
    return 2 * sum(named) > len(named)


def parse_name(name: str) -> tuple[int, int] | None:
    """(identity, camera) of a file name, or None where it is not DukeMTMC-reID's."""
    match = NAME.match(name)
    return None if match is None else (int(match["pid"]), int(match["camid"]))


NAMING = Naming(TITLE, EXAMPLE, parse_name)
