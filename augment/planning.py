"""What to synthesize: sources, target poses and seeds, drawn before any pixel exists.

A plan is a pure function of (records, key points, policy, seed); the order of the files on disk does not matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from augment.data.feed import Posed
from augment.plan import Plan

POLICIES = ("random", "same-camera", "other-identity", "same-identity", "self")


@dataclass(frozen=True)
class Budget:
    """How many images: `per_image` of each source, or `ratio` times the number of sources, whichever is given."""

    per_image: int | None = None
    ratio: float | None = None

    def __post_init__(self) -> None:
        if (self.per_image is None) == (self.ratio is None):
            raise ValueError("give exactly one of --per-image and --ratio")

    def counts(self, sources: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
        """Images of each source; a fraction is spread over sources at random."""
        total = sources * self.per_image if self.per_image is not None else round(sources * (self.ratio or 0))
        if total < 1:
            raise ValueError(f"--ratio {self.ratio}: makes no image of {sources} sources; ask for more")
        counts = np.full(sources, total // sources)
        counts[rng.permutation(sources)[: total % sources]] += 1
        return counts


def draw_plan(split: Posed, policy: str, budget: Budget, seed: int) -> Plan:
    """Sources in order of their names, each with target poses that `policy` admits, drawn without replacement.

    random: any other training image's pose. same-camera, other-identity, same-identity: those of them. self: the
    source's own pose, the control arm.

    Raises:
        ValueError: an unknown policy, or a source with fewer admitted poses than asked for.
    """
    if policy not in POLICIES:
        raise ValueError(f"--poses {policy}: expected one of {', '.join(POLICIES)}")
    pid = np.asarray([record.pid for record in split.records])
    camid = np.asarray([record.camid for record in split.records])
    rng = np.random.default_rng([seed, 0])
    counts = budget.counts(len(pid), rng)
    targets: list[Int[np.ndarray, " k"]] = []
    for source, count in enumerate(counts):
        admitted = np.flatnonzero(_admitted(policy, source, pid, camid))
        if count > len(admitted) and policy != "self":
            raise ValueError(
                f"--poses {policy}: {split.records[source].name} has {len(admitted)} admitted target poses, "
                f"{count} asked for; lower --per-image or choose another policy"
            )
        targets.append(
            np.resize(admitted, count) if policy == "self" else np.sort(rng.choice(admitted, count, replace=False))
        )
    source_index = np.repeat(np.arange(len(pid)), counts)
    target_index = np.concatenate(targets)
    return Plan(
        files=tuple(record.name for record in split.records),
        pid=pid[source_index],
        camid=camid[source_index],
        source_index=source_index,
        target_index=target_index,
        target_pose=split.points[target_index],
        seed=np.random.SeedSequence([seed, 1]).generate_state(len(source_index), np.uint64),
    )


def coverage(plan: Plan) -> dict[str, int | float]:
    """What a plan covers: images, identities, cameras, images an identity (least, mean, most)."""
    _, per_identity = np.unique(plan.pid, return_counts=True)
    return {
        "images": len(plan),
        "identities": len(per_identity),
        "cameras": len(np.unique(plan.camid)),
        "least_per_identity": int(per_identity.min()),
        "mean_per_identity": float(per_identity.mean()),
        "most_per_identity": int(per_identity.max()),
    }


def _admitted(policy: str, source: int, pid: Sequence[int] | np.ndarray, camid: np.ndarray) -> Bool[np.ndarray, " n"]:
    itself = np.arange(len(camid)) == source
    if policy == "self":
        return itself
    if policy == "same-camera":
        return ~itself & (camid == camid[source])
    if policy == "other-identity":
        return np.asarray(pid) != pid[source]
    if policy == "same-identity":
        return ~itself & (np.asarray(pid) == pid[source])
    return ~itself
