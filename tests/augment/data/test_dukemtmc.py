"""DukeMTMC-reID: Market-1501's folders, other names."""

import pytest

from augment.audit import require_disjoint
from augment.check import check
from augment.data.dukemtmc import parse_name
from augment.data.read import read_data


@pytest.fixture
def root(pedestrians, tmp_path):
    """The procedural set under DukeMTMC-reID's names; without junk and distractors, of which it has none."""
    for folder in ("bounding_box_train", "query", "bounding_box_test"):
        (tmp_path / "DukeMTMC-reID" / folder).mkdir(parents=True)
        for number, path in enumerate(sorted((pedestrians / folder).glob("*.jpg"))):
            pid, camid = parse_market(path.name)
            if pid > 0:
                name = f"{pid:04d}_c{camid}_f{46_000 + number:07d}.jpg"
                (tmp_path / "DukeMTMC-reID" / folder / name).write_bytes(path.read_bytes())
    (tmp_path / "DukeMTMC-reID" / "CITATION_DukeMTMC.txt").touch()
    return tmp_path / "DukeMTMC-reID"


def parse_market(name):
    pid, camera = name.split("_")[:2]
    return int(pid), int(camera[1])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0001_c2_f0046182.jpg", (1, 2)),
        ("7140_c8_f0175988.JPG", (7140, 8)),
        ("0001_c2_f0046182.png", (1, 2)),
        ("0002_c1s1_000451_03.jpg", None),  # Market-1501
        ("0001_c2_0046182.jpg", None),
        ("001_c2_f0046182.jpg", None),
        ("0001_c2_f0046182.jpg.jpg", None),
        ("Thumbs.db", None),
    ],
)
def test_names(name, expected):
    assert parse_name(name) == expected


@pytest.mark.parametrize("nested", [".", "DukeMTMC-reID", "dukemtmc-reid", "dukemtmc-reid/DukeMTMC-reID"])
def test_a_root_is_recognised_by_its_names(pedestrians, root, tmp_path, nested):
    inner = tmp_path / "outer" / nested
    inner.parent.mkdir(parents=True, exist_ok=True)
    root.rename(inner)
    found, original = read_data(tmp_path / "outer"), read_data(pedestrians)
    assert (found.root, found.title) == (inner, "DukeMTMC-reID")
    for split in ("train", "query", "gallery"):
        expected = sorted((r.pid, r.camid) for r in getattr(original, split) if r.pid > 0)
        assert sorted((r.pid, r.camid) for r in getattr(found, split)) == expected
    require_disjoint(found)


def test_names_of_another_set_among_them_are_an_error(root):
    for number in range(3):
        (root / "query" / f"0002_c1s1_00045{number}_03.jpg").touch()
    message = r"query: 3 images whose names are not DukeMTMC-reID's \(as 0001_c2_f0046182\.jpg\): 0002_c1s1"
    with pytest.raises(ValueError, match=message):
        read_data(root)


def test_check_counts_and_compares(root):
    found = check(root)
    assert (found.title, found.errors) == ("DukeMTMC-reID", [])
    assert found.published["gallery"] == {"images": 17_661, "identities": 1_110, "cameras": 8}
    assert sum(warning.endswith("an incomplete copy, or another split") for warning in found.warnings) == 3


def test_key_points_are_found_beside_or_inside(root):
    (root.parent / "market-annotation-train.csv").touch()
    assert read_data(root.parent).annotations == (root.parent / "market-annotation-train.csv",)
    assert read_data(root).annotations == ()
