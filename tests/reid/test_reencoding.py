"""Synthetic images take the compression of the real files, which is told from their headers."""

import io
import pickle

import numpy as np
import pytest
from PIL import Image

from reid.reencoding import Jpeg, Reencoded, estimated
from tests.reference.noise import people


def written(folder, qualities, **options):
    paths = []
    for index, quality in enumerate(qualities):
        paths.append(folder / f"{index}.jpg")
        Image.fromarray(people().image(index)).save(paths[-1], quality=quality, **options)
    return paths


@pytest.mark.parametrize("quality", [1, 10, 30, 49, 50, 51, 75, 90, 95, 100])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_the_quality_of_files_is_told_exactly(tmp_path, quality, subsampling):
    assert estimated(written(tmp_path, [quality], subsampling=subsampling)) == Jpeg(quality, subsampling)


def test_the_median_wins_and_grey_files_have_no_chroma(tmp_path):
    assert estimated(written(tmp_path, [92, 70, 75, 90, 40])) == Jpeg(75)
    Image.new("L", (8, 8)).save(tmp_path / "grey.jpg", quality=60)
    assert estimated([tmp_path / "grey.jpg"]) == Jpeg(60, 0)


def test_other_files_have_no_quality_to_match(tmp_path):
    paths = written(tmp_path, [80])
    Image.fromarray(people().image(0)).save(tmp_path / "0.png")
    assert estimated([tmp_path / "0.png", *paths]) == Jpeg(80)
    with pytest.raises(ValueError, match="none of 1 real images is a JPEG file"):
        estimated([tmp_path / "0.png"])
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"broken\.jpg: cannot be read"):
        estimated([tmp_path / "broken.jpg"])


def test_images_are_those_of_a_written_file():
    source = people()
    seen = Reencoded(source, Jpeg(40))
    file = io.BytesIO()
    Image.fromarray(source.image(3)).save(file, "JPEG", quality=40)
    with Image.open(file) as expected:
        np.testing.assert_array_equal(seen.image(3), np.array(expected))
    assert not np.array_equal(seen.image(3), source.image(3))
    assert (len(seen), seen.identity(7), seen.camera(7)) == (len(source), source.identity(7), source.camera(7))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(seen)).image(3), seen.image(3))


def test_a_coarser_quality_is_farther_from_the_image():
    image = people().image(0)
    errors = [np.abs(Jpeg(quality).applied(image).astype(int) - image).mean() for quality in (100, 90, 60, 20)]
    assert errors == sorted(errors)
    assert errors[0] < errors[-1]


@pytest.mark.parametrize("quality", [0, 101])
def test_no_such_quality(quality):
    with pytest.raises(ValueError, match="quality from 1 to 100"):
        Jpeg(quality)
