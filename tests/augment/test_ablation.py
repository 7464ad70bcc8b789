"""A study from its plan to its end: what kills, crashes and a second runner change of it, which is nothing."""

import json
import os
import signal

import pytest

from augment import ablation, auditing, files, study_audit, trial
from augment.ablation import run, table
from augment.executors.local import LocalExecutor
from augment.interruption import Preempted
from augment.study import DATA, Arm, Control, Step
from augment.study_audit import Check
from augment.trial import State
from tests import standing_in
from tests.killing import in_child, start
from tests.standing_in import Forked, is_running, planned, said, study, until


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch, tmp_path):
    standing_in.stand_in(monkeypatch, tmp_path)
    standing_in.without_audit(monkeypatch)


GENERATOR = Step("train-generator", "--model dptn", (DATA,))
SET = Step("synthesize", "--per-image 2", (DATA, GENERATOR))
KEPT = Step("filter", "--top 0.7", (SET,))


def arms(options=""):
    return (
        Arm("real", options),
        Arm("mixed", f"--ratio 1 {options}", (SET,)),
        Arm("filtered", options, (KEPT,)),
        Arm("subset", options, (Control(KEPT),)),
    )


def results(plan):
    """What the units made, by their names."""
    return {name: (plan.units_folder / unit.proof).read_bytes()
            for name, unit in plan.units.items() if (plan.units_folder / unit.proof).is_file()}  # fmt: skip


def go(plan, slots=2, **options):
    log = []
    executor = Forked(slots)
    outcome = run(plan, lambda: executor, log=log.append, **options)
    return outcome, log, executor.submitted


def test_a_study_runs_to_its_report_and_says_already_done(tmp_path):
    plan = planned(study(*arms(), seeds=1), tmp_path / "out")
    outcome, log, submitted = go(plan)
    assert outcome.page == tmp_path / "out" / "report.html"
    assert outcome.complaints == ()
    assert outcome.table == "Comparisons\narm\nmixed\nIt adds 1.0 mAP."
    assert sorted(submitted) == sorted(plan.units)
    assert set(plan.states().values()) == {State.DONE}
    assert log[0] == "0 of 8 units are done; 4 trials"
    first = [line for line in log if "train-reid real, seed 0" in line]
    score = files.read_json(plan.units_folder / plan.units[plan.layout.trials["real", 0]].proof)["mAP"]
    assert f": mAP {100 * score:.1f} %, " in first[0]

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    again, log, submitted = go(plan)
    assert (again.page, log, submitted) == (outcome.page, ["already done"], [])
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def test_killed_runner_and_trials_change_nothing(tmp_path):
    """kill -9 of the runner, of one trial whole, of another one's runner and of a third one's command, mid-way."""
    sign = tmp_path / "go"
    asked = study(*arms(f"--awaits {sign}"), seeds=1)
    whole = planned(asked, tmp_path / "whole")
    sign.touch()
    go(whole, 4)
    sign.unlink()

    plan = planned(asked, tmp_path / "killed")
    runner = start(lambda: run(plan, lambda: Forked(3)))
    trials = [plan.folder(name) for name in plan.layout.trials.values()]
    until(lambda: sum(map(is_running, trials)) >= 3)
    running = [folder for folder in trials if is_running(folder)]
    os.kill(runner, signal.SIGKILL)
    os.waitpid(runner, 0)
    (whole_command, whole_runner), (_, lone_runner), (lone_command, _) = (
        map(int, (folder / "pids").read_text().split()) for folder in running[:3]
    )
    for pid in (whole_runner, whole_command, lone_runner, lone_command):
        os.kill(pid, signal.SIGKILL)
    sign.touch()
    until(lambda: trial.state(running[0]) is State.INTERRUPTED)
    assert not (plan.out / "report.html").exists()

    outcome, log, _ = go(plan, 3)
    assert (outcome.page, outcome.complaints) == (plan.out / "report.html", ())
    assert int(log[0].split()[0]) > 0, "what was done is not done again"
    assert results(plan) == results(whole)
    assert not [path for path in plan.out.rglob("*") if path.name.endswith(".part")]


@pytest.mark.parametrize("killed_in", ["publish", "_add", "submit", "end"])
def test_the_runner_may_be_killed_at_any_step(tmp_path, monkeypatch, killed_in):
    plan = planned(study(*arms(), seeds=1), tmp_path / "out")

    def killed():
        owner = {"publish": ablation.study_folder, "_add": auditing.Auditor, "submit": Forked, "end": ablation._Course}
        truth, calls = getattr(owner[killed_in], killed_in), []

        def die(*given):
            calls.append(given)
            truth(*given)
            if len(calls) == (1 if killed_in == "publish" else 2):
                os.kill(os.getpid(), signal.SIGKILL)

        monkeypatch.setattr(owner[killed_in], killed_in, die)
        run(plan, lambda: Forked(2))

    assert in_child(killed) == -signal.SIGKILL
    outcome, _, _ = go(plan)
    assert outcome.complaints == ()
    assert set(plan.states().values()) == {State.DONE}
    assert files.read_json(plan.out / "study.json")["units"].keys() == plan.units.keys()


def test_a_failed_trial_is_reported_and_retried_on_request(tmp_path):
    mended = tmp_path / "mended"
    crashing = Arm("mixed", f"--code 3 --unless {mended}", (SET,))
    plan = planned(study(Arm("real"), crashing, seeds=1), tmp_path / "out")
    name = plan.layout.trials["mixed", 0]
    outcome, _, submitted = go(plan)
    log = plan.folder(name) / trial.LOG
    assert outcome.complaints == (f"failed: train-reid mixed, seed 0: exit code 3: badly ({log})",)
    assert outcome.page, "the report says what there is"
    assert plan.states()[plan.layout.trials["real", 0]] is State.DONE
    assert submitted.count(name) == 1

    mended.touch()
    outcome, _, submitted = go(plan)
    assert (submitted, len(outcome.complaints)) == ([], 1), "not by itself"
    outcome, _, submitted = go(plan, retry_failed=True)
    assert (submitted, outcome.complaints) == ([name], ())


def test_what_needs_a_failed_unit_is_not_run(tmp_path):
    broken = Step("synthesize", "--code 1", (DATA, GENERATOR))
    plan = planned(study(Arm("real"), Arm("mixed", "", (broken,)), seeds=2), tmp_path / "out")
    outcome, _, submitted = go(plan)
    (maker,) = (name for name in plan.units if name.startswith("synthesize"))
    assert outcome.complaints[0].startswith("failed: synthesize --code 1: exit code 1: badly (")
    assert outcome.complaints[1:] == tuple(
        f"not run: train-reid mixed, seed {seed}: needs {maker}, which failed" for seed in (0, 1)
    )
    assert not {plan.layout.trials["mixed", seed] for seed in (0, 1)} & set(submitted)
    assert {plan.layout.trials["real", seed] for seed in (0, 1)} <= set(submitted)


def test_an_interrupted_unit_is_tried_again_then_left(tmp_path):
    plan = planned(study(Arm("real"), Arm("once", "--signal 9"), Arm("ever", "--code 75"), seeds=1), tmp_path / "out")
    outcome, _, submitted = go(plan)
    once, ever = (plan.layout.trials[arm, 0] for arm in ("once", "ever"))
    assert (submitted.count(once), submitted.count(ever)) == (2, 2)
    (complaint,) = outcome.complaints
    assert complaint.startswith(
        "interrupted 2 times: train-reid ever, seed 0: exit code 75; the same command continues"
    )
    assert go(plan)[2].count(ever) == 2


def test_sigterm_stops_all_and_the_next_run_goes_on(tmp_path):
    asked = study(Arm("a", "--obeys --sleep 2"), Arm("b", "--sleep 2 --obeys"), Arm("c"), seeds=1)
    plan = planned(asked, tmp_path / "out")
    sign = tmp_path / "said"

    def stopped():
        try:
            run(plan, lambda: Forked(2))
        except Preempted as stop:
            sign.write_text(str(stop))

    runner = start(stopped)
    first = [plan.folder(plan.layout.trials[arm, 0]) for arm in "ab"]
    until(lambda: all((folder / "progress").exists() for folder in first))
    os.kill(runner, signal.SIGTERM)
    assert os.waitpid(runner, 0)[1] == 0
    assert sign.read_text() == f"stopped by SIGTERM; 1 of 4 units are done in {plan.out}; the same command continues"
    assert [trial.state(folder) for folder in first] == [State.INTERRUPTED] * 2
    assert all("saved" in said(folder) for folder in first)
    assert trial.state(plan.folder(plan.layout.trials["c", 0])) is State.NEW

    outcome, _, _ = go(plan)
    assert outcome.complaints == ()
    assert [len(trial.attempts(folder)) for folder in first] == [2, 2]


def test_ctrl_c_stops_what_runs(tmp_path):
    plan = planned(study(Arm("a", "--sleep 5 --obeys"), seeds=1), tmp_path / "out")
    folder = plan.folder(plan.layout.trials["a", 0])
    log = []

    class Struck(Forked):
        def wait(self, seconds):
            if (folder / "progress").exists():
                raise KeyboardInterrupt
            return super().wait(0.01)

    with pytest.raises(KeyboardInterrupt):
        run(plan, lambda: Struck(1), log=log.append)
    assert log[-1] == "stopping: 1 running units save first"
    assert trial.state(folder) is State.INTERRUPTED
    assert "saved" in said(folder)


def test_two_runners_share_the_work(tmp_path):
    starts = tmp_path / "starts"
    plan = planned(study(*arms(f"--sleep 0.2 --count {starts}"), seeds=1), tmp_path / "out")
    runners = [start(lambda: run(plan, lambda: Forked(2))) for _ in range(2)]
    assert [os.waitpid(runner, 0)[1] for runner in runners] == [0, 0]
    assert set(plan.states().values()) == {State.DONE}
    lines = starts.read_text().splitlines()
    assert len(lines) == len(set(lines)) == len(plan.layout.trials), "no trial ran twice"


def test_the_report_is_written_again_when_it_is_older_than_a_result(tmp_path):
    plan = planned(study(Arm("real"), seeds=1), tmp_path / "out")
    page = go(plan)[0].page
    os.utime(page, (0, 0))
    outcome, log, submitted = go(plan)
    assert (submitted, log[0]) == ([], "2 of 2 units are done; 1 trials")
    assert outcome.table
    assert page.stat().st_mtime > 0


# The audit


def test_checks_come_before_what_they_protect(tmp_path, monkeypatch):
    plan = planned(study(*arms(), seeds=1), tmp_path / "out")
    executor, order = Forked(1), []

    def note(what):
        return lambda *given: order.append((what, list(executor.submitted), given)) or [Check(what, True, "fine")]

    for name in ("audit_plan", "audit_data", "audit_set", "audit_results"):
        monkeypatch.setattr(study_audit, name, note(name))
    run(plan, lambda: executor)
    whats = [what for what, _, _ in order]
    assert whats == ["audit_plan", "audit_data", "audit_set", "audit_set", "audit_set", "audit_results"]
    (data,) = (name for name in plan.units if name.startswith("make-data"))
    assert [submitted for _, submitted, _ in order[:2]] == [[], [data]], "before any other unit"
    looked = {str(given[0].relative_to(plan.units_folder)): submitted
              for what, submitted, given in order if what == "audit_set"}  # fmt: skip
    for arm in ("mixed", "filtered", "subset"):
        (path,) = plan.layout.sets[arm]
        assert plan.layout.trials[arm, 0] not in looked[path]
    assert order[-1][2][0].keys() == plan.layout.trials.keys()
    found = files.read_json(plan.out / "audit.json")
    assert (found["schema"], found["passed"]) == (1, True)
    assert [check["name"] for check in found["checks"]] == ["plan: changes", *whats]
    assert order[-1][2][1] == [("mixed", "real"), ("filtered", "real"), ("subset", "real")]
    assert found["checks"][0] == {
        "name": "plan: changes",
        "passed": True,
        "detail": "none after the study's first trial",
    }


@pytest.mark.parametrize("failing", ["audit_plan", "audit_data", "audit_set", "audit_results"])
def test_a_failed_check_stops_the_study(tmp_path, monkeypatch, failing):
    slow = Arm("slow", "--sleep 20 --obeys")
    plan = planned(study(*arms(), *([slow] if failing == "audit_set" else []), seeds=1), tmp_path / "out")
    monkeypatch.setattr(study_audit, failing, lambda *_: [Check("a", True, "fine"), Check("leak", False, "0007 leaks")])
    outcome, _, submitted = go(plan, 5)
    assert outcome.complaints == ("audit: leak: 0007 leaks; the study is stopped",)
    assert outcome.page is None
    assert not (plan.out / "report.html").exists()
    found = files.read_json(plan.out / "audit.json")
    assert found["passed"] is False
    assert found["checks"][-1] == {"name": "leak", "passed": False, "detail": "0007 leaks"}
    begun = {name.rpartition("-")[0] for name in submitted}
    assert (
        begun
        == {
            "audit_plan": set(),
            "audit_data": {"make-data"},
            "audit_set": {"make-data", "train-reid", "train-generator", "synthesize"},
            "audit_results": {"make-data", "train-reid", "train-generator", "synthesize", "filter"},
        }[failing]
    )
    if failing == "audit_set":
        assert plan.layout.trials["mixed", 0] not in submitted
        assert trial.state(plan.folder(plan.layout.trials["slow", 0])) is State.INTERRUPTED, "it was asked to stop"


# Beside it


def test_the_table_of_a_dry_run(tmp_path):
    plan = planned(study(Arm("real"), Arm("mixed", "--ratio 1", (SET,)), seeds=1), tmp_path / "out")
    lines = table(plan, 2).splitlines()
    assert not (tmp_path / "out").exists()
    assert lines[0].split() == ["state", "expected", "unit", "what", "command"]
    rows = {line.split()[0]: line for line in lines[1:-2]}
    assert set(rows) == {"new"}
    assert lines[-1].startswith("2 trials; 0 of 5 units are done; ")
    for name, unit in plan.units.items():
        (row,) = (line for line in lines if f" {name} " in line)
        assert row.endswith(" ".join(unit.argv)) or "'" in row


def test_the_table_knows_states_and_measured_times(tmp_path):
    plan = planned(study(Arm("real"), Arm("bad", "--code 3"), Arm("later", "--code 75"), seeds=1), tmp_path / "out")
    go(plan)
    done = plan.folder(plan.layout.trials["real", 0]) / trial.RESULT
    done.write_text(json.dumps(files.read_json(done) | {"seconds": 600}))
    lines = table(plan, 1).splitlines()
    states = {plan.units[name].label: line.split()[:3] for name in plan.units for line in lines if f" {name} " in line}
    assert states["real, seed 0"] == ["done", "10", "min"]
    assert states["bad, seed 0"] == ["failed", "10", "min"]
    assert states["later, seed 0"] == ["interrupted", "10", "min"]
    assert lines[-1] == "3 trials; 2 of 4 units are done; about 20 min left on 1 job"


def test_time_left_is_said(tmp_path):
    shown = []
    plan = planned(study(Arm("real", "--sleep 0.1"), seeds=2), tmp_path / "out")
    run(plan, lambda: Forked(1), progress=lambda done, total, left: shown.append((done, total, left)))
    assert shown[-1][:2] == (3, 3)
    assert all(left.endswith(("left", "unknown")) for _, _, left in shown)


def test_processes_of_this_machine_run_it_as_well(tmp_path):
    """The executor that users get, with the real command; its units start no torch."""
    options = "--identities 2 --test-identities 1 --cameras 2 --per-camera 1 --size 32x32"
    whole = planned(study(Arm("real", "--epochs nonsense"), data=options, seeds=1), tmp_path / "out")
    outcome = run(whole, lambda: LocalExecutor(2))
    assert outcome.page is None
    (complaint,) = outcome.complaints
    assert "exit code 2: Error: --epochs: 'nonsense' is not a valid integer" in complaint
    assert (whole.data / "query").is_dir()
