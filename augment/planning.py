"""What to synthesize: sources, target poses and seeds, drawn before any pixel exists.

A plan is a pure function of (records, key points, policy, seed); the order of the files on disk does not matter.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from augment.data.feed import Posed
from augment.plan import Plan
from augment.policies import POLICIES as POLICIES
from augment.policies import draw_targets


@dataclass(frozen=True)
class Budget:
    """How many images; exactly one of the four is given.

    per_image: of each source. ratio: times the number of sources, spread over them. per_identity: of each identity,
    spread over its sources. balance: of each identity as many as it lacks to the largest one's number of real images,
    spread over its sources, so that real and synthetic images together are equally many of everyone; the largest gets
    none. Real images are those that can be sources: training images with usable key points. What does not divide
    evenly falls on sources at random.
    """

    per_image: int | None = None
    ratio: float | None = None
    per_identity: int | None = None
    balance: bool = False

    def __post_init__(self) -> None:
        given = [value is not None for value in (self.per_image, self.ratio, self.per_identity)]
        if sum(given) + self.balance != 1:
            raise ValueError("give exactly one of --per-image, --ratio, --per-identity and --balance")
        for option, value in (("--per-image", self.per_image), ("--per-identity", self.per_identity)):
            if value is not None and value < 1:
                raise ValueError(f"{option} {value}: makes no image; ask for 1 or more")

    def counts(self, pid: Int[np.ndarray, " n"], rng: np.random.Generator) -> Int[np.ndarray, " n"]:
        """Images of each source, given the sources' identities.

        Raises:
            ValueError: there would be none.
        """
        if self.per_identity is None and not self.balance:
            total = len(pid) * self.per_image if self.per_image is not None else round(len(pid) * (self.ratio or 0))
            if total < 1:
                raise ValueError(f"--ratio {self.ratio}: makes no image of {len(pid)} sources; ask for more")
            return _spread(total, len(pid), rng)
        identities, real = np.unique(pid, return_counts=True)
        wanted = real.max() - real if self.per_identity is None else np.full(len(identities), self.per_identity)
        if not wanted.any():
            raise ValueError(
                f"--balance: each of {len(identities)} identities has {real.max()} images, there is nothing to fill; "
                "use --per-identity or --per-image"
            )
        counts = np.zeros(len(pid), dtype=np.int64)
        for identity, total, sources in zip(identities, wanted, real, strict=True):
            counts[pid == identity] = _spread(int(total), int(sources), rng)
        return counts


def draw_plan(split: Posed, policy: str, budget: Budget, seed: int) -> Plan:
    """Sources in order of their names, each with target poses that `policy` admits, drawn without replacement.

    random: any other training image's pose. same-camera, other-identity, same-identity: those of them. self: the
    source's own pose, the control arm. diverse: any other's, the likelier the fewer images its identity has, real or
    drawn before, in that cluster of poses. canonical: the poses closest to the 8 cluster centres, the source's own
    among them if it is one.

    Raises:
        ValueError: an unknown policy, an empty budget, or a source with fewer admitted poses than asked for.
    """
    pid = np.asarray([record.pid for record in split.records])
    camid = np.asarray([record.camid for record in split.records])
    rng = np.random.default_rng([seed, 0])
    counts = budget.counts(pid, rng)
    source_index = np.repeat(np.arange(len(pid)), counts)
    target_index = np.concatenate(draw_targets(policy, split.records, split.points, counts, seed, rng))
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


def table(plan: Plan, size: tuple[int, int]) -> str:
    """What a plan will make, a line a figure; `size` is height and width, and MB are 10^6 bytes of pixels."""
    _, per_identity = np.unique(plan.pid, return_counts=True)
    cameras = zip(*np.unique(plan.camid, return_counts=True), strict=True)
    least, median, most = per_identity.min(), np.median(per_identity), per_identity.max()
    megabytes = len(plan) * size[0] * size[1] * 3 / 1e6
    rows = [
        ("images", f"{len(plan)}"),
        ("identities", f"{len(per_identity)}"),
        *((f"of camera {camera}", f"{images}") for camera, images in cameras),
        ("images per identity", f"{least} / {median:g} / {most} (min / median / max)"),
        ("target poses used", f"{len(np.unique(plan.target_index))} of {len(plan.files)}"),
        ("size", f"{megabytes:.1f} MB at {size[0]} x {size[1]}"),
    ]
    return "\n".join(f"{name:>20}  {value}" for name, value in rows)


def _spread(total: int, places: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """`total` over so many places, evenly; the remainder falls on places at random."""
    counts = np.full(places, total // places)
    counts[rng.permutation(places)[: total % places]] += 1
    return counts
