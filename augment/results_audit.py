"""Whether the results of a study's trials may be compared: what each of them rests on, and that it is whole."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np

from augment.audit import Check, checked
from augment.data.survey import some
from reid.devices import UNRECORDED

Results = Mapping[tuple[str, int], Mapping[str, Any]]  # results.json of each arm and seed

COMPUTING = ("reid-augment", "torch", "torchreid", "torchvision", "numpy", "pillow", "opencv-python-headless")
UNEQUAL = 0.05  # updates that differ by a larger share are not taken for equal
ROUNDING = 1e-9  # between a mean that was written and the mean of what was written


def audit_results(results: Results, contrasts: Iterable[tuple[str, str]] = ()) -> list[Check]:
    """What trials left in results.json, by arm and seed: may it be compared? Of no results nothing is said.

    `contrasts` are the pairs of arms that the study compares.
    """
    if not results:
        return []
    return [
        checked("results: seeds", lambda: _paired(results)),
        checked("results: queries", lambda: _same_queries(results)),
        checked("results: data", lambda: _same_data(results)),
        checked("results: versions", lambda: _same_versions(results)),
        checked("results: devices", lambda: _same_devices(results)),
        checked("results: values", lambda: _finite(results)),
        checked("results: updates", lambda: _updates(results, contrasts)),
    ]


def _paired(results: Results) -> str:
    """Each result is of the seed that it is taken for. One that is missing takes its seed out of a comparison."""
    for (arm, seed), found in results.items():
        used = {found["config"][part]["seed"] for part in ("training", "mixing")}
        if used != {seed}:
            raise ValueError(f"arm {arm!r}, seed {seed}: was trained with --seed {some(sorted(used))}")
    arms, everything = _arms(results), {seed for _, seed in results}
    missing = {arm: sorted(everything - seeds) for arm, seeds in arms.items() if everything - seeds}
    lacking = [f"{arm!r} lacks seed {some(seeds)}" for arm, seeds in missing.items()]
    if lacking:
        told = f"{len(results)} trials of {len(arms)} arms; {'; '.join(lacking)}"
        return f"{told}: compared are the seeds that both arms have"
    return f"{len(everything)} seeds in each of {len(arms)} arms"


def _same_queries(results: Results) -> str:
    def searched(found: Mapping[str, Any]) -> dict[str, Any]:
        each = found["per_query"]
        digest = found["provenance"]["test_digest"]
        return {"identities": each["pid"], "cameras": each["camid"], "gallery": found["num_gallery"], "images": digest}

    first = _same(results, searched, "was evaluated on another query or gallery")
    return f"{len(first['identities']):,} queries and {first['gallery']:,} gallery images, the same in all results"


def _same_data(results: Results) -> str:
    """All arms train on the same images, or on a known subset of them."""
    whole = _same(results, lambda found: {"images": _whole(found["provenance"])}, "was trained on other data")
    for arm, seeds in _arms(results).items():
        own = {(arm, seed): results[arm, seed] for seed in seeds}
        _same(own, lambda found: {"images": found["provenance"]["data_digest"]}, "was trained on other data")
    subsets = {found["provenance"]["data_digest"] for found in results.values()} - {whole["images"]}
    beside = f"; subsets of it: {len(subsets)}" if subsets else ""
    return f"one training split ({whole['images'][:12]}...){beside}"


def _whole(provenance: Mapping[str, Any]) -> str:
    """The training split that a result rests on, or that its subset was taken of."""
    subset = provenance.get("subset")
    return str(subset["data_digest"] if subset else provenance["data_digest"])


def _same_versions(results: Results) -> str:
    """Of everything that computes; python itself does not."""
    first = _same(
        results,
        lambda found: {name: found["provenance"]["versions"].get(name) for name in COMPUTING},
        "was made with other versions",
    )
    return f"{', '.join(f'{name} {version}' for name, version in first.items())} in all {len(results)} trials"


def _same_devices(results: Results) -> str:
    """All trials were trained on one type of device: another one rounds otherwise. Earlier results do not say which."""
    devices = {key: found["provenance"].get("devices", [UNRECORDED]) for key, found in results.items()}
    types = {
        key: {name.partition(":")[0] for name in names if name != UNRECORDED} for key, names in devices.items()
    }  # fmt: skip
    counts = Counter(kind for found in types.values() for kind in sorted(found))
    if not counts:
        return f"{UNRECORDED} in any of {len(results)} trials"
    usual = counts.most_common(1)[0][0]
    if others := [key for key, found in types.items() if found and found != {usual}]:
        told = [f"arm {arm!r}, seed {seed} on {' and '.join(sorted(types[arm, seed]))}" for arm, seed in others]
        raise ValueError(
            f"{len(others)} of {len(results)} trials were not trained on {usual} alone: "
            f"{some(told, separator='; ', most=len(told))}; remove the folders of their units, which the table of "
            f"trials names, and run the study again with --device {usual}"
        )
    names = Counter(name for found in devices.values() for name in found if name != UNRECORDED)
    told = ", ".join(f"{name} in {count} trials" for name, count in sorted(names.items()))
    lacking = sum(UNRECORDED in found for found in devices.values())
    return told + (f"; {UNRECORDED}, or not from the first epoch on, in {lacking}" if lacking else "")


def _finite(results: Results) -> str:
    """Every value is a fraction, the same queries are scored, and mAP is the mean of theirs."""
    for (arm, seed), found in results.items():
        each = found["per_query"]
        scored = [value for name in ("ap", "rank1") for value in each[name] if value is not None]
        values = [found["mAP"], found["mINP"], *found["cmc"].values(), *scored]
        wrong = [value for value in values if not (math.isfinite(value) and 0 <= value <= 1)]
        if wrong:
            raise ValueError(f"arm {arm!r}, seed {seed}: {len(wrong)} values are no fractions ({some(wrong)})")
        mean = np.mean([value for value in each["ap"] if value is not None])
        if abs(mean - found["mAP"]) > ROUNDING:
            raise ValueError(
                f"arm {arm!r}, seed {seed}: mAP is {found['mAP']:.4f}, but its queries' mean is {mean:.4f}"
            )
    _same(
        results,
        lambda found: {"queries": [value is None for value in found["per_query"]["ap"]]},
        "scores other queries",
    )
    return f"mAP, CMC and every query's score of {len(results)} trials are fractions, and mAP is their mean"


def _updates(results: Results, contrasts: Iterable[tuple[str, str]]) -> str:
    """An arm has as many updates with every seed. Comparisons of unequal ones may be meant so, and are told."""
    counts: dict[str, int] = {}
    for (arm, seed), found in results.items():
        count = found["iterations"]
        if counts.setdefault(arm, count) != count:
            raise ValueError(f"arm {arm!r}, seed {seed}: {count:,} iterations, with another seed {counts[arm]:,}")
    pairs = [pair for pair in dict.fromkeys(contrasts) if counts.keys() >= set(pair)]
    unequal = [
        f"{arm!r} against {against!r} ({counts[arm]:,} and {counts[against]:,})"
        for arm, against in pairs
        if abs(counts[arm] - counts[against]) > UNEQUAL * min(counts[arm], counts[against])
    ]
    told = ", ".join(f"{arm} {count:,}" for arm, count in counts.items())
    if unequal:
        share = f"{len(unequal)} of {len(pairs)} comparisons"
        told += f"; NOT of equal updates (more than {UNEQUAL:.0%} apart) are {share}: {', '.join(unequal)}"
    elif pairs:
        told += f"; in each of {len(pairs)} comparisons both arms have as many, within {UNEQUAL:.0%}"
    return f"iterations: {told}"


def _arms(results: Collection[tuple[str, int]]) -> dict[str, set[int]]:
    """The seeds of each arm."""
    found: dict[str, set[int]] = {}
    for arm, seed in results:
        found.setdefault(arm, set()).add(seed)
    return found


def _same(results: Results, view: Callable[[Mapping[str, Any]], dict[str, Any]], problem: str) -> dict[str, Any]:
    """What all results have in common; the first one that differs is named."""
    (first, found), *others = results.items()
    wanted = view(found)
    for (arm, seed), other in others:
        mine = view(other)
        if differing := [name for name in wanted if mine[name] != wanted[name]]:
            raise ValueError(
                f"arm {arm!r}, seed {seed}: {problem} than arm {first[0]!r}, seed {first[1]} (other {some(differing)})"
            )
    return wanted
