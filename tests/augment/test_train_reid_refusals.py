"""What train-reid and evaluate-reid refuse before a network sees an image: sizes too small, images that count twice."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from augment import store
from augment.train_reid import TrainReidConfig, prepare
from reid.mixing import MixPolicy
from tests import noise_sets

TINY = ("--device", "cpu", "--epochs", "1", "--batch", "4")


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ("1x1", "--size 1x1: osnet_x0_25 cannot take images of this size; 32x16 would do"),
        ("64x8", "--size 64x8: osnet_x0_25 cannot take images of this size; 64x16 would do"),
        ("0x5", "--size: '0x5': expected 1 pixel or more, as in 256x128"),
    ],
)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_size_too_small_for_the_network(augment, pedestrians, tmp_path, size, said, dry):
    outcome = augment("train-reid", pedestrians, "--out", tmp_path / "run", "--size", size, *TINY, *dry)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.splitlines()[-1] == f"Error: {said}"
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("size", ["1x1", "64x8", "0x0"])
def test_a_size_too_small_for_weights_of_torchreids(augment, pedestrians, tmp_path, size):
    weights = tmp_path / "osnet.pth"
    weights.touch()
    words = ["--checkpoint", weights, "--model", "osnet_x0_25", "--device", "cpu"]
    outcome = augment("evaluate-reid", pedestrians, *words, "--size", size)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert outcome.err.startswith(f"Error: --size {size}: osnet_x0_25 cannot take images of this size; ")
    again = augment("evaluate-reid", pedestrians, *words, "--size", "64x32")
    assert again.err.startswith("Error: --checkpoint "), "an empty file of weights is the next mistake"


@pytest.fixture(scope="module")
def sets(pedestrians, tmp_path_factory):
    """A set, a copy of it, one of other pixels, and selections: of the first, an even and an odd half of the copy."""
    folder = tmp_path_factory.mktemp("sets")
    whole = noise_sets.write_set(folder / "set.h5", pedestrians)
    copy = shutil.copy(whole, folder / "copy.h5")
    plan = noise_sets.planned(pedestrians)
    noise_sets.write_set(folder / "other.h5", pedestrians, replace(plan, seed=plan.seed + 1))
    for name, base, rows in (
        ("first", whole, np.arange(5)),
        ("even", copy, np.arange(0, len(store.Reader(whole)), 2)),
        ("odd", copy, np.arange(1, len(store.Reader(whole)), 2)),
    ):
        store.write_selection(folder / f"{name}.h5", store.Reader(base), rows, {"expression": "x"})
    return folder


def prepared(data, folder, *names):
    config = TrainReidConfig(mixing=MixPolicy(ratio=0.5))
    return prepare(config, data, [folder / f"{name}.h5" for name in names])


@pytest.mark.parametrize(
    ("names", "shared"),
    [
        (("set", "first"), 5), (("first", "set"), 5), (("set", "set"), None), (("set", "copy"), None),
        (("even", "first"), 3), (("other", "odd", "first"), 2),
    ],
)  # fmt: skip
def test_images_that_would_count_twice(pedestrians, sets, names, shared):
    one, two = (sets / f"{name}.h5" for name in names[-2:])
    count = shared or len(store.Reader(sets / "set.h5"))
    with pytest.raises(ValueError, match="count twice") as caught:
        prepared(pedestrians, sets, *names)
    assert str(caught.value) == (
        f"--synthetic {one} and --synthetic {two}: {count:,} images are in both, which would count twice; give one of "
        "them"
    )


def test_sets_that_share_no_image(pedestrians, sets):
    for names in (("even", "odd"), ("set", "other"), ("other", "first")):
        assert len(prepared(pedestrians, sets, *names).readers) == 2


def test_the_command_names_both_sets(augment, pedestrians, sets, tmp_path):
    words = ["--synthetic", sets / "set.h5", "--synthetic", sets / "first.h5", "--size", "32x16"]
    outcome = augment("train-reid", pedestrians, "--out", tmp_path / "run", *words, *TINY)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert outcome.err.startswith(f"Error: --synthetic {sets / 'set.h5'} and --synthetic {sets / 'first.h5'}: 5 images")
    assert outcome.err.endswith("; give one of them\n")
    assert not (tmp_path / "run").exists()
