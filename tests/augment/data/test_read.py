"""One way in: which data set a folder holds."""

import pytest

from augment.data.read import read_data


def make_market(base):
    for folder, name in (
        ("bounding_box_train", "0002_c1s1_000451_03.jpg"),
        ("query", "0001_c1s1_001051_00.jpg"),
        ("bounding_box_test", "0001_c2s1_000301_00.jpg"),
    ):
        (base / folder).mkdir(parents=True)
        (base / folder / name).touch()
    return base


def make_duke(base):
    (base / "bounding_box_train").mkdir(parents=True)
    (base / "bounding_box_train" / "0001_c2_f0046182.jpg").touch()
    return base


def test_what_is_no_data_set(tmp_path):
    root = make_market(tmp_path / "root")
    with pytest.raises(ValueError, match=r"no such folder; .*augment make-data"):
        read_data(tmp_path / "nowhere")
    with pytest.raises(
        ValueError, match=r"holds neither bounding_box_train nor train nor MSMT17's lists .* but 0001_c1s1"
    ):
        read_data(root / "query")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="but nothing; give the folder that holds bounding_box_train/ or list_train"):
        read_data(tmp_path / "empty")
    (root / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"notes\.txt: a file that is no \.csv manifest"):
        read_data(root / "notes.txt")


def test_a_folder_of_several_data_sets_is_not_guessed_at(tmp_path):
    """Such as the folder that torchreid keeps its data sets in."""
    make_market(tmp_path / "market1501" / "Market-1501-v15.09.15")
    assert read_data(tmp_path).title == "Market-1501"
    make_duke(tmp_path / "dukemtmc-reid" / "DukeMTMC-reID")
    with pytest.raises(
        ValueError,
        match=r"2 data sets \(market1501/Market-1501-v15\.09\.15, dukemtmc-reid/DukeMTMC-reID\); give one of these",
    ):
        read_data(tmp_path)
    assert read_data(tmp_path / "dukemtmc-reid").title == "DukeMTMC-reID"


def test_one_folder_under_two_names_is_one_data_set(tmp_path):
    make_market(tmp_path / "Market-1501-v15.09.15")
    (tmp_path / "market1501").symlink_to("Market-1501-v15.09.15")
    assert read_data(tmp_path).title == "Market-1501"


def test_patns_renaming_is_no_msmt17(tmp_path):
    make_market(tmp_path)
    (tmp_path / "bounding_box_train").rename(tmp_path / "train")
    (tmp_path / "bounding_box_test").rename(tmp_path / "test")
    assert read_data(tmp_path).title == "Market-1501"
