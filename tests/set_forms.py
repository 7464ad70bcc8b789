"""One set in a file, in shards and through selections: its plan, its images, the rows of each form."""

from dataclasses import replace

import h5py
import numpy as np

from augment import store
from augment.plan import UNKNOWN
from tests.fuzzing import PROVENANCE, small_images, small_plan

ROWS = 4 * store.SHARD_ROWS + 12  # five shards, and more than one block of columns
IMAGES = small_images(ROWS)
CHOSEN, FEWER = np.asarray([0, 5, 1023, 1024, 2047, 2048, ROWS - 1]), np.asarray([1, 3, 6])


def plan_of(rows):
    """A plan in which the target of every seventh row is unknown."""
    plan = small_plan(rows)
    return replace(plan, target_index=np.where(np.arange(rows) % 7 == 6, UNKNOWN, plan.target_index))


PLAN = plan_of(ROWS)
FORMS = {
    "file.h5": np.arange(ROWS),
    "shards": np.arange(ROWS),
    "of-file.h5": CHOSEN,
    "of-shards.h5": CHOSEN,
    "of-selection.h5": CHOSEN[FEWER],
}


def write_shards(folder, plan, images):
    attributes = store.begin(folder, plan, PROVENANCE)
    for shard in store.missing_shards(folder, plan):
        rows = store.shard_rows(plan, shard)
        store.write_shard(folder, shard, plan, images[rows.start : rows.stop], attributes)
    return folder


def change(path, edit):
    with h5py.File(path, "r+") as file:
        edit(file)


def damage(path, row=3):
    change(path, lambda file: file["images"].__setitem__((row, 0, 0, 0), file["images"][row, 0, 0, 0] ^ 1))
