"""The subset is what train-reid keeps, with everything else as it was, and nothing of what is withheld."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from augment import files
from augment.check import check
from augment.data import keypoints, subsets
from augment.data.read import read_data
from augment.reid_training import file_source
from augment.subset import SubsetConfig, prepare, run
from augment.train_reid import TrainReidConfig
from augment.train_reid import prepare as prepare_training
from reid.mixing import MixPolicy, mix
from tests import killing, noise_sets
from tests.command_line import caller

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"
POINTS = ("market-annotation-train.csv", "market-annotation-test.csv")
HALF = SubsetConfig(0.5)


@pytest.fixture
def root(pedestrians, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(pedestrians, tmp_path / "data")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def lines(path):
    return path.read_text().splitlines()


@pytest.mark.parametrize(("portion", "seed"), [(0.05, 0), (0.3, 4), (0.5, 0), (1.0, 0)])
def test_it_holds_the_very_images_that_train_reid_keeps(pedestrians, tmp_path, portion, seed):
    dataset = read_data(pedestrians)
    out = run(SubsetConfig(portion, seed), pedestrians, tmp_path / "out")
    policy = MixPolicy(0.0, portion, seed=77, portion_seed=seed if portion < 1 else None)
    ordered = sorted(record.name for record in dataset.train)
    assert names(out / TRAIN) == [ordered[item.index] for item in mix(file_source(dataset.train), [], policy)]
    counts = Counter(record.pid for record in dataset.train)
    kept = Counter(record.pid for record in read_data(out).train)
    assert kept == {pid: max(1, round(portion * count)) for pid, count in counts.items()}


def test_query_and_gallery_are_those_of_the_data_in_their_order(pedestrians, tmp_path):
    whole, half = read_data(pedestrians), read_data(run(HALF, pedestrians, tmp_path / "out"))
    for split in ("query", "gallery"):
        one, other = getattr(whole, split), getattr(half, split)
        assert [(record.name, record.pid, record.camid) for record in one] == [
            (record.name, record.pid, record.camid) for record in other
        ]
    assert half.test_digest == whole.test_digest
    assert half.digest != whole.digest
    assert names(half.root / GALLERY) == names(pedestrians / GALLERY), "junk too"
    found = check(half.root, deep=True)
    assert (found.errors, found.warnings) == ([], [])


def test_nothing_of_a_withheld_image_is_there(root, tmp_path):
    everything = [path.name for path in sorted((root / TRAIN).iterdir())]
    listed = ["from,to,note", *(f"{one},{other},x" for one in everything for other in everything[:3] if one != other)]
    (root / "market-pairs-train.csv").write_text("\n".join(listed) + "\n")
    gallery = names(root / GALLERY)
    (root / "market-pairs-test.csv").write_text(f"from,to\n{gallery[0]},{gallery[1]}\n")
    out = run(HALF, root, tmp_path / "out")
    kept = set(names(out / TRAIN))
    for path in (path for path in out.rglob("*") if path.is_file() and path.suffix != ".jpg"):
        text = path.read_text()
        assert [name for name in everything if name not in kept and name in text] == []
    train, test = (lines(root / name) for name in POINTS)
    assert lines(out / POINTS[0]) == [line for line in train if line.partition(":")[0] in kept | {"name"}]
    assert lines(out / POINTS[1]) == test
    expected = [line for line in listed if set(line.split(",")[:2]) <= kept | {"from", "to"}]
    assert lines(out / "market-pairs-train.csv") == expected
    assert len(expected) > 1
    assert lines(out / "market-pairs-test.csv") == lines(root / "market-pairs-test.csv")


def test_images_are_links_and_where_there_are_none_copies(pedestrians, tmp_path, monkeypatch):
    out, log = run(HALF, pedestrians, tmp_path / "out"), []
    for path in (out / TRAIN).iterdir():
        assert path.samefile(pedestrians / TRAIN / path.name)

    def refuse(self, target):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    copied = run(HALF, pedestrians, tmp_path / "copied", log=log.append)
    assert log[-1].endswith("copied: this file system has no links to those images")
    for path in (copied / TRAIN).iterdir():
        assert not path.samefile(pedestrians / TRAIN / path.name)
        assert path.read_bytes() == (pedestrians / TRAIN / path.name).read_bytes()
    assert files.read_json(copied / "subset.json") == files.read_json(out / "subset.json")


def test_links_to_images_are_followed(pedestrians, tmp_path):
    (tmp_path / "data").mkdir()
    for folder in (TRAIN, QUERY, GALLERY):
        (tmp_path / "data" / folder).symlink_to(pedestrians / folder)
    aside = tmp_path / "aside" / TRAIN
    aside.mkdir(parents=True)
    for path in (pedestrians / TRAIN).iterdir():
        (aside / path.name).symlink_to(os.path.relpath(path, aside))
    (tmp_path / "data" / TRAIN).unlink()
    (tmp_path / "data" / TRAIN).symlink_to(aside)
    out = run(HALF, tmp_path / "data", tmp_path / "deeper" / "out")
    assert not any(path.is_symlink() for path in out.rglob("*"))
    assert read_data(out).digest == read_data(run(HALF, pedestrians, tmp_path / "other")).digest
    assert check(out).errors == []


def test_the_record_says_what_was_kept_of_what(pedestrians, tmp_path):
    whole, out = read_data(pedestrians), run(SubsetConfig(0.4, 3), pedestrians, tmp_path / "out")
    held, own = files.read_json(out / "subset.json"), read_data(out)
    assert (held["portion"], held["seed"], held["kept"]) == (0.4, 3, names(out / TRAIN))
    assert held["of"]["data_digest"] == whole.digest
    assert held["of"]["files_sha256"][POINTS[0]] == files.sha256(pedestrians / POINTS[0])
    found = subsets.origin(own)
    assert found == subsets.Origin(0.4, 3, len(own.train), len(whole.train), whole.digest, "Market-1501", 6)
    assert subsets.origin(whole) is None


def test_a_changed_subset_is_known_by_all_that_read_it(root, tmp_path):
    out = run(HALF, root, tmp_path / "out")
    back = min(set(names(root / TRAIN)) - set(names(out / TRAIN)))
    shutil.copy(root / TRAIN / back, out / TRAIN)
    with pytest.raises(ValueError, match=r"no longer the \d+ of the subset .* make the subset anew"):
        prepare_training(TrainReidConfig(mixing=MixPolicy(0.0)), out)
    with pytest.raises(ValueError, match="no longer the"):
        run(HALF, root, out)
    (out / TRAIN / back).unlink()
    (out / QUERY / names(out / QUERY)[0]).unlink()
    with pytest.raises(ValueError, match="query or gallery images are no longer those of the data"):
        run(HALF, root, out)
    (out / "subset.json").write_text("{}")
    with pytest.raises(ValueError, match="not what `augment subset` writes"):
        prepare_training(TrainReidConfig(mixing=MixPolicy(0.0)), out)


def test_results_name_their_regime(pedestrians, tmp_path):
    def regime(data, portion, *sets):
        job = prepare_training(TrainReidConfig(mixing=MixPolicy(0.1 if sets else 0.0, portion)), data, sets)
        return job.provenance["regime"], job.provenance["subset"]

    half, whole = (run(SubsetConfig(portion), pedestrians, tmp_path / f"{portion}") for portion in (0.5, 1.0))
    sets = {root: noise_sets.write_set(root.with_suffix(".h5"), root) for root in (half, whole)}
    full = noise_sets.write_set(tmp_path / "full.h5", pedestrians)
    assert regime(pedestrians, 1.0, full) == (None, None)
    assert regime(pedestrians, 0.5, full) == ("G-full", None)
    assert regime(pedestrians, 0.5) == (None, None)
    found, origin = regime(half, 1.0, sets[half])
    assert (found, origin["data_digest"]) == ("G-subset", read_data(pedestrians).digest)
    assert regime(half, 0.5, sets[half])[0] == "G-full"
    assert regime(whole, 1.0, sets[whole])[0] is None
    assert regime(half, 1.0)[0] is None
    with pytest.raises(ValueError, match=r"full\.h5: its provenance contradicts this data"):
        regime(half, 1.0, full)


# What is refused


def test_done_work_is_recognised_and_other_work_refused(root, tmp_path):
    log, out = [], tmp_path / "out"
    run(HALF, root, out)
    before = (out / "subset.json").stat().st_mtime_ns
    assert run(HALF, root, out, log=log.append) == out
    assert log == ["already done"]
    assert (out / "subset.json").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match=r"holds another subset: portion \(0\.5 there, 0\.4 here\)"):
        run(SubsetConfig(0.4), root, out)
    with pytest.raises(ValueError, match=r"holds another subset: seed"):
        run(SubsetConfig(0.5, 1), root, out)
    with (root / POINTS[0]).open("a") as file:
        file.write("\n")
    with pytest.raises(ValueError, match=r"of\.files_sha256\.market-annotation-train\.csv"):
        run(HALF, root, out)


def test_places_where_no_subset_may_go(pedestrians, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(ValueError, match=r"full: holds files but no subset\.json"):
        run(HALF, pedestrians, tmp_path / "full")
    with pytest.raises(ValueError, match="is no folder"):
        run(HALF, pedestrians, tmp_path / "full" / "x")
    (tmp_path / "empty").mkdir()
    assert run(HALF, pedestrians, tmp_path / "empty").is_dir()


def test_data_that_no_subset_is_made_of(root, tmp_path):
    out = run(HALF, root, tmp_path / "half")
    with pytest.raises(ValueError, match=r"is a subset itself, .* give the data that it was made of"):
        run(HALF, out, tmp_path / "quarter")
    records = read_data(root).train
    rows = [f"{record.path},{record.pid},train,{record.camid}" for record in records]
    (tmp_path / "all.csv").write_text("\n".join(["path,pid,split,camid", *rows]) + "\n")
    with pytest.raises(ValueError, match=r"in the layout of manifest, .* train-reid --portion takes any data"):
        prepare(HALF, tmp_path / "all.csv")
    shutil.copy(records[0].path, root / GALLERY)
    with pytest.raises(ValueError, match="are both in training and in query or gallery"):
        prepare(HALF, root)
    with pytest.raises(ValueError, match=r"--portion 0: must be above 0"):
        SubsetConfig(0)


def test_a_kill_leaves_nothing_under_the_name_and_the_next_run_cleans_up(pedestrians, tmp_path):
    def killed():
        run(HALF, pedestrians, tmp_path / "out", progress=lambda done, total: killing.die() if done == 9 else None)

    assert killing.in_child(killed) == -9
    assert not (tmp_path / "out").exists()
    assert len(names(tmp_path)) == 1, "what it had begun"
    run(HALF, pedestrians, tmp_path / "out")
    assert names(tmp_path) == ["out"]


def test_a_full_disk_leaves_nothing(pedestrians, tmp_path, monkeypatch):
    def full(path, value):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_json", full)
    with pytest.raises(OSError, match="No space left"):
        run(HALF, pedestrians, tmp_path / "out")
    assert names(tmp_path) == []


# Other layouts and the command


def test_dukemtmc_under_a_download_s_folder(tmp_path):
    base = tmp_path / "data" / "DukeMTMC-reID"
    for folder, people in ((TRAIN, (1, 2)), (QUERY, (3,)), (GALLERY, (3,))):
        (base / folder).mkdir(parents=True)
        for pid in people:
            for camid in (1, 2, 3, 4):
                Image.new("RGB", (8, 16)).save(base / folder / f"{pid:04d}_c{camid}_f{pid * 10 + camid:07d}.jpg")
    (tmp_path / "data" / POINTS[0]).write_text(keypoints.HEADER + "\n")
    out = run(HALF, tmp_path / "data", tmp_path / "out")
    found = read_data(out)
    assert (found.title, len(found.train), len(found.query), len(found.gallery)) == ("DukeMTMC-reID", 4, 4, 4)
    assert lines(out / POINTS[0]) == [keypoints.HEADER]


def test_the_command(pedestrians, tmp_path, monkeypatch, capsys):
    augment, out = caller(monkeypatch, capsys), tmp_path / "out"
    total, kept = len(read_data(pedestrians).train), len(prepare(HALF, pedestrians).record["kept"])
    rehearsed = augment("subset", pedestrians, "--portion", 0.5, "--out", out, "--dry-run")
    assert (rehearsed.code, rehearsed.out) == (0, f"{kept} of {total} training images of 6 identities\n")
    assert not out.exists()
    made = augment("subset", pedestrians, "--portion", 0.5, "--seed", 2, "--out", out)
    assert (made.code, made.out) == (0, f"{out}\n")
    assert json.loads((out / "subset.json").read_text())["seed"] == 2
    again = augment("subset", pedestrians, "--portion", 0.5, "--seed", 2, "--out", out)
    assert (again.code, again.out, again.err) == (0, f"{out}\n", "already done\n")
    for options, word in ((("--portion", 0), "--portion"), ((), "--portion"), (("--portion", 0.4), "another subset")):
        refused = augment("subset", pedestrians, *options, "--out", out)
        assert refused.code == 2
        assert refused.err.startswith("Error: ")
        assert word in refused.err
