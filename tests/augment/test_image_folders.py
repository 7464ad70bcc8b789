"""Folders of generated images: pairs by file name, by the names that test scripts give, panels, key points, sizes."""

import dataclasses
import shutil

import numpy as np
import pytest

from augment.data import keypoints
from augment.data.images import read_image
from augment.data.read import read_data
from augment.data.records import Record
from augment.image_folders import Panel, of_folders, of_results
from augment.image_pairs import IMAGES, SOME_KNOWN
from augment.sheets import png


@pytest.fixture(scope="module")
def dataset(pedestrians):
    return read_data(pedestrians)


@pytest.fixture(scope="module")
def points(dataset):
    return keypoints.dataset_points(dataset)


def test_folders_are_paired_by_name(dataset, tmp_path):
    real, made = tmp_path / "real", tmp_path / "made"
    for folder in (real, made):
        folder.mkdir()
    records = dataset.train[:4]
    for record in records[:3]:
        shutil.copy(record.path, real)
    for index, record in enumerate(records[1:]):
        (made / f"{record.path.stem}.png").write_bytes(png(np.full((128, 64, 3), index, np.uint8)))
    compared = of_folders(real, made)
    assert compared.paired.tolist() == [True, True, False]
    assert compared.people.tolist() == [record.pid for record in records[1:]]
    np.testing.assert_array_equal(compared.true(np.asarray([1])), read_image(records[2].path)[None])
    assert (compared.generated(np.arange(3)) == np.arange(3)[:, None, None, None]).all()
    assert compared.notes == ("1 of 3 generated images have no real one of that name",)
    with pytest.raises(ValueError, match=r"--images: .*nowhere is no folder that holds images itself"):
        of_folders(real, tmp_path / "nowhere")


def folder(path, **colours):
    """A folder of grey images: name (with __ for the dot) and grey level."""
    path.mkdir()
    for name, level in colours.items():
        (path / name.replace("__", ".")).write_bytes(png(np.full((8, 4, 3), level, np.uint8)))
    return path


def test_the_exact_name_comes_before_the_stem(tmp_path):
    real = folder(tmp_path / "real", a__jpg=1, a__png=2, b__jpg=3)
    made = folder(tmp_path / "made", a__jpg=10, a__png=20, b__png=30)
    compared = of_folders(real, made)
    assert compared.true(np.arange(3))[:, 0, 0, 0].tolist() == [1, 2, 3]
    unclear = folder(tmp_path / "unclear", a__jpeg=10)
    with pytest.raises(ValueError, match=r"DATA: a\.jpg and a\.png could both be the true image of a\.jpeg"):
        of_folders(real, unclear)
    twice = folder(tmp_path / "twice", b__jpg=1, b__png=2)
    with pytest.raises(ValueError, match=r"--images: b\.jpg and b\.png could both be generated for b\.jpg"):
        of_folders(real, twice)


def test_each_unknown_person_of_a_folder_stands_alone(tmp_path):
    names = ("0001_c1_1__png", "0000_c1_1__png", "0001_c2_1__png", "0000_c2_1__png", "somebody__png")
    made = folder(tmp_path / "made", **dict.fromkeys(names, 1))
    compared = of_folders(made, made)
    assert compared.unit == SOME_KNOWN
    people = dict(zip(sorted(names), compared.people.tolist(), strict=True))
    assert people["0001_c1_1__png"] == people["0001_c2_1__png"] == 1
    assert len(set(people.values())) == 4
    assert compared.notes == (
        "3 of 5 generated images show nobody known: intervals resample each of them on its own, and the others by "
        "identity",
    )
    nobody = folder(tmp_path / "nobody", **dict.fromkeys(names[1::2], 1))
    assert (of_folders(nobody, nobody).unit, of_folders(nobody, nobody).notes) == (IMAGES, ())


def test_sizes_that_differ_name_both_images(tmp_path):
    small, large = folder(tmp_path / "small", a__png=1), tmp_path / "large"
    large.mkdir()
    (large / "a.png").write_bytes(png(np.zeros((16, 8, 3), np.uint8)))
    with pytest.raises(ValueError, match=r"small/a\.png: is 8x4, .*large/a\.png is 16x8 .*resize one of them$"):
        of_folders(large, small)
    (large / "b.png").write_bytes(png(np.zeros((8, 4, 3), np.uint8)))
    with pytest.raises(ValueError, match=r"large/a\.png: is 16x8, .*large/b\.png is 8x4"):
        of_folders(large, small)


def test_key_points_of_folders_go_by_the_true_images_name(tmp_path):
    real = folder(tmp_path / "real", a__png=1, b__png=2)
    made = folder(tmp_path / "made", a__jpg=10, c__png=20)
    points = {name: np.full((18, 2), value, np.float32) for value, name in enumerate(("a.png", "b.png", "c.png"))}
    compared = of_folders(real, made, points)
    assert compared.poses is not None
    assert compared.poses[:, 0, 0].tolist() == [0, 2], "of a.png for a.jpg, and its own for what has no true image"
    del points["c.png"]
    compared = of_folders(real, made, points)
    assert compared.poses is None
    assert compared.notes[-1].startswith("1 of 2 true images have no key points (c.png, ...), so nothing is compared")
    with pytest.raises(ValueError, match=r"--poses: holds key points of none of the 2 true images \(a\.png"):
        of_folders(real, made, {"b.png": points["b.png"]})


def panels(*levels, size=(128, 64)):
    return png(np.repeat(np.asarray(levels, np.uint8), size[1])[None, :, None].repeat(size[0], 0).repeat(3, 2))


def pair_of(dataset, person=0):
    """Two test images of one person."""
    people = sorted({record.pid for record in dataset.query})
    records = sorted(
        {record for record in (*dataset.query, *dataset.gallery) if record.pid == people[person]},
        key=lambda record: record.name,
    )
    return records[0], records[1]


@pytest.mark.parametrize(
    "form", ["{0}.jpg___{1}.jpg_vis.png", "{0}___{1}.png", "{0}_2_{1}_vis.png", "{0}.jpg_2_{1}.jpg.png"]
)
def test_results_tell_their_pair_by_name(dataset, points, tmp_path, form):
    """As PATN's, GFLA's and DPTN's test scripts name them, with or without the suffixes that they cut off."""
    pairs = [pair_of(dataset), pair_of(dataset)[::-1], pair_of(dataset, 1)]
    for level, (source, target) in enumerate(pairs):
        name = form.format(source.path.stem, target.path.stem)
        (tmp_path / name).write_bytes(png(np.full((128, 64, 3), level, np.uint8)))
    compared = of_results(tmp_path, dataset, points)
    order = compared.generated(np.arange(3))[:, 0, 0, 0].tolist()
    named = [pairs[place] for place in order]
    assert compared.source is not None
    for side, read in enumerate((compared.source, compared.true)):
        expected = np.stack([read_image(pair[side].path) for pair in named])
        np.testing.assert_array_equal(read(np.arange(3)), expected)
    assert compared.people.tolist() == [target.pid for _, target in named]
    assert compared.poses is not None
    np.testing.assert_array_equal(compared.poses, keypoints.stack([target for _, target in named], points))
    assert compared.real == dataset.train
    assert {record.name for record in compared.other} == {target.name for _, target in pairs}


def test_the_asked_panel_is_cut_out_and_never_guessed(dataset, tmp_path):
    source, target = pair_of(dataset)
    (tmp_path / f"{source.name}___{target.name}_vis.png").write_bytes(panels(10, 20, 30, 40, 50))
    for place in (1, 3, 5):
        found = of_results(tmp_path, dataset, None, Panel(place, 5)).generated(np.asarray([0]))
        assert found.shape == (1, 128, 64, 3)
        assert (found == 10 * place).all()
    with pytest.raises(ValueError, match=r"is 128x320, .* is 128x64 .*or say which panel it is with --panel PLACE/5"):
        of_results(tmp_path, dataset)
    with pytest.raises(ValueError, match=r"--panel 2/3: .* is 320 pixels wide, no multiple of 3"):
        of_results(tmp_path, dataset, None, Panel(2, 3))
    with pytest.raises(ValueError, match=r"has panels of 128x160 in 128x320"):
        of_results(tmp_path, dataset, None, Panel(2, 2))


def test_results_of_which_the_pair_is_not_clear(dataset, tmp_path):
    (one, two), (other, _) = pair_of(dataset), pair_of(dataset, 1)
    image = png(np.zeros((128, 64, 3), np.uint8))
    for names, said in (
        ([f"{one.path.stem}.png"], "names no pair of query or gallery images"),
        ([f"{one.path.stem}___{dataset.train[0].path.stem}.png"], "names no pair of query or gallery images"),
        ([f"{one.path.stem}___{one.path.stem}.png"], "is of an image with itself"),
        ([f"{one.path.stem}___{other.path.stem}.png"], "is of two persons"),
        ([f"{one.path.stem}___{two.path.stem}.png", f"{one.path.stem}_2_{two.path.stem}.png"], "are of one pair"),
    ):
        folder = tmp_path / said.replace(" ", "-")
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
        for name in names:
            (folder / name).write_bytes(image)
        with pytest.raises(ValueError, match=f"--images.*{said}"):
            of_results(folder, dataset)


def test_names_that_hold_the_separator_themselves(dataset, tmp_path):
    """Only where both parts are test images does a name come apart."""
    records = [
        Record(tmp_path / "real" / name, 5, 1) for name in ("0005_c1_2_1.png", "0005_c1.png", "1.png", "0005_c2_2.png")
    ]
    folder(tmp_path / "real", **{record.name.replace(".", "__"): 1 for record in records})
    data = dataclasses.replace(dataset, query=tuple(records), gallery=())
    made = folder(tmp_path / "made", **{"0005_c1_2_1_2_0005_c2_2__png": 9})
    compared = of_results(made, data)
    assert [record.name for record in compared.other] == ["0005_c2_2.png"]
    unclear = folder(tmp_path / "unclear", **{"0005_c1_2_1_2_1__png": 9})
    data = dataclasses.replace(data, query=(*records, Record(tmp_path / "real" / "1_2_1.png", 5, 1)))
    with pytest.raises(ValueError, match="tells of several pairs"):
        of_results(unclear, data)
