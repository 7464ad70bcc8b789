"""The audit of a study as it goes on: each check as soon as what it looks at is there, all of them in audit.json."""

from collections.abc import Collection, Iterable
from dataclasses import asdict

from augment import files, study_audit
from augment.study import REID
from augment.study_audit import Check
from augment.study_folder import Plan

AUDIT = "audit.json"


class Unsound(Exception):
    """A check of the study failed, so nothing that it measures would count."""

    def __init__(self, check: Check) -> None:
        super().__init__(f"audit: {check.name}: {check.detail}; the study is stopped")


class Auditor:
    """Makes the checks of a study and keeps them on disk."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
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
        self._add(study_audit.audit_plan(self._plan.layout))

    def made(self, done: Collection[str]) -> None:
        """Data and synthetic sets that are there now and have not been looked at."""
        for data in [path for path in self._data if self._is_there(path, done)]:
            del self._data[data]
            self._add(study_audit.audit_data(self._plan.units_folder / data))
        for path, data in [pair for pair in self._sets if all(self._is_there(each, done) for each in pair)]:
            del self._sets[path, data]
            self._add(study_audit.audit_set(self._plan.units_folder / path, self._plan.units_folder / data))

    def results(self, done: Collection[str]) -> None:
        """What the finished trials say of themselves."""
        trials = self._plan.layout.trials
        found = {
            key: self._plan.units_folder / self._plan.units[name].proof for key, name in trials.items() if name in done
        }
        self._add(study_audit.audit_results({key: files.read_json(path) for key, path in found.items()}))

    def _is_there(self, path: str, done: Collection[str]) -> bool:
        maker = path.partition("/")[0]
        return maker not in self._plan.units or maker in done

    def _add(self, checks: Iterable[Check]) -> None:
        added = list(checks)
        self._checks += added
        failed = [check for check in self._checks if not check.passed]
        header = {"schema": 1, "passed": not failed}
        files.write_json(self._plan.out / AUDIT, header | {"checks": [asdict(check) for check in self._checks]})
        if failed:
            raise Unsound(failed[0])


def passed(plan: Plan) -> bool:
    """Whether an audit was made and found nothing."""
    path = plan.out / AUDIT
    return path.exists() and files.read_json(path)["passed"] is True


def _sets(argv: Iterable[str]) -> list[str]:
    words = list(argv)
    return [words[place + 1] for place, word in enumerate(words) if word == "--synthetic"]
