"""The provenance of a set, shard or selection is read as it was written, or not at all."""

import h5py
import numpy as np
import pytest

from augment import store
from augment.plan import Plan
from augment.store import hdf5

PROVENANCE = {
    "tool": "reid-augment",
    "created": "2026-01-31T12:00:00+00:00",
    "config": {"seed": 7, "poses": "random"},
    "generator": {"model": "dptn", "weights_sha256": "3" * 64},
    "versions": {"torch": "2.11"},
    "data_digest": "0" * 64,
}


@pytest.fixture
def made(tmp_path):
    """A set of three images in one file."""
    plan = Plan(
        files=("0002_c1.jpg",),
        poses=np.full((1, 18, 2), np.nan, np.float32),
        pid=np.full(3, 2),
        camid=np.full(3, 1),
        source_index=np.zeros(3, np.int64),
        target_index=np.zeros(3, np.int64),
        seed=np.arange(3).astype(np.uint64),
    )
    return store.write_set(tmp_path / "x.h5", plan, PROVENANCE, [np.zeros((3, 6, 4, 3), np.uint8)])


def test_every_flipped_bit_is_noticed(made):
    whole = made.read_bytes()
    texts = [b'"poses": "random"', b'"weights_sha256": "333', b'"2.11"', b"2026-01-31T12", b"0" * 64]
    for text in texts:
        start = whole.index(text)
        for place in range(start, start + len(text)):
            made.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 7]) + whole[place + 1 :])
            with pytest.raises(ValueError, match=r"damaged|no synthetic set"):
                store.Reader(made)
    made.write_bytes(whole)
    assert store.Reader(made).attributes["config"] == PROVENANCE["config"]


@pytest.mark.parametrize("name", ["start", "complete", "created", "config"])
def test_what_is_changed_by_hand_is_noticed(made, name):
    with h5py.File(made, "r+") as file:
        before = file.attrs[name]
        file.attrs[name] = before.replace("2", "3").replace("r", "l") if isinstance(before, str) else not before
    with pytest.raises(ValueError, match=r"x\.h5: damaged provenance \(its checksum differs\); synthesize it again"):
        store.Reader(made)


def test_what_is_added_or_taken_away_is_noticed(made):
    with h5py.File(made, "r+") as file:
        file.attrs["test_identities"] = True
    with pytest.raises(ValueError, match="damaged provenance"):
        store.Reader(made)
    with h5py.File(made, "r+") as file:
        del file.attrs["test_identities"]
    store.Reader(made)
    with h5py.File(made, "r+") as file:
        del file.attrs["data_digest"]
    with pytest.raises(ValueError, match="damaged provenance"):
        store.Reader(made)


def test_a_set_of_an_older_version_has_no_checksum(made):
    with h5py.File(made, "r+") as file:
        del file.attrs[hdf5.ATTRIBUTES_SHA256]
    assert store.Reader(made).attributes["data_digest"] == PROVENANCE["data_digest"]
