"""What to synthesize: sources, target poses and seeds, drawn before any pixel exists.

A plan is a pure function of (records, pixels, key points, policies, seed); the order of the files on disk does not
matter.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from augment.data.feed import Posed
from augment.data.keypoints import Points
from augment.plan import Plan
from augment.policies import POLICIES as POLICIES
from augment.policies import draw_listed, draw_targets
from augment.posefile import PoseFile
from augment.sources import choose_sources

MOST_IMAGES = 2**31 - 1  # of a set: its rows are numbered in 32 bits


@dataclass(frozen=True)
class Budget:
    """How many images; exactly one of the four is given.

    per_image: of each source. ratio: times the number of real images, spread over the sources. per_identity: of each
    identity, spread over its sources. balance: of each identity as many as it lacks to the largest one's number of real
    images, so that real and synthetic images together are equally many of everyone; the largest gets none. They go to
    the identity's cameras, always to the one that has fewest of its images, real and synthetic, and within a camera
    are spread over its sources. A synthetic image keeps its source's camera: one that never saw the person stays
    without. Real images are those with usable key points. What does not divide evenly falls at random.
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
        if self.ratio is not None and not (math.isfinite(self.ratio) and self.ratio > 0):
            raise ValueError(f"--ratio {self.ratio}: expected a finite number above 0, such as 0.5 or 2")

    @property
    def option(self) -> str:
        """As the command line has it."""
        given = {"--per-image": self.per_image, "--ratio": self.ratio, "--per-identity": self.per_identity}
        return next((f"{name} {value}" for name, value in given.items() if value is not None), "--balance")

    def total(self, pid: Int[np.ndarray, " n"], sources: Bool[np.ndarray, " n"]) -> int:
        """Images to make of all real ones together.

        Raises:
            ValueError: more than a set can hold.
        """
        _, real = np.unique(pid, return_counts=True)
        if self.ratio is not None:
            total = len(pid) * self.ratio
        elif self.per_image is not None:
            total = int(sources.sum()) * self.per_image
        elif self.per_identity is not None:
            total = len(real) * self.per_identity
        else:
            total = int((real.max() - real).sum())
        if total > MOST_IMAGES:
            raise ValueError(
                f"{self.option}: makes more than {MOST_IMAGES:,} images, which no set holds; ask for fewer"
            )
        return round(total)

    def counts(
        self,
        pid: Int[np.ndarray, " n"],
        camid: Int[np.ndarray, " n"],
        sources: Bool[np.ndarray, " n"],
        rng: np.random.Generator,
    ) -> Int[np.ndarray, " n"]:
        """Images to make of each real one; none of those that are no `sources`, of which each identity has some.

        Raises:
            ValueError: there would be none at all.
        """
        counts = np.zeros(len(pid), dtype=np.int64)
        for rows, total in self._shares(pid, camid, sources, rng):
            counts[rows] = _spread(total, len(rows), rng)
        return counts

    def _shares(
        self,
        pid: Int[np.ndarray, " n"],
        camid: Int[np.ndarray, " n"],
        sources: Bool[np.ndarray, " n"],
        rng: np.random.Generator,
    ) -> Iterator[tuple[Int[np.ndarray, " m"], int]]:
        """Sources that share so many images evenly."""
        if self.per_image is not None or self.ratio is not None:
            rows = np.flatnonzero(sources)
            total = self.total(pid, sources)
            if total < 1:
                raise ValueError(f"--ratio {self.ratio}: makes no image of {len(pid)} real ones; ask for more")
            yield rows, total
            return
        identities, real = np.unique(pid, return_counts=True)
        if self.per_identity is not None:
            for identity in identities:
                yield np.flatnonzero(sources & (pid == identity)), self.per_identity
            return
        lacking = real.max() - real
        if not lacking.any():
            raise ValueError(
                f"--balance: each of {len(identities)} identities has {real.max()} images, there is nothing to fill; "
                "use --per-identity or --per-image"
            )
        for identity, missing in zip(identities, lacking.tolist(), strict=True):
            cameras, seen = np.unique(camid[pid == identity], return_counts=True)
            for camera, images in zip(cameras, fill(seen, missing, rng).tolist(), strict=True):
                yield np.flatnonzero(sources & (pid == identity) & (camid == camera)), images


def draw_plan(
    split: Posed,
    policy: str | PoseFile,
    budget: Budget,
    seed: int,
    sources: str = "random",
    room: int | None = None,
) -> Plan:
    """Sources in order of their names, each with target poses that `policy` admits, drawn without replacement.

    random: any other training image's pose. same-camera, other-identity, same-identity: those of them. self: the
    source's own pose, the control arm. diverse: any other's, the likelier the fewer images its identity has, real or
    drawn before, in that cluster of poses. canonical: the poses closest to the 8 cluster centres, the source's own
    among them if it is one. A file: its poses, whoever's they are. `sources` are those of `choose_sources`. `room` is
    how many bytes the images may take.

    Raises:
        ValueError: an unknown policy, a budget that is empty, more than a set holds or than there is room for, or a
            source with fewer admitted poses than asked for.
    """
    pid = np.asarray([record.pid for record in split.records])
    camid = np.asarray([record.camid for record in split.records])
    names = [record.name for record in split.records]
    rng = np.random.default_rng([seed, 0])
    may = choose_sources(sources, split)
    _require_room(budget, budget.total(pid, may), split.size, room)
    counts = budget.counts(pid, camid, may, rng)
    listed: dict[str, Points] = policy.points if isinstance(policy, PoseFile) else {}
    files = (*names, *sorted(listed.keys() - set(names)))
    nobodys = [listed[name] for name in files[len(names) :]]
    if isinstance(policy, PoseFile):
        rows = np.flatnonzero(np.isin(files, list(listed)))
        drawn = draw_listed(str(policy.path), split.records, rows, counts, rng)
    else:
        drawn = draw_targets(policy, split.records, split.points, counts, seed, rng)
    source_index = np.repeat(np.arange(len(pid)), counts)
    return Plan(
        files=files,
        poses=np.concatenate([split.points, np.stack(nobodys)]) if nobodys else split.points,
        pid=pid[source_index],
        camid=camid[source_index],
        source_index=source_index,
        target_index=np.concatenate(drawn),
        seed=np.random.SeedSequence([seed, 1]).generate_state(len(source_index), np.uint64),
    )


def fill(levels: Int[np.ndarray, " c"], total: int, rng: np.random.Generator) -> Int[np.ndarray, " c"]:
    """How much each of some vessels receives of `total` where it always flows to the lowest one.

    Those that receive any end at one level or one above it; which ones are above it is drawn.
    """
    heights = np.arange(levels.min(), levels.min() + total + 1)
    level = heights[np.clip(heights[:, None] - levels, 0, None).sum(axis=1) <= total].max()
    received = np.clip(level - levels, 0, None)
    lowest = np.flatnonzero(levels <= level)
    received[rng.permutation(lowest)[: total - received.sum()]] += 1
    return received


def _require_room(budget: Budget, images: int, size: tuple[int, int], room: int | None) -> None:
    needed = images * size[0] * size[1] * 3
    if room is not None and needed > room:
        raise ValueError(
            f"{budget.option}: {images:,} images take {needed / 1e6:,.1f} MB, and the disk has {room / 1e6:,.1f} MB "
            "for them; ask for fewer, or choose an --out on another disk"
        )


def _spread(total: int, places: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """`total` over so many places, evenly; the remainder falls on places at random."""
    counts = np.full(places, total // places)
    counts[rng.permutation(places)[: total % places]] += 1
    return counts
