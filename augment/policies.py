"""Whose pose a source takes: admitted training poses or a file's, and the pose clusters of `diverse` and `canonical`.

Clusters are those of Lloyd's k-means with k-means++ seeding (Arthur and Vassilvitskii, 2007) on joints relative to the
torso. The 8 canonical poses are PN-GAN's (Qian et al., ECCV 2018), which clusters pose features of a network instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from augment.data.keypoints import TORSO
from augment.data.records import Record

POLICIES = ("random", "same-camera", "other-identity", "same-identity", "self", "diverse", "canonical")
CLUSTERS = 8
ITERATIONS = 100


@dataclass(frozen=True)
class Clusters:
    """The pose cluster of each image, and of each cluster the image whose pose is closest to its centre.

    `centres` are in the coordinates of `pose_features`, where a joint that is missing lies at its `average`.
    """

    labels: Int[np.ndarray, " n"]
    closest: Int[np.ndarray, " c"]
    centres: Float[np.ndarray, "c f"]
    average: Float[np.ndarray, "k 2"]

    def of(self, points: Float[np.ndarray, "m k 2"]) -> Int[np.ndarray, " m"]:
        """The cluster of the nearest centre, of any poses."""
        joints = _seen_from_torso(points)
        features = np.where(np.isnan(joints), self.average, joints).reshape(len(joints), -1)
        return _distances(features, self.centres).argmin(axis=1)


def draw_targets(
    policy: str,
    records: Sequence[Record],
    points: Float[np.ndarray, "n k 2"],
    counts: Int[np.ndarray, " n"],
    seed: int,
    rng: np.random.Generator,
) -> list[Int[np.ndarray, " m"]]:
    """For each source, `counts` of it, the images whose poses it takes: ascending, each once (`self` repeats its one).

    Raises:
        ValueError: an unknown policy, or a source with fewer admitted poses than asked for.
    """
    if policy not in POLICIES:
        raise ValueError(f"--poses {policy}: expected one of {', '.join(POLICIES)}")
    pid = np.asarray([record.pid for record in records])
    camid = np.asarray([record.camid for record in records])
    if policy == "diverse":
        for record, count in zip(records, counts.tolist(), strict=True):
            _require_enough(policy, record, len(records) - 1, count)
        return _draw_diverse(pid, cluster_poses(points, seed).labels, counts, rng)
    if policy == "canonical":
        return draw_listed(policy, records, np.sort(cluster_poses(points, seed).closest), counts, rng)
    targets: list[Int[np.ndarray, " m"]] = []
    for source, count in enumerate(counts.tolist()):
        admitted = np.flatnonzero(_admitted(policy, source, pid, camid))
        if policy == "self":
            targets.append(np.resize(admitted, count))
        else:
            _require_enough(policy, records[source], len(admitted), count)
            targets.append(np.sort(rng.choice(admitted, count, replace=False)))
    return targets


def draw_listed(
    policy: str,
    records: Sequence[Record],
    listed: Int[np.ndarray, " p"],
    counts: Int[np.ndarray, " n"],
    rng: np.random.Generator,
) -> list[Int[np.ndarray, " m"]]:
    """For each source, `counts` of it, some of the poses that are `listed` for all, its own among them; each once.

    Raises:
        ValueError: a source with fewer listed poses than asked for; it names the `policy`.
    """
    for record, count in zip(records, counts.tolist(), strict=True):
        _require_enough(policy, record, len(listed), count)
    return [np.sort(rng.choice(listed, count, replace=False)) for count in counts.tolist()]


def cluster_poses(points: Float[np.ndarray, "n k 2"], seed: int, clusters: int = CLUSTERS) -> Clusters:
    """K-means of poses, at most as many clusters as there are different poses; none is empty."""
    features = pose_features(points)
    centres = _first_centres(features, clusters, np.random.default_rng([seed, 2]))
    labels = _distances(features, centres).argmin(axis=1)
    for _ in range(ITERATIONS):
        present, labels = np.unique(labels, return_inverse=True)
        centres = np.stack([features[labels == c].mean(axis=0) for c in range(len(present))])
        moved = _distances(features, centres).argmin(axis=1)
        if (moved == labels).all():
            break
        labels = moved
    present, labels = np.unique(labels, return_inverse=True)
    centres = centres[present]
    distances = _distances(features, centres)
    distances[np.arange(len(present)) != labels[:, None]] = np.inf
    return Clusters(labels, distances.argmin(axis=0), centres, _average(_seen_from_torso(points)))


def pose_features(points: Float[np.ndarray, "n k 2"]) -> Float[np.ndarray, "n f"]:
    """Joints seen from the torso's middle, in torso lengths; a missing joint lies where it lies on average.

    A torso shorter than a pixel, shoulder to hip, counts as one pixel.
    """
    joints = _seen_from_torso(points)
    return np.where(np.isnan(joints), _average(joints), joints).reshape(len(joints), -1)


def _seen_from_torso(points: Float[np.ndarray, "n k 2"]) -> Float[np.ndarray, "n k 2"]:
    joints = points.astype(np.float64)
    torso = joints[:, TORSO]  # two shoulders, two hips
    shoulders, hips = torso[:, :2].mean(axis=1), torso[:, 2:].mean(axis=1)
    length = np.linalg.norm(shoulders - hips, axis=1).clip(min=1)
    return (joints - torso.mean(axis=1, keepdims=True)) / length[:, None, None]


def _average(joints: Float[np.ndarray, "n k 2"]) -> Float[np.ndarray, "k 2"]:
    """Where each joint lies where it is there; a joint that never is, in the middle."""
    missing = np.isnan(joints)
    return np.where(missing, 0, joints).sum(axis=0) / (~missing).sum(axis=0).clip(min=1)


def _draw_diverse(
    pid: Int[np.ndarray, " n"],
    labels: Int[np.ndarray, " n"],
    counts: Int[np.ndarray, " n"],
    rng: np.random.Generator,
) -> list[Int[np.ndarray, " m"]]:
    """One pose after another: a cluster with probability 1 / (1 + images that the identity has there), then any of it.

    The identity's images are the real ones and those drawn before, so that its poses tend to equal shares.
    """
    members = [np.flatnonzero(labels == c) for c in range(labels.max() + 1)]
    has = {person: np.bincount(labels[pid == person], minlength=len(members)) for person in np.unique(pid)}
    free = np.ones(len(pid), dtype=bool)
    targets: list[Int[np.ndarray, " m"]] = []
    for source, count in enumerate(counts.tolist()):
        mine, chosen = has[pid[source]], np.empty(count, dtype=np.int64)
        left = np.asarray([len(rows) for rows in members])
        free[source] = False
        left[labels[source]] -= 1
        for i in range(count):
            weights = (left > 0) / (1 + mine)
            drawn = rng.choice(len(members), p=weights / weights.sum())
            chosen[i] = rng.choice(members[drawn][free[members[drawn]]])
            free[chosen[i]] = False
            left[drawn] -= 1
            mine[drawn] += 1
        free[source] = True
        free[chosen] = True
        targets.append(np.sort(chosen))
    return targets


def _first_centres(features: np.ndarray, clusters: int, rng: np.random.Generator) -> np.ndarray:
    """K-means++: each further centre is a pose drawn with probability as its squared distance to the nearest one."""
    centres = features[[rng.integers(len(features))]]
    while len(centres) < clusters:
        distance = _distances(features, centres).min(axis=1)
        if not distance.any():
            break
        centres = np.concatenate([centres, features[[rng.choice(len(features), p=distance / distance.sum())]]])
    return centres


def _distances(features: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared distance of each pose (rows) to each centre (columns)."""
    return np.stack([np.square(features - centre).sum(axis=1) for centre in centres], axis=1)


def _require_enough(policy: str, record: Record, admitted: int, count: int) -> None:
    if count > admitted:
        raise ValueError(
            f"--poses {policy}: {record.name} has {admitted} admitted target poses, "
            f"{count} asked for; ask for fewer images or choose another policy"
        )


def _admitted(
    policy: str, source: int, pid: Int[np.ndarray, " n"], camid: Int[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    itself = np.arange(len(camid)) == source
    if policy == "self":
        return itself
    if policy == "same-camera":
        return ~itself & (camid == camid[source])
    if policy == "other-identity":
        return pid != pid[source]
    if policy == "same-identity":
        return ~itself & (pid == pid[source])
    return ~itself
