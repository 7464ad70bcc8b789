"""The synthetic set in HDF5: the plan, atomic shards of it, one merged file, and a reader over any of them.

    X.shards/manifest.json     what is being made; another configuration is refused
    X.shards/plan.h5           row i is (source, target pose, seed), stored before any pixel exists
    X.shards/part-00000.h5     plan rows [0, 1024), published whole
    X.h5                       all rows, made by copying the shards when the last one is there
    X.scores.h5                columns that were added later
    Y.h5                       a selection: row numbers of X.h5
    F.h5                       features of query and gallery; no part of any set

The schema and what was measured to survive a kill are described in docs/hdf5-format.md.
"""

from augment.store.claims import MERGE, SPACE, Claims, give_back, release_space, reserve
from augment.store.features import Features, read_features, write_features
from augment.store.reader import Reader, write_scores, write_selection
from augment.store.scores import Score, scores_path
from augment.store.selection import is_selection
from augment.store.sets import DamagedShard, check_shard, is_set, join, merge, remove_set, write_set
from augment.store.shards import (
    MANIFEST,
    PLAN,
    SHARD_ROWS,
    begin,
    is_begun,
    may_change,
    missing_shards,
    remove_shards,
    shard_count,
    shard_folder,
    shard_path,
    shard_rows,
    write_shard,
)
from augment.store.tables import set_bytes

__all__ = [
    "MANIFEST",
    "MERGE",
    "PLAN",
    "SHARD_ROWS",
    "SPACE",
    "Claims",
    "DamagedShard",
    "Features",
    "Reader",
    "Score",
    "begin",
    "check_shard",
    "give_back",
    "is_begun",
    "is_selection",
    "is_set",
    "join",
    "may_change",
    "merge",
    "missing_shards",
    "read_features",
    "release_space",
    "remove_set",
    "remove_shards",
    "reserve",
    "scores_path",
    "set_bytes",
    "shard_count",
    "shard_folder",
    "shard_path",
    "shard_rows",
    "write_features",
    "write_scores",
    "write_selection",
    "write_set",
    "write_shard",
]
