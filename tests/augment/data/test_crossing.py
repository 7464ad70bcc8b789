"""Training on one data set, testing on another: who is who."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from augment.audit import identity_overlap, require_disjoint
from augment.data.crossing import cross
from augment.data.pedestrians import PedestriansConfig, make_data
from augment.data.read import read_data
from augment.data.records import DataSet
from tests.augment.data.test_msmt17 import make as make_msmt17


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Other procedural people than the fixture `pedestrians`, under many of the same numbers."""
    config = PedestriansConfig(identities=6, test_identities=5, cameras=2, per_camera=2, seed=11)
    return make_data(config, tmp_path_factory.mktemp("others") / "data")


def copy_as_duke(root, out):
    for folder in ("bounding_box_train", "query", "bounding_box_test"):
        (out / folder).mkdir(parents=True)
        for number, path in enumerate(sorted((root / folder).glob("*.jpg"))):
            person, camera = path.name.split("s")[0].split("_c")
            if int(person) > 0:
                shutil.copy(path, out / folder / f"{person}_c{camera}_f{number:07d}.jpg")
    return read_data(out)


def change_images(root, change):
    for path in root.rglob("*.jpg"):
        change(Image.open(path)).save(path, quality=70)


def test_people_of_two_sets_are_different_people_whatever_their_numbers(pedestrians, others):
    ours, theirs = read_data(pedestrians), read_data(others)
    mixed_up = DataSet(ours.root, ours.train, theirs.train, theirs.train)
    assert identity_overlap(mixed_up), "their numbers are the same"
    found = cross(ours, theirs)
    require_disjoint(found)
    assert found.train == ours.train
    assert found.digest == ours.digest, "a synthetic set of these training images goes with it"
    for split in ("query", "gallery"):
        expected = [r.pid + 100 if r.pid > 0 else 0 for r in getattr(theirs, split)]
        assert max(r.pid for r in ours.train) == 12
        assert [r.pid for r in getattr(found, split)] == expected
        assert [(r.path, r.camid) for r in getattr(found, split)] == [(r.path, r.camid) for r in getattr(theirs, split)]
    assert (found.root, found.test_root, found.test_shift) == (ours.root, theirs.root, 100)
    assert found.title == "Market-1501 -> Market-1501"
    assert found.annotations == theirs.annotations
    assert "identities of query and gallery are shifted by 100" in found.notes[-1]


def test_the_test_set_is_identified_as_it_is_alone(pedestrians, others, tmp_path):
    theirs = read_data(others)
    longer = copy_as_duke(pedestrians, tmp_path / "duke")
    longer = replace(longer, train=tuple(replace(record, pid=record.pid + 7000) for record in longer.train))
    shifts = []
    for ours in (read_data(pedestrians), longer):
        found = cross(ours, theirs)
        shifts.append(found.test_shift)
        assert found.test_digest == theirs.test_digest
    assert shifts == [100, 10_000]


def test_the_numbers_of_msmt17_stay_apart_from_those_of_others(pedestrians, tmp_path):
    ours = read_data(make_msmt17(tmp_path / "MSMT17_V1"))
    require_disjoint(cross(ours, read_data(pedestrians)))
    require_disjoint(cross(read_data(pedestrians), ours))
    assert cross(ours, read_data(pedestrians)).test_shift == 100_000


@pytest.mark.parametrize(
    "change",
    [lambda image: image, lambda image: image.resize((128, 256)), lambda image: image.convert("L").convert("RGB")],
    ids=["copied", "enlarged", "grey"],
)
def test_another_copy_of_one_set_keeps_its_numbers(pedestrians, tmp_path, change):
    ours = read_data(pedestrians)
    shutil.copytree(pedestrians, tmp_path / "copy")
    change_images(tmp_path / "copy", change)
    theirs = read_data(tmp_path / "copy")
    found = cross(ours, theirs)
    require_disjoint(found)
    assert found.test_shift == 0
    assert [record.pid for record in found.query] == [record.pid for record in ours.query]
    assert "pictures are in both, so a number means the same person in both" in found.notes[-1]


def test_people_on_both_sides_of_two_splits_of_one_set_are_caught(pedestrians, tmp_path):
    """The second split searches for a training person of the first, in re-encoded images."""
    shutil.copytree(pedestrians, tmp_path / "copy")
    for path in sorted((tmp_path / "copy" / "bounding_box_train").glob("0002_*")):
        path.rename(tmp_path / "copy" / "bounding_box_test" / path.name)
    change_images(tmp_path / "copy", lambda image: image)
    theirs = read_data(tmp_path / "copy")
    require_disjoint(theirs)
    with pytest.raises(ValueError, match=r"1 identities are both in training and in query or gallery \(2;"):
        require_disjoint(cross(read_data(pedestrians), theirs))


def test_masked_faces_do_not_hide_a_set(tmp_path):
    ours = read_data(make_msmt17(tmp_path / "MSMT17_V1"))
    make_msmt17(tmp_path / "MSMT17_V2", "MSMT17_V2")
    for path in (tmp_path / "MSMT17_V2").rglob("*.jpg"):
        pixels = np.asarray(Image.open(path)).copy()
        pixels[2:6, 6:11] = 128
        Image.fromarray(pixels).save(path)
    found = cross(ours, read_data(tmp_path / "MSMT17_V2"))
    assert found.test_shift == 0
    require_disjoint(found)


def test_a_training_image_that_is_searched_is_found_under_any_name(pedestrians, others, tmp_path):
    shutil.copytree(others, tmp_path / "copy")
    source = sorted((pedestrians / "bounding_box_train").glob("*.jpg"))[0]
    shutil.copy(source, tmp_path / "copy" / "bounding_box_test" / "0000_c1s1_000001_00.jpg")
    message = rf"1 of its training images are in query or gallery of .*\({source.name} is 0000_c1s1_000001_00\.jpg\)"
    with pytest.raises(ValueError, match=message):
        cross(read_data(pedestrians), read_data(tmp_path / "copy"))


def test_the_same_pictures_as_other_people(pedestrians, tmp_path):
    theirs = read_data(shutil.copytree(pedestrians, tmp_path / "copy"))
    renumbered = replace(theirs, query=tuple(replace(record, pid=record.pid + 1) for record in theirs.query))
    message = rf"{len(theirs.query)} pictures are in both with other identities .*number people alike"
    with pytest.raises(ValueError, match=message):
        cross(read_data(pedestrians), renumbered)


def test_other_pictures_of_the_same_names_are_other_people_but_must_be_renamed(pedestrians, tmp_path):
    """As two private sets may have them that one script has named."""
    shutil.copytree(pedestrians, tmp_path / "copy")
    ours = read_data(pedestrians)
    numbers = np.random.default_rng(0)
    for path in (tmp_path / "copy").rglob("*.jpg"):
        Image.fromarray(numbers.integers(0, 256, (128, 64, 3), np.uint8)).save(path)
    theirs = read_data(tmp_path / "copy")
    found = cross(ours, theirs)
    assert found.test_shift == 100
    require_disjoint(found)
    name = sorted((tmp_path / "copy" / "bounding_box_train").glob("*.jpg"))[0].name
    (tmp_path / "copy" / "bounding_box_train" / name).rename(tmp_path / "copy" / "bounding_box_test" / name)
    with pytest.raises(ValueError, match=rf"1 of its training images are named as other images .*\({name}\); .*rename"):
        cross(ours, read_data(tmp_path / "copy"))


def test_what_a_search_means_comes_from_the_test_set(pedestrians, others):
    lines = ["path,pid,split"]
    for split, folder in (("train", "bounding_box_train"), ("query", "query"), ("gallery", "bounding_box_test")):
        for path in (others / folder).glob("*.jpg"):
            lines.append(f"{folder}/{path.name},{int(path.name.split('_')[0])},{split}")
    manifest = others / "manifest.csv"
    manifest.write_text("\n".join(lines) + "\n")
    found = cross(read_data(pedestrians), read_data(manifest))
    assert not found.has_cameras
    assert len(found.notes) == 2, "the training images' cameras are known"
    assert "query and gallery images is unknown" in found.notes[0]
