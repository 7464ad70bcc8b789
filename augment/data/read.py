"""One way in: DATA is a root of Market-1501, DukeMTMC-reID, MSMT17 or (as PATN keeps it) DeepFashion, or a manifest."""

from pathlib import Path

from augment.data import deepfashion, dukemtmc, manifest, market1501, msmt17
from augment.data.market1501 import TRAIN_FOLDERS
from augment.data.records import DataSet
from augment.data.survey import Survey, some

PUBLISHED = {layout.TITLE: layout.PUBLISHED for layout in (market1501, dukemtmc, msmt17)}
NESTED = (*market1501.NESTED, *dukemtmc.NESTED, *msmt17.NESTED)


def read_data(path: Path) -> DataSet:
    """Open a root or a manifest.

    Raises:
        ValueError: none of them, or broken; the message names the file, the value and the remedy.
    """
    return survey(path).usable()


def survey(path: Path) -> Survey:
    """Read as much of a root or a manifest as can be read.

    Raises:
        ValueError: none of them, or without its folders, lists or columns.
    """
    if path.is_file():
        if path.suffix.lower() != ".csv":
            raise ValueError(f"{path}: a file that is no .csv manifest; give a data set's root or a CSV manifest")
        return manifest.survey(path)
    if not path.exists():
        raise ValueError(f"{path}: no such folder; give a data set's root, or make one with `augment make-data {path}`")
    if deepfashion.is_root(path):
        return deepfashion.survey_root(path)
    base = _find_base(path)
    if msmt17.is_root(base):
        return msmt17.survey_root(path, base)
    folders = market1501.find_folders(base)
    assert folders is not None
    naming = dukemtmc.NAMING if dukemtmc.is_root(folders) else market1501.NAMING
    return market1501.survey_folders(path, folders, naming)


def _find_base(root: Path) -> Path:
    """The folder that holds the splits: the root, or one of those in it that downloads and torchreid make."""
    if _is_base(root):
        return root
    bases: list[Path] = []
    for base in filter(_is_base, (root / nested for nested in NESTED)):
        if not any(base.samefile(other) for other in bases):  # names that differ by case alone
            bases.append(base)
    if len(bases) == 1:
        return bases[0]
    if bases:
        names = ", ".join(str(base.relative_to(root)) for base in bases)
        raise ValueError(f"{root}: holds {len(bases)} data sets ({names}); give one of these folders")
    held = some(sorted(entry.name for entry in root.iterdir())) or "nothing"
    raise ValueError(
        f"{root}: no data set: it holds neither {' nor '.join(TRAIN_FOLDERS)} nor MSMT17's lists (also not in "
        f"{market1501.NESTED[0]}/, {dukemtmc.NESTED[0]}/, {msmt17.NESTED[0]}/ or torchreid's folders) but {held}; give "
        "the folder that holds bounding_box_train/ or list_train.txt, or a CSV manifest"
    )


def _is_base(folder: Path) -> bool:
    return msmt17.is_root(folder) or market1501.find_folders(folder) is not None
