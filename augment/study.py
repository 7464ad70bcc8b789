"""What a study is: arms that differ in what a re-ID network is trained on, and the steps that make what they need.

A step is one `augment` command, its options written as on the command line, and the steps whose results it reads. What
two arms ask for alike is made once: the folder of a step is named after the digest of all that determines its result.
A step whose command is train-reid is a trial.
"""

import hashlib
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from augment import files

REID = "train-reid"
GIVEN = "given"  # the step that stands for data which the user gives
DIGITS = 12  # of a digest, in the name of a folder
SEEDS = 5
IDENTIFYING = ("generator.safetensors", "checkpoint.safetensors", "results.json")  # files that tell folders apart


@dataclass(frozen=True)
class Command:
    """How a step of this command is called, and what it leaves in its folder."""

    out: str  # what it makes
    proof: str  # the file or folder that is there when it has been made
    words: Callable[[Path, Sequence[str]], list[str]]  # its arguments: of out and the paths of its inputs
    computes: bool = True  # on a device


def _of_data(out: Path, inputs: Sequence[str]) -> list[str]:
    return [inputs[0], "--out", str(out)]


def _with_generator(out: Path, inputs: Sequence[str]) -> list[str]:
    generator = [word for path in inputs[1:] for word in ("--generator", path)]  # copy and warp are among the options
    return [inputs[0], *generator, "--out", str(out)]


def _with_sets(out: Path, inputs: Sequence[str]) -> list[str]:
    return [inputs[0], "--out", str(out), *(word for path in inputs[1:] for word in ("--synthetic", path))]


COMMANDS: dict[str, Command] = {
    "make-data": Command("data", "data", lambda out, inputs: [str(out)], computes=False),
    "subset": Command("data", "data", _of_data, computes=False),
    "train-generator": Command("run", "run/results.json", _of_data),
    "synthesize": Command("set.h5", "set.h5", _with_generator),
    "score": Command("judges", "judges", lambda out, inputs: [*inputs[:2], "--reid", str(out)]),
    "filter": Command("kept.h5", "kept.h5", lambda out, inputs: [inputs[0], "--out", str(out)], computes=False),
    REID: Command("run", "run/results.json", _with_sets),
}
CONTROL = "kept.control.h5"


@dataclass(frozen=True)
class Step:
    """One command, and the steps whose results it reads; `seeded` ones are made anew for every seed of the trials."""

    command: str
    options: str = ""
    inputs: "tuple[Made, ...]" = ()
    seeded: bool = False

    def __post_init__(self) -> None:
        if self.command not in COMMANDS and self.command != GIVEN:
            raise ValueError(f"step {self.command!r}: a study is made of {', '.join(COMMANDS)}")
        if "--seed" in self.words and (self.seeded or self.command == REID):
            raise ValueError(f"{self.command} {self.options}: the study itself gives it --seed; leave it out")

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(shlex.split(self.options))


@dataclass(frozen=True)
class Control:
    """The random subset that `augment filter` leaves beside its selection."""

    step: Step


Made = Step | Control
DATA = Step(GIVEN)  # the study's data: what is given, or else what its options of make-data draw


@dataclass(frozen=True)
class Arm:
    """One way to train: on `data` and the synthetic `sets`, with these options of train-reid beside the study's."""

    name: str
    options: str = ""
    sets: tuple[Made, ...] = ()
    about: str = ""  # the question that it answers
    data: Step = DATA
    curve: tuple[str, float] | None = None  # the line that it is a point of, and where


@dataclass(frozen=True)
class Contrast:
    """A comparison that is fixed before the first trial: the gain of `arm` over `against`."""

    arm: str
    against: str
    asks: str = ""


@dataclass(frozen=True)
class Study:
    """Question, arms and comparisons, at one scale. The first comparison is the headline."""

    title: str
    question: str
    arms: tuple[Arm, ...]
    contrasts: tuple[Contrast, ...]
    reid: str = ""  # options of train-reid that all arms share
    data: str | None = None  # options of make-data; None: the user gives the data
    seeds: int = SEEDS
    note: str = ""  # what a reader must know of generator and data
    axis: str = ""  # what the points of curves are drawn over
    erasing: Contrast | None = None  # random erasing alone, for the headline
    seconds: Mapping[str, float] = field(default_factory=dict)  # expected, of each command; docs say where measured

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{self.title}: two arms are called {', '.join(sorted(repeated))}")
        compared = (*self.contrasts, *([self.erasing] if self.erasing else []))
        if unknown := {name for each in compared for name in (each.arm, each.against)} - set(names):
            raise ValueError(f"{self.title}: compares {', '.join(sorted(unknown))}, of which there is no arm")
        if not self.contrasts:
            raise ValueError(f"{self.title}: compares nothing; give it a contrast")


@dataclass(frozen=True)
class Unit:
    """A step that is ready to run; `argv` goes with the folder of all units as the working directory."""

    name: str  # of its folder
    command: str
    label: str
    argv: tuple[str, ...]  # words after `augment`
    needs: tuple[str, ...]  # names of units that come first

    @property
    def out(self) -> str:
        """What it makes, from the folder of all units."""
        return f"{self.name}/{COMMANDS[self.command].out}"

    @property
    def proof(self) -> str:
        return f"{self.name}/{COMMANDS[self.command].proof}"


@dataclass(frozen=True)
class Given:
    """Data of the user: where it is, and the digest of its images."""

    path: Path
    digest: str


@dataclass(frozen=True)
class Layout:
    """A study taken apart: every unit once, after those that it needs; the trials by arm and seed."""

    study: Study
    seeds: tuple[int, ...]
    data: str  # path of the data, absolute or from the folder of all units
    units: Mapping[str, Unit]
    trials: Mapping[tuple[str, int], str]
    sets: Mapping[str, tuple[str, ...]]  # of each arm with its first seed, from the folder of all units

    def description(self) -> dict[str, Any]:
        """What study.json holds of it."""
        study = self.study
        arms = [
            {
                "name": arm.name,
                "about": arm.about,
                "options": arm.options,
                "curve": arm.curve,
                "sets": list(self.sets[arm.name]),
                "trials": {str(seed): self.trials[arm.name, seed] for seed in self.seeds},
            }
            for arm in study.arms
        ]
        return {
            "title": study.title,
            "question": study.question,
            "note": study.note,
            "axis": study.axis,
            "seeds": list(self.seeds),
            "reid": study.reid,
            "arms": arms,
            "contrasts": [asdict(contrast) for contrast in study.contrasts],
            "erasing": asdict(study.erasing) if study.erasing else None,
            "seconds": dict(study.seconds),
            "data": self.data,
            "units": {name: asdict(unit) for name, unit in self.units.items()},
        }


def lay_out(study: Study, seeds: int | None = None, given: Given | None = None, extra: Sequence[str] = ()) -> Layout:
    """Every unit of a study. `extra` are words for each command that change no result, such as --device cpu.

    Raises:
        ValueError: the study asks for data and none is given; two steps would score one set; an option names a folder
            that nothing tells from another one.
    """
    return _Layouts(study, range(study.seeds if seeds is None else seeds), given, extra).layout()


class _Layouts:
    """Collects units, each after those that it needs."""

    def __init__(self, study: Study, seeds: range, given: Given | None, extra: Sequence[str]) -> None:
        if given is None and study.data is None:
            raise ValueError(f"--data: {study.title} brings no data of its own at this scale; give a data set")
        self.study, self.seeds, self.given, self.extra = study, seeds, given, extra
        self.units: dict[str, Unit] = {}

    def layout(self) -> Layout:
        trials = {}
        for seed in self.seeds:  # seed by seed, so that a study which is stopped early can be compared
            for arm in self.study.arms:
                step = Step(REID, f"{self.study.reid} {arm.options}", (arm.data, *arm.sets), seeded=True)
                trials[arm.name, seed] = self._unit(step, seed, f"{arm.name}, seed {seed}").name
        sets = {arm.name: tuple(self._path(made, self.seeds[0]) for made in arm.sets) for arm in self.study.arms}
        self._refuse_lost_scores()
        return Layout(self.study, tuple(self.seeds), self._path(DATA, 0), self.units, trials, sets)

    def _refuse_lost_scores(self) -> None:
        """Scores lie beside the set whose pixels they are of: those of a second step would replace the first ones."""
        found: dict[str, Unit] = {}
        for unit in self.units.values():
            if unit.command != "score":
                continue
            scored = unit.argv[1]
            while (maker := self.units.get(scored.partition("/")[0])) and maker.command == "filter":
                scored = maker.argv[1]
            first = found.setdefault(scored, unit)
            if first is not unit:
                raise ValueError(
                    f"{_named(first)} and {_named(unit)}: two score steps with different options on one set; give one "
                    "step all the scores, or make a second set"
                )

    def _unit(self, step: Step, seed: int, label: str = "") -> Unit:
        name = f"{step.command}-{self._digest(step, seed)[:DIGITS]}"
        if name not in self.units:
            command = COMMANDS[step.command]
            paths = [self._path(made, seed) for made in step.inputs]
            words = [*command.words(Path(name) / command.out, paths), *step.words]
            words += ["--seed", str(seed)] if step.seeded else []
            words += self.extra if command.computes else []
            needs = [self._unit(self._maker(made), seed).name for made in step.inputs if self._is_made(made)]
            said = label or _of_subset(step) + shlex.join(step.words)
            unit = Unit(name, step.command, said, (step.command, *words), tuple(needs))
            self.units[name] = unit
        return self.units[name]

    def _path(self, made: Made, seed: int) -> str:
        """Where it lies: absolute, or from the folder of all units."""
        if not self._is_made(made):
            assert self.given is not None
            return str(self.given.path.absolute())
        unit = self._unit(self._maker(made), seed)
        return f"{unit.name}/{CONTROL}" if isinstance(made, Control) else unit.out

    def _is_made(self, made: Made) -> bool:
        return made != DATA or self.given is None

    def _maker(self, made: Made) -> Step:
        """The step whose folder holds it."""
        if isinstance(made, Control):
            return made.step
        return Step("make-data", self.study.data or "") if made == DATA else made

    def _digest(self, made: Made, seed: int) -> str:
        """SHA-256 of all that determines a result."""
        if not self._is_made(made):
            assert self.given is not None
            return self.given.digest
        step = self._maker(made)
        inputs = [self._digest(each, seed) for each in step.inputs]
        words = [_content(word, step) for word in step.words]
        found = [step.command, words, seed if step.seeded else None, inputs, isinstance(made, Control)]
        return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def _named(unit: Unit) -> str:
    return f"{unit.name} ({unit.command} {unit.label})" if unit.label else unit.name


def _of_subset(step: Step) -> str:
    """The share of the images that a step works on, where it is not all of them."""
    for made in step.inputs:
        source = made.step if isinstance(made, Control) else made
        if source.command == "subset":
            portion = dict(zip(source.words, source.words[1:], strict=False)).get("--portion")
            return f"{100 * float(portion):g} % subset: " if portion else "subset: "
        if found := _of_subset(source):
            return found
    return ""


def _content(word: str, step: Step) -> str:
    """A file counts by what it holds, not by where it lies; a folder by the weights and results that lie in it."""
    option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    path = Path(value)
    if not path.is_absolute() or not path.exists():
        return word
    if path.is_file():
        return f"{option}{equals}sha256:{files.sha256(path)}"
    held = {name: files.sha256(path / name) for name in IDENTIFYING if (path / name).is_file()}
    if not held:
        raise ValueError(
            f"{step.command} {step.options}: the folder {path} holds none of {', '.join(IDENTIFYING)}, so a change "
            "in it would go unseen; give a file"
        )
    return f"{option}{equals}sha256:{hashlib.sha256(json.dumps(held).encode()).hexdigest()}"
