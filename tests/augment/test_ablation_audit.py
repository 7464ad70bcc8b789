"""What a study does with checks that fail late, and with a page of before; what the checks are given."""

import os
import signal

import pytest

from augment import auditing, files, study_audit, study_report
from augment.ablation import run
from augment.interruption import Preempted
from augment.study import DATA, Arm, Step
from augment.study_audit import Check
from augment.trial import State
from tests import standing_in
from tests.standing_in import Forked, planned, study

SET = Step("synthesize", "--per-image 2", (DATA,))


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch, tmp_path):
    standing_in.stand_in(monkeypatch, tmp_path)
    standing_in.without_audit(monkeypatch)


def go(plan):
    log = []
    outcome = run(plan, lambda: Forked(2), log=log.append)
    return outcome, log


def failing(what):
    return lambda *_: [Check(what, False, "it leaks")]


def test_a_check_that_fails_later_replaces_the_page_and_stays_failed(tmp_path, monkeypatch):
    plan = planned(study(Arm("real"), seeds=1), tmp_path / "out")
    page = go(plan)[0].page
    page.write_text("all is well")
    more = planned(study(Arm("real"), seeds=2), tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(study_audit, "audit_results", failing("audit_results"))
        outcome, log = go(more)
    assert (outcome.page, outcome.complaints) == (None, ("audit: audit_results: it leaks; the study is stopped",))
    assert page.read_text() == "a page"
    assert "seeds 1 -> 2" in log

    seen = []
    monkeypatch.setattr(
        study_audit, "audit_data", lambda *_: seen.append(files.read_json(plan.out / "audit.json")) or []
    )
    outcome, _ = go(more)
    assert (seen[0]["passed"], seen[0]["checks"][-1]["name"]) == (False, "audit_results"), "until it is made again"
    assert outcome.page
    found = files.read_json(plan.out / "audit.json")
    assert found["passed"] is True
    assert found["checks"][0]["detail"].startswith(
        "the study was changed after its first trial: seeds 1 -> 2, after results were there (20"
    )


def test_a_page_that_cannot_be_written_again_does_not_stay(tmp_path, monkeypatch):
    plan = planned(study(Arm("real"), seeds=1), tmp_path / "out")
    page = go(plan)[0].page
    os.utime(page, (0, 0))

    def broken(folder):
        raise ValueError("results.json: damaged")

    monkeypatch.setattr(study_audit, "audit_plan", failing("plan"))
    monkeypatch.setattr(study_report, "run", broken)
    with pytest.raises(ValueError, match="damaged"):
        go(plan)
    assert not page.exists()
    assert not auditing.passed(plan)


def test_sigterm_during_the_first_checks_is_heeded(tmp_path, monkeypatch):
    plan = planned(study(Arm("real"), seeds=1), tmp_path / "out")
    monkeypatch.setattr(study_audit, "audit_plan", lambda *_: os.kill(os.getpid(), signal.SIGTERM) or [])
    with pytest.raises(Preempted, match=r"stopped by SIGTERM; 0 of 2 units are done in .*; the same command continues"):
        go(plan)
    assert set(plan.states().values()) == {State.NEW}


def test_a_filter_names_the_judges_that_its_set_must_be_chosen_by(tmp_path, monkeypatch):
    scored = Step("filter", "--top 0.7", (SET, Step("score", "", (SET, DATA))))
    plan = planned(study(Arm("a", "", (scored,)), Arm("b", "", (SET,)), seeds=1), tmp_path / "out")
    given = {}
    monkeypatch.setattr(study_audit, "audit_set", lambda path, _, judges: given.update({path.name: judges}) or [])
    go(plan)
    (score,) = (unit for unit in plan.units.values() if unit.command == "score")
    assert given == {"kept.h5": plan.units_folder / score.out, "set.h5": None}
