"""The audit of a study as it goes on: each check as soon as what it looks at is there, all of them in audit.json."""

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from augment import files, study_audit, study_folder
from augment.study import REID
from augment.study_audit import Check
from augment.study_folder import Plan
from augment.trial import State

AUDIT = "audit.json"


class Unsound(Exception):
    """A check of the study failed, so nothing that it measures would count."""

    def __init__(self, check: Check) -> None:
        super().__init__(f"audit: {check.name}: {check.detail}; the study is stopped")


class Auditor:
    """Makes the checks of a study and keeps them on disk; `heed` is called after each, and may raise.

    A check that an earlier run has failed stays on disk until it is made again, or until all are.
    """

    def __init__(self, plan: Plan, heed: Callable[[], None] = lambda: None) -> None:
        self._plan, self._heed = plan, heed
        self._earlier = _failed(plan.out / AUDIT)
        self._checks: list[Check] = []
        trials = [plan.units[name] for name in plan.layout.trials.values()]
        assert all(trial.command == REID for trial in trials)
        self._data = dict.fromkeys((plan.layout.data, *(trial.argv[1] for trial in trials)))  # in order, each once
        self._sets = dict.fromkeys((path, trial.argv[1]) for trial in trials for path in _sets(trial.argv))

    def plan(self) -> None:
        """What can be said before anything is run.

        Raises:
            Unsound: a check failed, here as in the other methods.
        """
        self._add(self._of_plan())

    def made(self, done: Collection[str]) -> None:
        """Data and synthetic sets that are there now and have not been looked at."""
        for checks in self._of_made(done):
            self._add(checks)

    def foretold(self, done: Collection[str]) -> list[Check]:
        """The checks of `plan` and of `made`, of which none is kept."""
        return [*self._of_plan(), *itertools.chain.from_iterable(self._of_made(done))]

    def _of_plan(self) -> list[Check]:
        return [_changes(self._plan.out), *study_audit.audit_plan(self._plan.layout)]

    def _of_made(self, done: Collection[str]) -> Iterator[list[Check]]:
        for data in [path for path in self._data if self._is_there(path, done)]:
            del self._data[data]
            yield study_audit.audit_data(self._plan.units_folder / data)
        for path, data in [pair for pair in self._sets if all(self._is_there(each, done) for each in pair)]:
            del self._sets[path, data]
            folder, judges = self._plan.units_folder, self._judges(path)
            yield study_audit.audit_set(folder / path, folder / data, judges)

    def results(self, done: Collection[str]) -> None:
        """What the finished trials say of themselves."""
        trials = self._plan.layout.trials
        found = {
            key: self._plan.units_folder / self._plan.units[name].proof for key, name in trials.items() if name in done
        }
        study = self._plan.layout.study
        pairs = [(each.arm, each.against) for each in (*study.contrasts, *filter(None, [study.erasing]))]
        self._earlier = []
        self._add(study_audit.audit_results({key: files.read_json(path) for key, path in found.items()}, pairs))

    def _judges(self, path: str) -> Path | None:
        """By whose scores a set was chosen, if its filter needs scores."""
        unit = self._plan.units.get(path.partition("/")[0])
        needs = [self._plan.units[name] for name in unit.needs] if unit and unit.command == "filter" else []
        return next((self._plan.units_folder / need.out for need in needs if need.command == "score"), None)

    def _is_there(self, path: str, done: Collection[str]) -> bool:
        maker = path.partition("/")[0]
        return maker not in self._plan.units or maker in done

    def _add(self, checks: Iterable[Check]) -> None:
        added = list(checks)
        self._checks += added
        made = {check.name for check in self._checks}
        told = [*self._checks, *(check for check in self._earlier if check.name not in made)]
        passed = all(check.passed for check in told)
        files.write_json(
            self._plan.out / AUDIT, {"schema": 1, "passed": passed, "checks": [asdict(check) for check in told]}
        )
        if failed := [check for check in self._checks if not check.passed]:
            raise Unsound(failed[0])
        self._heed()


def beforehand(plan: Plan) -> list[Check]:
    """What a run would check before its first unit; nothing is written."""
    return Auditor(plan).foretold({name for name, state in plan.states().items() if state is State.DONE})


def passed(plan: Plan) -> bool:
    """Whether an audit was made and found nothing."""
    path = plan.out / AUDIT
    return path.exists() and files.read_json(path)["passed"] is True


def _failed(path: Path) -> list[Check]:
    """What an earlier run has found wrong."""
    held = files.read_json(path)["checks"] if path.exists() else []
    return [check for check in (Check(**each) for each in held) if not check.passed]


def _changes(out: Path) -> Check:
    """Never wrong, but to be known: comparisons are fixed before there are results."""
    changes = study_folder.changes(out)
    told = "; ".join(f"{change['what']} ({change['when']})" for change in changes)
    detail = f"the study was changed after its first trial: {told}" if told else "none after the study's first trial"
    return Check("plan: changes", True, detail)


def _sets(argv: Iterable[str]) -> list[str]:
    words = list(argv)
    return [words[place + 1] for place, word in enumerate(words) if word == "--synthetic"]
