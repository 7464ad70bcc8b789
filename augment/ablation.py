"""Stage: a study from its file to its report: units through an executor, audits between them, the report at the end."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from augment import auditing, files, interruption, schedule, studies, study_folder, study_report, trial
from augment.auditing import Auditor, Unsound
from augment.estimate import Estimate, Remaining, duration
from augment.executors import Executor
from augment.interruption import Flag, Preempted
from augment.report_plots import require_plotting
from augment.report_tables import plain
from augment.schedule import Schedule
from augment.study import REID, Unit, lay_out
from augment.study_folder import Plan
from augment.trial import State

PAGE = "report.html"
WIDTH = 60  # characters of a label in a line of the log
Log = Callable[[str], None]
Progress = Callable[[int, int, str], None]  # units done, of how many, and the time left in words


@dataclass(frozen=True)
class AblateConfig:
    """Which study, and what of it."""

    study: Path
    scale: str | None = None  # None: the first one of its file
    seeds: int | None = None  # None: as many as it says
    data: Path | None = None
    units: Path | None = None  # None: in the study's folder
    device: str = "auto"


@dataclass(frozen=True)
class Outcome:
    """The report, and a line for everything that did not come about."""

    page: Path | None
    complaints: tuple[str, ...] = ()
    table: str = ""  # of the comparisons, if the report was written now


def prepare(config: AblateConfig, out: Path) -> Plan:
    """Read the study and take it apart; nothing is written.

    Raises:
        ValueError: no such study, scale or data; `out` holds another one, or units of other versions.
    """
    scale, study = studies.choose(config.study, config.scale)
    given = study_folder.given_data(config.data) if config.data else None
    layout = lay_out(study, config.seeds, given, ("--device", config.device))
    place = study_folder.units_folder(out, config.units)
    plan = Plan(config.study.stem, scale, layout, out, place, given)
    study_folder.refuse_to_mix(plan)
    return plan


def run(
    plan: Plan,
    open_executor: Callable[[], Executor],
    *,
    retry_failed: bool = False,
    progress: Progress = lambda done, total, left: None,
    log: Log = lambda line: None,
) -> Outcome:
    """Run what is not done yet, and report.

    Raises:
        ValueError: what `open_executor` says; a damaged file; matplotlib is absent.
        Preempted: stopped by SIGTERM; what ran has saved.
    """
    require_plotting()
    states = plan.states()
    if _is_reported(plan, states):
        log("already done")
        return Outcome(plan.out / PAGE)
    study_folder.publish(plan, log)
    if retry_failed:
        for name in (name for name, state in states.items() if state is State.FAILED):
            (plan.folder(name) / trial.FAILED).unlink(missing_ok=True)
    with interruption.on_sigterm() as flag:
        return _work(_Course(plan, flag, progress, log), open_executor)


def _work(course: "_Course", open_executor: Callable[[], Executor]) -> Outcome:
    plan = course.plan
    executor = open_executor() if course.schedule.waiting else None
    try:
        course.begin()
        if executor:
            _run_units(course, executor)
        course.audit.results(course.schedule.done)
    except Unsound as stop:
        _withdraw(plan.out)
        return Outcome(None, (str(stop),))
    finally:
        if executor:
            executor.close()
    complaints = tuple(course.complaints())
    if not any(unit.command == REID for unit in map(plan.units.get, course.schedule.done) if unit):
        return Outcome(None, complaints)
    written = study_report.run(plan.out)
    return Outcome(written.page, complaints, f"{plain(written.tables[0])}\n{written.headline}")


def _withdraw(out: Path) -> None:
    """A page of before a check failed is replaced by one that says so, or at least does not stay."""
    page = out / PAGE
    if page.exists():
        page.unlink()
        study_report.run(out)


def _is_reported(plan: Plan, states: Mapping[str, State]) -> bool:
    """Whether all is done, and the report says so: it is written after the last result and the last check."""
    page = plan.out / PAGE
    if not (page.exists() and set(states.values()) == {State.DONE} and study_folder.is_published(plan)):
        return False
    before = [
        plan.out / auditing.AUDIT,
        plan.out / study_folder.STUDY,
        *(plan.folder(name) / trial.RESULT for name in states),
    ]
    return auditing.passed(plan) and page.stat().st_mtime_ns >= max(path.stat().st_mtime_ns for path in before)


def _run_units(course: "_Course", executor: Executor) -> None:
    course.slots = executor.slots
    try:
        schedule.work_off(course.schedule, executor, course.flag, course.end, course.look)
        course.heed()
    except BaseException:
        course.stop(executor)
        raise


class _Course:
    """What is said, audited and estimated while the units are worked off."""

    def __init__(self, plan: Plan, flag: Flag, progress: Progress, log: Log) -> None:
        self.plan, self.flag, self._progress, self._log = plan, flag, progress, log
        self.schedule = Schedule(plan.units, plan.units_folder)
        self.audit = Auditor(plan, self.heed)
        self.slots = 1
        states = plan.states()
        self.schedule.ended |= {name: state for name, state in states.items() if state in (State.DONE, State.FAILED)}
        self._estimate = _estimate(plan, states)

    @property
    def count(self) -> str:
        return f"{len(self.schedule.done)} of {len(self.plan.units)} units"

    def begin(self) -> None:
        """Look at what earlier runs have left."""
        self._log(f"{self.count} are done; {len(self.plan.layout.trials)} trials")
        self.audit.plan()
        self.audit.made(self.schedule.done)

    def heed(self) -> None:
        """Stop if SIGTERM has arrived.

        Raises:
            Preempted: it has.
        """
        if self.flag.requested:
            raise Preempted(f"stopped by SIGTERM; {self.count} are done in {self.plan.out}; the same command continues")

    def stop(self, executor: Executor) -> None:
        if self.schedule.running:
            self._log(f"stopping: {len(self.schedule.running)} running units save first")
        executor.stop()

    def end(self, name: str, state: State) -> None:
        """A unit ended."""
        done = self.schedule.done
        if state is State.DONE:
            unit, seconds = self.plan.units[name], _seconds(self.plan, name)
            self._estimate.add(unit.command, seconds)
            found = f"done {len(done)}/{len(self.plan.units)} {_label(unit)}: {self._score(unit)}"
            self._log(f"{found}{duration(seconds)}; {self._left()}")
            self.audit.made(done)
        else:
            self._log(f"{self._complaint(name)}; what does not need it goes on")

    def look(self) -> None:
        self._progress(len(self.schedule.done), len(self.plan.units), self._left())

    def complaints(self) -> list[str]:
        """Of units that ended badly, then of those that need them."""
        bad = [name for name, state in self.schedule.ended.items() if state is not State.DONE]
        lines = [self._complaint(name) for name in bad]
        for name, unit in self.plan.units.items():
            if name not in self.schedule.ended and (need := self.schedule.obstacle(name)):
                what = "failed" if self.schedule.ended[need] is State.FAILED else "was interrupted"
                lines.append(f"not run: {_label(unit)}: needs {need}, which {what}")
        return lines

    def _complaint(self, name: str) -> str:
        unit, folder = self.plan.units[name], self.plan.folder(name)
        log = folder / trial.LOG
        if self.schedule.ended[name] is State.FAILED:
            found = files.read_json(folder / trial.FAILED)
            last = found["tail"][-1] if found["tail"] else "no word"
            return f"failed: {_label(unit)}: exit code {found['code']}: {last} ({log})"
        tried = trial.attempts(folder)
        code = tried[-1].code if tried else None
        how = "its runner was killed" if code is None else f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"interrupted {schedule.ATTEMPTS} times: {_label(unit)}: {how}; the same command continues it ({log})"

    def _score(self, unit: Unit) -> str:
        if unit.command != REID:
            return ""
        return f"mAP {100 * files.read_json(self.plan.units_folder / unit.proof)['mAP']:.1f} %, "

    def _left(self) -> str:
        return self._estimate.left(self.schedule.rest(), self.slots)


def table(plan: Plan, slots: int | None) -> str:
    """What a run would do: a row a unit, then the totals. `slots` units run at a time; None: only the cluster knows."""
    states = plan.states()
    estimate = _estimate(plan, states)
    rows = [("state", "expected", "unit", "what", "command")]
    for name, unit in plan.units.items():
        seconds = estimate.of(unit.command)
        expected = "?" if seconds is None else duration(seconds)
        rows.append((states[name], expected, name, _label(unit), f"augment {shlex.join(unit.argv)}"))
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    lines = ["  ".join([*map(str.ljust, row, widths), row[-1]]) for row in rows]
    rest = {
        name: Remaining(plan.units[name].command, plan.units[name].needs)
        for name, state in states.items()
        if state is not State.DONE
    }
    done = len(plan.units) - len(rest)
    total = f"{len(plan.layout.trials)} trials; {done} of {len(plan.units)} units are done"
    return "\n".join([*lines, "", f"{total}; {estimate.left(rest, slots or 1)} {_by(slots)}"])


def doubts(plan: Plan) -> list[str]:
    """A line for each check of the plan and of what is there that a run would fail at its start; nothing is written."""
    return [
        f"audit: {check.name}: {check.detail}; a run would stop here"
        for check in auditing.beforehand(plan)
        if not check.passed
    ]


def _by(slots: int | None) -> str:
    if slots is None:
        return "if one unit runs at a time; without --jobs as many do as the cluster has room for"
    return f"on {slots} job{'s' if slots > 1 else ''}"


def _label(unit: Unit) -> str:
    text = f"{unit.command} {unit.label}".strip()
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 4]} ..."


def _estimate(plan: Plan, states: Mapping[str, State]) -> Estimate:
    """As the study expects, and as its finished units have shown."""
    found = Estimate(plan.layout.study.seconds)
    for name in (name for name, state in states.items() if state is State.DONE):
        found.add(plan.units[name].command, _seconds(plan, name))
    return found


def _seconds(plan: Plan, name: str) -> float:
    return float(files.read_json(plan.folder(name) / trial.RESULT)["seconds"])
