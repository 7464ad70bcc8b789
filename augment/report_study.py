"""A study's folder as the report reads it: what was planned, what is done, what failed, and the comparisons so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from augment import files, study, study_file
from augment.comparison import Difference, compare, holm

CONTROL = ".control.h5"  # how the random subset beside a filter's selection is called
DUPLICATED = "real-duplicated"  # what train-reid --control puts in the place of synthetic images
MEASURES = {"mAP": "ap", "rank-1": "rank1"}  # by name: the key of what each query got
Results = Mapping[str, Any]


@dataclass(frozen=True)
class UnitState:
    """A unit of the study and how far it is."""

    name: str
    command: str
    label: str
    argv: tuple[str, ...]
    state: str  # done, failed or not done
    seconds: float | None = None  # of all attempts
    attempts: int | None = None
    said: str = ""  # the last line of its log, where it failed
    host: str = ""


@dataclass(frozen=True)
class Compared:
    """A gain of one arm over another by each measure, on the seeds that both have; none of them, no gain."""

    arm: str
    against: str
    asks: str
    seeds: tuple[int, ...]
    gains: Mapping[str, Difference]
    adjusted: Mapping[str, float | None]  # p after Holm's correction over the study's comparisons


@dataclass(frozen=True)
class Found:
    """What a study has come to: `described` is its study.json, `results` those of the finished trials."""

    folder: Path
    described: Mapping[str, Any]
    units: Mapping[str, UnitState]
    results: Mapping[tuple[str, int], Results]
    audit: Mapping[str, Any] | None

    @property
    def units_folder(self) -> Path:
        return self.folder / self.described["units_folder"]

    @property
    def arms(self) -> list[dict[str, Any]]:
        return self.described["arms"]

    @property
    def trials(self) -> int:
        """How many are planned."""
        return sum(len(arm["trials"]) for arm in self.arms)

    @property
    def complete(self) -> bool:
        return len(self.results) == self.trials

    @property
    def passed(self) -> bool:
        """Whether no check has failed, as far as checks were made."""
        return self.audit is None or bool(self.audit["passed"])

    @property
    def failed(self) -> list[UnitState]:
        return [unit for unit in self.units.values() if unit.state == "failed"]

    def path(self, place: str) -> Path:
        """Of a set or of data: absolute, or from the folder of all units."""
        return self.units_folder / place

    def seeds(self, arm: str) -> list[int]:
        """Those that are done."""
        return [seed for name, seed in self.results if name == arm]

    def sets(self) -> dict[str, list[str]]:
        """Each synthetic set of the first seed by its place, and the arms that are given it."""
        used: dict[str, list[str]] = {}
        for arm in self.arms:
            for place in arm["sets"]:
                used.setdefault(place, []).append(arm["name"])
        return used

    def trains(self, arm: str) -> bool:
        """Whether an arm trains on the sets that it is given, not on real images in their place."""
        options = next(each["options"] for each in self.arms if each["name"] == arm)
        return DUPLICATED not in f"{self.described['reid']} {options}".replace("=", " ").split()

    def made_by(self, place: str) -> str:
        """The command that made a set, with its options."""
        unit = self.units[PurePosixPath(place).parts[0]]
        made = f"{unit.command} {unit.label}".strip()
        return f"a random subset of the same count as: {made}" if place.endswith(CONTROL) else made


def read(folder: Path) -> Found:
    """Whatever the study has so far.

    Raises:
        ValueError: no study, one of another version, or a damaged file in it.
    """
    described = _described(folder)
    units_folder = folder / described["units_folder"]
    labels = _labels(described["units"])
    units = {
        name: replace(_state(units_folder / name, unit), label=labels[name])
        for name, unit in described["units"].items()
    }
    results = {
        (arm["name"], int(seed)): files.read_json(units_folder / name / study.COMMANDS[study.REID].proof)
        for arm in described["arms"]
        for seed, name in arm["trials"].items()
        if units[name].state == "done"
    }
    audit = folder / "audit.json"
    return Found(folder, described, units, results, files.read_json(audit) if audit.exists() else None)


def comparisons(found: Found) -> list[Compared]:
    """Of each contrast of the study, in its order; random erasing alone, where it is none of them, comes last.

    Holm's correction counts all contrasts of the study, also those that have no result yet.
    """
    contrasts = found.described["contrasts"]
    asked = contrasts + [each for each in [found.described["erasing"]] if each and _position(each, contrasts) is None]
    paired = [_gains(found, contrast) for contrast in asked]
    adjusted = {measure: _adjusted([gains for _, gains in paired[: len(contrasts)]], measure) for measure in MEASURES}
    return [
        Compared(
            contrast["arm"], contrast["against"], contrast["asks"], seeds, gains,
            {measure: values[place] if place < len(contrasts) else None for measure, values in adjusted.items()},
        )
        for place, (contrast, (seeds, gains)) in enumerate(zip(asked, paired, strict=True))
    ]  # fmt: skip


def erasing_alone(found: Found, compared: Sequence[Compared]) -> Compared | None:
    """What random erasing does by itself, if the study asks."""
    asked = found.described["erasing"]
    if asked is None:
        return None
    return next(each for each in compared if (each.arm, each.against) == (asked["arm"], asked["against"]))


def level(results: list[Results], measure: str) -> Difference:
    """The mean of an arm with its interval over identities and seeds: its gain over finding nothing."""
    key = MEASURES[measure]
    nothing = [
        {"per_query": {**each["per_query"], key: [None if value is None else 0.0 for value in each["per_query"][key]]}}
        for each in results
    ]
    return compare(nothing, results, key)


def _described(folder: Path) -> dict[str, Any]:
    path = folder / study_file.STUDY
    if path.exists():
        return study_file.read(path)
    header = folder / "config.json"
    if header.exists() and files.read_json(header).get("stage") == "demo":
        raise ValueError(f"{folder}: holds a demo; its page is {folder / 'report.html'}")
    what = f"no {study_file.STUDY} in it" if folder.is_dir() else "no such folder"
    raise ValueError(f"{folder}: {what}; give the folder that `augment ablate STUDY --out DIR` was given")


def _labels(units: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """What each unit is; of steps whose options are alike also what they are made from, and for which seed."""
    labels: dict[str, str] = {}
    alike: dict[tuple[str, str], list[str]] = {}
    for name, unit in units.items():
        alike.setdefault((unit["command"], unit["label"]), []).append(name)
    for name, unit in units.items():  # each after those that it needs
        group = alike[unit["command"], unit["label"]]
        common = set.intersection(*(set(units[each]["needs"]) for each in group))
        words = list(unit["argv"])
        told = [unit["label"]]
        if len(group) > 1:
            own = [f"{units[need]['command']} {labels[need]}".strip() for need in unit["needs"] if need not in common]
            told += [f"from {' and '.join(own)}" if own else ""]
            told += [f"seed {words[words.index('--seed') + 1]}" if "--seed" in words else ""]
        labels[name] = ", ".join(filter(None, told))
    return labels


def _state(folder: Path, unit: Mapping[str, Any]) -> UnitState:
    done, failed = folder / "result.json", folder / "failed.json"
    about = UnitState(unit["name"], unit["command"], unit["label"], tuple(unit["argv"]), "not done")
    if done.exists():
        held = files.read_json(done)
        return replace(about, state="done", seconds=held["seconds"], attempts=held["attempts"], host=held["host"])
    if failed.exists():
        held = files.read_json(failed)
        said = f"exit code {held['code']}: {held['tail'][-1] if held['tail'] else 'it said nothing'}"
        return replace(about, state="failed", seconds=held.get("seconds"), attempts=held["attempts"], said=said)
    return about


def _gains(found: Found, contrast: Mapping[str, Any]) -> tuple[tuple[int, ...], dict[str, Difference]]:
    own, base = contrast["arm"], contrast["against"]
    seeds = tuple(seed for seed in found.described["seeds"] if {(own, seed), (base, seed)} <= found.results.keys())
    if not seeds:
        return (), {}
    old, new = ([found.results[arm, seed] for seed in seeds] for arm in (base, own))
    return seeds, {measure: compare(old, new, key) for measure, key in MEASURES.items()}


def _adjusted(gains: list[dict[str, Difference]], measure: str) -> list[float | None]:
    """A comparison without a p counts as one that shows nothing."""
    found = [each[measure].p if each else None for each in gains]
    values = holm({place: 1.0 if p is None else p for place, p in enumerate(found)})
    return [None if p is None else values[place] for place, p in enumerate(found)]


def _position(contrast: Mapping[str, Any], contrasts: list[dict[str, Any]]) -> int | None:
    pairs = [(each["arm"], each["against"]) for each in contrasts]
    return pairs.index(pair) if (pair := (contrast["arm"], contrast["against"])) in pairs else None
