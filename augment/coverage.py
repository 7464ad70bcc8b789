"""What a plan adds to the real images: whom it shows, in which cameras, in which poses."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from augment.data.feed import Posed
from augment.plan import Plan
from augment.policies import Clusters, cluster_poses


def pose_counts(
    plan: Plan, split: Posed, clusters: Clusters
) -> tuple[Int[np.ndarray, "people c"], Int[np.ndarray, "people c"]]:
    """Images of each identity in each cluster of poses: the real ones, and those of the plan."""
    people, mine = np.unique([record.pid for record in split.records], return_inverse=True)
    counts = np.zeros((2, len(people), len(clusters.centres)), dtype=np.int64)
    np.add.at(counts[0], (mine, clusters.labels), 1)
    np.add.at(counts[1], (np.searchsorted(people, plan.pid), clusters.of(plan.poses)[plan.target_index]), 1)
    return counts[0], counts[1]


def evenness(counts: Int[np.ndarray, "... c"]) -> Float[np.ndarray, "..."]:
    """Entropy over the last axis as a share of its maximum, log c: 1 where all are equal, 0 where only one is there.

    Pielou's evenness (J. Theoretical Biology 13, 1966) over all clusters, the empty ones too. A single one is even.
    """
    if counts.shape[-1] == 1:
        return np.ones(counts.shape[:-1])
    shares = counts / counts.sum(axis=-1, keepdims=True)
    logarithms = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray(-(shares * logarithms).sum(axis=-1) / np.log(counts.shape[-1]))


def describe(plan: Plan, split: Posed, seed: int, *, sources: str, poses: str) -> list[tuple[str, str]]:
    """The lines of a plan's table, each a name and a text; `sources` and `poses` are the names of the policies.

    Pose clusters are those of the real images, found with the plan's `seed`, as for the policy `diverse`.
    """
    real, planned = pose_counts(plan, split, cluster_poses(split.points, seed))
    both = real + planned
    cameras = np.unique([record.camid for record in split.records], return_counts=True)
    per_identity = np.unique(plan.pid, return_counts=True)[1]
    clusters = zip(real.sum(axis=0).tolist(), planned.sum(axis=0).tolist(), strict=True)
    return [
        ("images", f"{len(plan)}"),
        ("identities", f"{len(per_identity)} of {len(real)}"),
        ("images per identity", _spread(per_identity)),
        ("with the real ones", _spread(both.sum(axis=1))),
        *(
            (f"in camera {camera}", _total(before, int((plan.camid == camera).sum())))
            for camera, before in zip(*(column.tolist() for column in cameras), strict=True)
        ),
        ("sources", f"{len(np.unique(plan.source_index))} of {len(split.records)} real images ({sources})"),
        ("target poses", f"{len(np.unique(plan.target_index))} different ones ({poses})"),
        *((f"in pose cluster {number}", _total(*counts)) for number, counts in enumerate(clusters, start=1)),
        ("pose entropy", _rise(evenness(real.sum(axis=0)).item(), evenness(both.sum(axis=0)).item())),
        ("mean of identities", _rise(evenness(real).mean().item(), evenness(both).mean().item())),
    ]


def table(rows: Sequence[tuple[str, str]]) -> str:
    """A line a row: names flush right, texts flush left."""
    return "\n".join(f"{name:>20}  {text}" for name, text in rows)


def duration(seconds: float) -> str:
    """In words that are as exact as an estimate is."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds" if seconds >= 2 else f"{seconds:.1f} seconds"


def _spread(counts: Int[np.ndarray, " n"]) -> str:
    return f"{counts.min()} / {np.median(counts):g} / {counts.max()} (min / median / max)"


def _total(real: int, planned: int) -> str:
    return f"{real} real + {planned} = {real + planned}"


def _rise(before: float, after: float) -> str:
    return f"{before:.3f} real, {after:.3f} together (share of its maximum)"
