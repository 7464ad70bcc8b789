"""From columns to a table's entries: value, 95 % interval over identities, and the floor that real images set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from augment.backbones import gfla_rows
from augment.coverage import evenness
from augment.data import keypoints
from augment.data.records import Record
from augment.image_metrics import INCEPTION, METRICS, POSES, TORCHVISION
from augment.image_pairs import IDENTITIES, IMAGES, SOME_KNOWN, Compared, Points
from augment.image_passes import DISTRIBUTION, LOGITS, MASKED_LOGITS, Columns, compared_to, of_source
from augment.intervals import ENOUGH, linear_interval, ratio_interval, split_interval, statistic_interval
from augment.policies import cluster_poses
from generators.metrics.frechet import frechet_distance, frechet_influences, moments
from generators.metrics.inception_score import SPLITS, divergences, inception_score
from generators.metrics.kernel_distance import kernel_distance, kernel_influences

SUBSET = 1_000  # images of a subset of KID's
SMALL = 10_000  # images below which a Frechet distance is mostly bias

Features = Float[np.ndarray, "n d"]
Others = Float[np.ndarray, "m d"]
Influences = Float[np.ndarray, " k"]
Entry = dict[str, Any]


class TooFew(ValueError):
    """Too few images for a metric."""


@dataclass(frozen=True)
class Measured:
    """Columns of the generated images, of the real ones that they are compared with, and of further real ones."""

    compared: Compared
    generated: Columns
    real: Columns
    other: Columns
    points: Points | None  # of all real images, where they are known
    seed: int

    @property
    def beside(self) -> Columns:
        """The real images that floors are of: further ones, or where there are none those compared with."""
        return self.other if self.compared.other else self.real

    def halves(self, features: str) -> tuple[Features, Others, str]:
        """Two kinds of real images, and what they are."""
        if self.compared.other:
            return self.real[features], self.other[features], "training images against other real ones"
        rows = np.random.default_rng([self.seed, 5]).permutation(len(self.real[features]))
        first, second = (self.real[features][np.sort(part)] for part in np.array_split(rows, 2))
        return first, second, "one half of the real images against the other"


def entry(name: str, measured: Measured) -> Entry:
    """Everything that is said of one metric.

    Raises:
        TooFew: no value can be computed of so few images.
    """
    metric, compared = METRICS[name], measured.compared
    found = _BUILDERS.get(name, _mean)(name, measured)
    saved = "" if compared.saved == "lossless" else f", saved as {compared.saved}"
    to = f", to {found['to']}" if "to" in found else ""
    said = {"protocol": f"{metric.protocol}{to}{saved}", "better": metric.better, "unit": metric.unit}
    return {"value": None, "low": None, "high": None} | found | said | {"definition": metric.definition}


def few_people(metrics: Mapping[str, Any]) -> list[str]:
    """What intervals of so few identities are worth; metrics are named where it does not hold of all."""
    counts = {
        name: (said[unit], unit)
        for name, said in metrics.items()
        for unit in (IDENTITIES, IMAGES, SOME_KNOWN)
        if unit in said
    }
    found = []
    if alone := [name for name, (count, _) in counts.items() if count == 1]:
        found.append(f"{_of_some(alone, counts)}no interval of one identity: whole identities are resampled")
    if few := [name for name, (count, _) in counts.items() if 1 < count < ENOUGH]:
        numbers = sorted({counts[name][0] for name in few})
        several = " to ".join(str(number) for number in dict.fromkeys((numbers[0], numbers[-1])))
        unit = counts[few[0]][1].replace("_", " ")
        found.append(f"{_of_some(few, counts)}interval of {several} {unit}: too few to rely on")
    return found


def _of_some(names: Sequence[str], all_of_them: Mapping[str, Any]) -> str:
    return "" if len(names) == len(all_of_them) else f"{', '.join(names)}: "


def unequal_floors(metrics: Mapping[str, Any]) -> list[str]:
    """Which floors are of other numbers of images than the values beside them; one note for metrics of one kind."""

    def numbers(distance: Mapping[str, Any]) -> str:
        return f"{distance['n']:,} images against {distance['real_n']:,} real ones"

    alike: dict[tuple[str, str], list[str]] = {}
    for name in METRICS:
        if name in DISTRIBUTION and "floor" in metrics.get(name, {}):
            alike.setdefault((numbers(metrics[name]), numbers(metrics[name]["floor"])), []).append(name)
    return [
        f"{', '.join(names)}: the value is of {of_value}, the floor of {of_floor}; distances of other numbers do not "
        "quite compare"
        for (of_value, of_floor), names in alike.items()
        if of_value != of_floor
    ]


def _mean(name: str, measured: Measured) -> Entry:
    """The mean over images that have a finite value."""
    values = measured.generated[name]
    there = np.isfinite(values)
    if np.isinf(values).any() and not there.any():
        raise TooFew("infinite: every generated image equals its true one")
    found = _ratio(values[there], np.ones(int(there.sum())), measured.compared, there, measured.seed)
    if left := int((~there & measured.compared.paired).sum()) if name != "detection_score" else 0:
        found["left_out"] = left
    if name == "detection_score":
        return found | _floor(measured.beside.get(name, np.empty(0)), "real images")
    if name == "identity_similarity":
        found |= _kind_of_similarity(measured.compared)
    real = measured.generated.get(of_source(name), np.empty(0))
    return found | _floor(real[np.isfinite(real)], "source and true image")


def _kind_of_similarity(compared: Compared) -> Entry:
    if compared.paired.all():
        return {"to": compared_to(compared)}
    without = int((~compared.paired).sum())
    note = (
        f"to {compared_to(compared)}, because {without:,} of {len(compared):,} images have no true one; two real "
        "images of a person are another comparison, so there is no floor"
    )
    return {"to": compared_to(compared), "note": note}


def _pckh(name: str, measured: Measured) -> Entry:
    right, counted = measured.generated[name].T.astype(np.float64)
    there = counted > 0
    found = _ratio(right[there], counted[there], measured.compared, there, measured.seed)
    if name not in measured.other:
        return found
    real = measured.other[name].sum(axis=0)
    floor = {"value": float(real[0] / real[1]), "n": len(measured.other[name]), "of": "real images"}
    return found | ({"floor": floor} if real[1] else {})


def _frechet(name: str, measured: Measured) -> Entry:
    kind = TORCHVISION if name == "fid_gfla" else INCEPTION

    def enough(features: Features) -> Features:
        if len(features) < 2:
            raise TooFew(f"{len(features)} images have no covariance; give more")
        return features

    def distance(one: Features, two: Others) -> Entry:
        return {"value": frechet_distance(moments(enough(one)), moments(enough(two)))}

    def influences(real: Features, generated: Others) -> Influences:
        return frechet_influences(moments(real), generated)

    found = _distribution(measured, kind, distance, influences)
    total, real_total = len(measured.generated[kind]), len(measured.real[kind])
    if (total, real_total) == (found["n"], found["real_n"]):
        return found
    note = (
        f"of the first {found['n']:,} of {total:,} images against the first {found['real_n']:,} of {real_total:,} real "
        "ones; the papers' code drops the last partial batch"
    )
    return found | {"left_out": total - found["n"], "real_left_out": real_total - found["real_n"], "note": note}


def _kernel(name: str, measured: Measured) -> Entry:
    def distance(one: Features, two: Others) -> Entry:
        size = min(SUBSET, len(one), len(two))
        if size < 2:
            raise TooFew(f"{size} images are too few for a kernel distance; give more")
        value, sd = kernel_distance(two, one, size=size, seed=measured.seed)
        return {"value": value, "sd": sd, "subset_size": size}

    def influences(real: Features, generated: Others) -> Influences:
        return kernel_influences(real, generated, seed=measured.seed)

    return _distribution(measured, INCEPTION, distance, influences)


def _distribution(
    measured: Measured,
    kind: str,
    distance: Callable[[Features, Others], Entry],
    influences: Callable[[Features, Others], Influences],
) -> Entry:
    """Between real and generated images; the floor is that between real ones and as many others, where there are.

    All numbers are of the images that count in a distance of this kind.
    """
    real, generated = (_counted(columns[kind], kind) for columns in (measured.real, measured.generated))
    found = distance(real, generated) | {"n": len(generated), "real_n": len(real)}
    found |= _of_people(measured, found["value"], influences(real, generated))
    first, second, of = measured.halves(kind)
    some = np.random.default_rng([measured.seed, 6]).permutation(len(second))[: len(generated)]
    first, second = _counted(first, kind), _counted(second[np.sort(some)], kind)
    try:
        floor = distance(first, second) | {"n": len(second), "real_n": len(first), "of": of}
    except TooFew:
        return found
    return found | {"floor": floor}


def _counted(features: Features, kind: str) -> Others:
    """Without the images that the published distance of this kind drops."""
    return features[: gfla_rows(len(features))] if kind == TORCHVISION else features


def _of_people(measured: Measured, value: float, influences: Influences) -> Entry:
    """The interval of a distance, and over how many identities; the real images are taken as given."""
    compared = measured.compared
    people = compared.people[: len(influences)]
    interval = linear_interval(value, influences, people, measured.seed)
    return {compared.unit: len(np.unique(people)), **_bounds(interval)}


def _inception_score(name: str, measured: Measured) -> Entry:
    kind, compared = MASKED_LOGITS if name == "mask_is" else LOGITS, measured.compared
    found = _score(measured.generated[kind])
    interval = split_interval(*divergences(measured.generated[kind]), compared.people, measured.seed)
    found |= {compared.unit: len(np.unique(compared.people)), **_bounds(interval)}
    if kind not in measured.beside or len(measured.beside[kind]) < SPLITS:
        return found
    return found | {"floor": _score(measured.beside[kind]) | {"of": "real images"}}


def _score(logits: Features) -> Entry:
    if len(logits) < SPLITS:
        raise TooFew(f"{len(logits)} images are fewer than its {SPLITS} splits")
    value, sd = inception_score(logits)
    return {"value": value, "sd": sd, "n": len(logits)}


def _poses(name: str, measured: Measured) -> Entry:
    """Evenness over the clusters of real poses, of the set alone, or of each identity with its real images."""
    compared, points = measured.compared, measured.points
    assert points is not None
    assert compared.poses is not None
    records = keypoints.usable(compared.real, points)
    people, real, made = _pose_counts(records, points, compared, measured.seed)
    identities = int((made.sum(axis=1) > 0).sum())
    said = {"n": len(compared), "identities": identities}
    if name == "pose_diversity":
        own = made[made.sum(axis=1) > 0]
        interval = statistic_interval(
            lambda counts: evenness(counts.astype(np.int64) @ own), len(own), measured.seed
        )  # fmt: skip
        value, floor = float(evenness(made.sum(axis=0))), float(evenness(real.sum(axis=0)))
        of = "real images"
    else:
        both = evenness(real + made)
        interval = ratio_interval(both, np.ones(len(both)), people, measured.seed)
        value, floor, of = float(both.mean()), float(evenness(real).mean()), "real images alone"
        said["identities"] = len(people)
    return said | {"value": value, "floor": {"value": floor, "n": len(records), "of": of}} | _bounds(interval)


def _pose_counts(
    records: Sequence[Record], points: Points, compared: Compared, seed: int
) -> tuple[Int[np.ndarray, " p"], Int[np.ndarray, "p c"], Int[np.ndarray, "p c"]]:
    """Identities that have real images with key points, and how many each has in each cluster: real and generated."""
    placed = keypoints.stack(records, points)
    clusters = cluster_poses(placed, seed)
    people, mine = np.unique([record.pid for record in records], return_inverse=True)
    real, made = np.zeros((2, len(people), len(clusters.centres)), dtype=np.int64)
    np.add.at(real, (mine, clusters.labels), 1)
    assert compared.poses is not None
    row = np.searchsorted(people, compared.people).clip(max=len(people) - 1)
    known = people[row] == compared.people
    np.add.at(made, (row[known], clusters.of(compared.poses)[known]), 1)
    return people, real, made


def _ratio(above: np.ndarray, below: np.ndarray, compared: Compared, there: np.ndarray, seed: int) -> Entry:
    if not len(above):
        raise TooFew("no image has a value")
    people = compared.people[there]
    return {
        "value": float(above.sum() / below.sum()),
        "n": len(above),
        compared.unit: len(np.unique(people)),
        **_bounds(ratio_interval(above, below, people, seed)),
    }


def _bounds(interval: tuple[float, float] | None) -> Entry:
    return {} if interval is None else {"low": interval[0], "high": interval[1]}


def _floor(values: np.ndarray, of: str) -> Entry:
    return {"floor": {"value": float(values.mean()), "n": len(values), "of": of}} if len(values) else {}


_BUILDERS: Mapping[str, Callable[[str, Measured], Entry]] = {
    "fid": _frechet,
    "fid_gfla": _frechet,
    "kid": _kernel,
    "inception_score": _inception_score,
    "mask_is": _inception_score,
    "pckh": _pckh,
    **dict.fromkeys(POSES, _poses),
}
