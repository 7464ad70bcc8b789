"""A study's folder: what was asked for, where its units lie, and what must not be mixed in it.

DIR/study.json     the study as it was asked for last (augment.study.Layout), the digest of its data, versions, and
                   how it was changed after its first trial
DIR/units/         its units, unless they were put elsewhere, which studies may share
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from augment import files, runs, study_file, trial
from augment.data.read import read_data
from augment.results_audit import COMPUTING
from augment.study import Given, Layout, Unit
from augment.study_file import SCHEMA, STUDY
from augment.trial import State

UNITS = "units"
ADDED = ("created", "changes")  # what study.json says beside what is asked for
Log = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """A study at one scale with its folder: everything that is known before the first unit is run."""

    study: str
    scale: str
    layout: Layout
    out: Path
    units_folder: Path
    given: Given | None

    @property
    def units(self) -> Mapping[str, Unit]:
        return self.layout.units

    @property
    def data(self) -> Path:
        return self.units_folder / self.layout.data

    def folder(self, name: str) -> Path:
        return self.units_folder / name

    def states(self) -> dict[str, State]:
        return {name: trial.state(self.folder(name)) for name in self.units}


def given_data(path: Path) -> Given:
    """A data set of the user, by its images and key points.

    Raises:
        ValueError: no data set, or broken.
    """
    data = read_data(path)
    points = [files.sha256(each) for each in (*data.annotations, *filter(None, (data.pairs, data.test_pairs)))]
    return Given(
        path.absolute(), hashlib.sha256(" ".join((data.digest, data.test_digest, *points)).encode()).hexdigest()
    )


def units_folder(out: Path, asked: Path | None) -> Path:
    """Where the units lie: where they were, where they shall, or in the study's own folder.

    Raises:
        ValueError: they lie elsewhere already.
    """
    saved = _saved(out)
    there = None if saved is None else out / saved["units_folder"]
    if there is not None and asked is not None and asked.absolute() != there.absolute():
        raise ValueError(f"--units {asked}: the units of {out} lie in {there}; leave it out, or choose another --out")
    return (there or asked or out / UNITS).absolute()


def refuse_to_mix(plan: Plan) -> None:
    """Another study, scale or data in this folder, or units of other versions.

    Raises:
        ValueError: naming what differs.
    """
    saved = _saved(plan.out)
    if saved is None:
        if plan.out.exists() and any(not entry.name.endswith(".part") for entry in plan.out.iterdir()):
            raise ValueError(f"{plan.out}: holds files but no {STUDY}, so it is no study; choose another --out")
    else:
        asked = _identity(plan)
        differing = [key for key in asked if asked[key] != saved.get(key)]
        if differing:
            changes = ", ".join(f"{key} ({saved.get(key)} there, {asked[key]} asked)" for key in differing)
            raise ValueError(f"{plan.out}: holds another study: {changes}; choose another --out")
        if _begun(plan):
            _refuse_other_versions(plan.out / STUDY)
    for name in plan.units:
        _refuse_other_versions(plan.folder(name) / trial.RESULT)


def publish(plan: Plan, log: Log) -> None:
    """Write what is asked for: study.json, and the command of each unit. Say what is new beside an earlier run."""
    saved = _saved(plan.out)
    wanted = _header(plan)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    lines = _changes(saved, wanted) if saved else []
    for line in lines:
        log(line)
    noted = saved.get("changes", []) if saved else []
    if saved and (states := _trials(plan, saved)):
        after = "after results were there" if State.DONE in states else "after trials had begun"
        noted = [*noted, *({"when": now, "what": f"{line}, {after}"} for line in lines)]
    wanted |= {"created": saved["created"] if saved else now, "changes": noted}
    if wanted != saved:
        files.write_json(plan.out / STUDY, wanted)
    for name, unit in plan.units.items():
        path, held = plan.folder(name) / trial.UNIT, files.json_bytes({"schema": SCHEMA, **asdict(unit)})
        if not path.exists() or path.read_bytes() != held:
            files.write_atomic(path, held)


def is_published(plan: Plan) -> bool:
    """Whether exactly this was asked for before."""
    saved = _saved(plan.out)
    return saved is not None and _header(plan) == {key: saved[key] for key in saved if key not in ADDED}


def changes(out: Path) -> list[dict[str, str]]:
    """How the study was changed after its first trial: `when`, and `what`."""
    return (_saved(out) or {}).get("changes", [])


def _header(plan: Plan) -> dict[str, Any]:
    """As it reads in study.json, but for what is added there."""
    out = plan.out.absolute()
    place = plan.units_folder.relative_to(out) if plan.units_folder.is_relative_to(out) else plan.units_folder
    header = {"schema": SCHEMA, **_identity(plan), **plan.layout.description(), "versions": runs.versions()}
    return json.loads(json.dumps(header | {"units_folder": str(place)}))


def _identity(plan: Plan) -> dict[str, Any]:
    """What makes it this study. Data that are given may move; those that the study draws go by their options."""
    digest = plan.given.digest if plan.given else plan.layout.data.partition("/")[0]
    return {"study": plan.study, "scale": plan.scale, "data_digest": digest}


def _saved(out: Path) -> dict[str, Any] | None:
    path = out / STUDY
    return study_file.read(path) if path.exists() else None


def _trials(plan: Plan, saved: Mapping[str, Any]) -> list[State]:
    """Of those that the study had before and that were begun."""
    states = [trial.state(plan.folder(name)) for arm in saved["arms"] for name in arm["trials"].values()]
    return [state for state in states if state is not State.NEW]


def _begun(plan: Plan) -> bool:
    return any(state is not State.NEW for state in plan.states().values())


def _refuse_other_versions(path: Path) -> None:
    if not path.exists():
        return
    made, here = files.read_json(path)["versions"], runs.versions()
    if differing := [name for name in COMPUTING if made.get(name) != here[name]]:
        found = ", ".join(f"{name} {made.get(name)} (here {here[name]})" for name in differing)
        raise ValueError(f"{path.parent}: made with {found}; choose another --out and --units, or install that")


def _changes(saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What a study that is asked for anew has more, less and otherwise than before."""
    old, new = ({arm["name"]: arm["trials"] for arm in header["arms"]} for header in (saved, wanted))
    before, after = ([_versus(each) for each in header["contrasts"]] for header in (saved, wanted))
    lines = []
    if saved["question"] != wanted["question"]:
        lines.append(f"question: was {saved['question']!r}")
    if before[0] != after[0]:
        lines.append(f"another headline: {after[0]} in place of {before[0]}")
    lines += [*_difference("comparisons", before, after), *_difference("arms", list(old), list(new))]
    if saved["erasing"] != wanted["erasing"]:
        alone = [_versus(header["erasing"]) if header["erasing"] else "none" for header in (saved, wanted)]
        lines.append(f"random erasing alone: {alone[0]} -> {alone[1]}")
    if saved["seeds"] != wanted["seeds"]:
        lines.append(f"seeds {len(saved['seeds'])} -> {len(wanted['seeds'])}")
    shared = [name for name in old.keys() & new.keys() if any(new[name].get(s, t) != t for s, t in old[name].items())]
    return lines + ([f"arms that are other trials than before: {', '.join(sorted(shared))}"] if shared else [])


def _difference(kind: str, before: Sequence[str], after: Sequence[str]) -> list[str]:
    added, dropped = ([name for name in one if name not in other] for one, other in ((after, before), (before, after)))
    lines = [f"added {kind}: {', '.join(added)}"] if added else []
    return lines + ([f"{kind} left out this time: {', '.join(dropped)}"] if dropped else [])


def _versus(contrast: Mapping[str, str]) -> str:
    return f"{contrast['arm']!r} against {contrast['against']!r}"
