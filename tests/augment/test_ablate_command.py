"""`augment ablate` as a user calls it, on a study of real commands at their smallest."""

import os
import shutil
import signal
import sys

import pytest
import torch
from safetensors.torch import load_file

from augment import cli, files, trial
from augment.executors import LIBRARIES
from augment.executors.local import LocalExecutor
from augment.trial import State
from tests.killing import start
from tests.standing_in import until

STUDY = """
from augment.study import DATA, Arm, Contrast, Step, Study

SET = Step("synthesize", "--per-image 1 --generator copy", (DATA,))
STUDIES = {
    "tiny": Study(
        "Does a copy help?", "It should not.",
        (Arm("few", "--ratio 0.25", (SET,)), Arm("many", "--ratio 0.5", (SET,))),
        (Contrast("many", "few"),),
        reid="--model osnet_x0_25 --size 32x16 --epochs 2 --batch 8",
        data="--identities 4 --test-identities 3 --cameras 2 --per-camera 2 --size 64x32",
        seeds=1,
        seconds={"train-reid": 1800, "synthesize": 90, "make-data": 9},
    ),
    "given": Study(
        "Of given data", "?", (Arm("real"), Arm("erasing", "--erase 0.5")), (Contrast("erasing", "real"),), seeds=3
    ),
}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    path = tmp_path_factory.mktemp("experiments") / "tiny.py"
    path.write_text(STUDY)
    return path


def trials(out):
    return sorted((out / "units").glob("train-reid-*"))


@pytest.fixture(scope="module")
def continued(study, tmp_path_factory):
    """The study's folder after kill -9 of the runner, of one trial whole, and of another one's runner alone."""
    out = tmp_path_factory.mktemp("ablation") / "out"
    words = ["augment", "ablate", str(study), "--out", str(out), "--device", "cpu", "--jobs", "2"]

    def command():
        truth = LocalExecutor.submit

        def submit(self, folder):
            truth(self, folder)
            (folder / "pid").write_text(next(str(p.pid) for f, p in self._running.values() if f == folder))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LocalExecutor, "submit", submit)
            patch.setattr(sys, "argv", words)
            patch.setattr(sys, "exit", os._exit)
            cli.main()

    runner = start(command)
    until(lambda: len(trials(out)) == 2 and all(trial.state(f) is State.RUNNING for f in trials(out)), 100)
    whole, lone = (int((folder / "pid").read_text()) for folder in trials(out))
    os.kill(runner, signal.SIGKILL)
    os.waitpid(runner, 0)
    os.killpg(whole, signal.SIGKILL)
    os.kill(lone, signal.SIGKILL)
    until(lambda: trial.state(trials(out)[0]) is not State.RUNNING)
    assert not (out / "report.html").exists()
    again = start(command)
    return out, os.waitstatus_to_exitcode(os.waitpid(again, 0)[1])


def test_a_killed_study_goes_on_to_its_report(augment, continued, study):
    out, code = continued
    assert code == 0
    assert "Does a copy help?" in (out / "report.html").read_text()
    assert (out / "tables" / "contrasts.csv").exists()
    assert files.read_json(out / "audit.json")["passed"] is True
    for folder in trials(out):
        assert files.read_json(folder / "result.json")["attempts"] == 2
        assert files.read_json(folder / "run" / "results.json")["mAP"] > 0
    again = augment("ablate", study, "--out", out, "--device", "cpu")
    assert (again.code, again.out, again.err) == (0, f"{out / 'report.html'}\n", "already done\n")


@pytest.mark.slow
def test_a_killed_study_equals_an_uninterrupted_one(augment, continued, study, tmp_path):
    whole = augment("ablate", study, "--out", tmp_path / "whole", "--device", "cpu")
    assert whole.code == 0
    assert whole.out.splitlines()[0] == "Comparisons"
    assert whole.out.splitlines()[-1] == str(tmp_path / "whole" / "report.html")
    for one, other in zip(trials(continued[0]), trials(tmp_path / "whole"), strict=True):
        assert one.name == other.name
        assert timeless(one) == timeless(other)
        first, second = (load_file(folder / "run" / "checkpoint.safetensors") for folder in (one, other))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)


def timeless(folder):
    """Results without the seconds, and without the digest of a file whose header counts them."""
    found = files.read_json(folder / "run" / "results.json")
    return found | {"seconds": None, "provenance": found["provenance"] | {"checkpoint_sha256": None}}


def test_a_dry_run_prints_every_unit_and_writes_nothing(augment, study, tmp_path):
    shown = augment("ablate", study, "--out", tmp_path / "out", "--dry-run", "--jobs", "2", "--seeds", "3")
    assert (shown.code, shown.err) == (0, "")
    assert not (tmp_path / "out").exists()
    lines = shown.out.splitlines()
    assert len(lines) == 1 + (1 + 1 + 2 * 3) + 2
    assert sum(line.split()[:3] == ["new", "30", "min"] for line in lines) == 2 * 3
    # 9 s + 90 s + 6 trials of 1800 s by 2 jobs: 5449.5 s
    assert lines[-1] == "6 trials; 0 of 8 units are done; about 1.5 h left on 2 jobs"


@pytest.mark.parametrize(
    ("words", "visible", "said"),
    [
        # 99 s for data and set, then one trial of 1800 s after another, or all at once
        ([], "", "about 3.0 h left on 1 job"),
        (["--device", "cpu"], "0,1,2", "about 3.0 h left on 1 job"),
        ([], "0,1,2", "about 61 min left on 3 jobs"),  # (99 + 6 x 1800) / 3
        (["--jobs", "3"], "", "about 61 min left on 3 jobs"),
        (["--executor", "slurm"], "", "about 32 min left on 100 jobs"),
        (["--executor", "slurm", "--jobs", "1"], "", "about 3.0 h left on 1 job"),
        (
            ["--executor", "ray"], "0,1",
            "about 3.0 h left if one unit runs at a time; without --jobs as many do as the cluster has room for",
        ),
        (["--executor", "ray", "--jobs", "3"], "", "about 61 min left on 3 jobs"),
    ],
)  # fmt: skip
def test_the_time_that_is_expected_is_that_of_the_executors_own_jobs(
    augment, study, tmp_path, monkeypatch, words, visible, said
):
    if "--executor" in words:
        pytest.importorskip(LIBRARIES[words[1]])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    shown = augment("ablate", study, "--out", tmp_path / "out", "--dry-run", "--seeds", "3", *words)
    assert (shown.code, shown.out.splitlines()[-1]) == (0, f"6 trials; 0 of 8 units are done; {said}")
    assert not (tmp_path / "out").exists()


def test_a_dry_run_checks_the_options_of_the_executor(augment, study, tmp_path):
    words = ["--executor-option", "gpus=1"]
    shown = augment("ablate", study, "--out", tmp_path / "out", "--dry-run", *words)
    assert (shown.code, shown.out) == (2, "")
    assert "--executor-option gpus=1: no option of --executor local; there are none" in shown.err


def test_a_dry_run_says_what_the_audit_would_stop_at(augment, tmp_path, pedestrians):
    """The plan, and data that are there; the data of the second one have a test image among the training images."""
    path = tmp_path / "wrong.py"
    path.write_text(STUDY.replace('"--ratio 0.25"', '"--ratio 0.5"').replace('"--erase 0.5"', '"--test elsewhere"'))
    shown = augment("ablate", path, "--out", tmp_path / "out", "--dry-run")
    assert (shown.code, shown.out.splitlines()[-1].split(";")[0]) == (1, "2 trials")
    assert shown.err == (
        "audit: plan: seeds: 'many' against 'few': both are the same trials; give the arms different options; a run "
        "would stop here\n"
    )
    root = shutil.copytree(pedestrians, tmp_path / "data")
    query, train = (sorted((root / name).glob("*.jpg"))[0] for name in ("query", "bounding_box_train"))
    shutil.copy(query, root / "bounding_box_train" / f"{train.name[:4]}_c1s1_009999_00.jpg")
    words = ["ablate", path, "--out", tmp_path / "out", "--dry-run", "--scale", "given", "--data", root]
    shown = augment(*words)
    assert shown.code == 1
    plan, copies = shown.err.splitlines()
    assert plan.startswith("audit: plan: test data: arm 'erasing' is evaluated on elsewhere, but arm 'real' on ")
    assert copies.startswith("audit: data ")
    assert "1 training images are in query or gallery under other names" in copies
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--ratio 0.5", "--ratioz 0.5"), "step train-reid many, seed 0: No such option '--ratioz'"),
        (("--ratio 0.5", "--ratio much"), "step train-reid many, seed 0: Invalid value for '--ratio': 'much' is not"),
        (("--ratio 0.5", "--ratio 0.5 x"), "step train-reid many, seed 0: Got unexpected extra argument"),
        (("--per-image 1", "--per-image"), "step synthesize --per-image --generator copy: "),
    ],
)
@pytest.mark.parametrize("dry", [["--dry-run"], []])
def test_wrong_options_are_found_before_anything_is_made(augment, tmp_path, wrong, said, dry):
    path = tmp_path / "wrong.py"
    path.write_text(STUDY.replace(*wrong))
    outcome = augment("ablate", path, "--out", tmp_path / "out", *dry)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert said in outcome.err
    assert outcome.err.endswith("; correct the study\n")
    assert not (tmp_path / "out").exists()


def test_a_dry_run_on_given_data(augment, study, pedestrians, tmp_path):
    words = ["ablate", study, "--out", tmp_path / "out", "--dry-run", "--scale", "given"]
    shown = augment(*words, "--data", pedestrians)
    assert shown.code == 0
    assert f"augment train-reid {pedestrians} --out train-reid-" in shown.out
    missing = augment(*words)
    assert (missing.code, missing.out) == (2, "")
    assert missing.err == "Error: --data: Of given data brings no data of its own at this scale; give a data set\n"


def test_options_may_come_from_a_file(augment, study, tmp_path):
    config = tmp_path / "ablate.toml"
    config.write_text(f'out = "{tmp_path / "out"}"\nseeds = 2\njobs = 4\n')
    shown = augment("ablate", study, "--config", config, "--dry-run")
    assert (shown.code, shown.out.splitlines()[-1].split(";")[0]) == (0, "4 trials")
    assert shown.out.endswith("on 4 jobs\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no_such_study"], "STUDY no_such_study: no such study; "),
        (["{study}", "--scale", "huge"], "--scale huge: "),
        (["{study}", "--seeds", "0"], "--seeds: 0 is not in the range"),
        (["{study}", "--executor", "cloud"], "--executor: 'cloud' is not one of"),
        (["{study}", "--executor-option", "gpus"], "--executor-option: 'gpus' is not of the form KEY=VALUE"),
        (["{study}", "--executor-option", "gpus=1"], "--executor-option gpus=1: no option of --executor local"),
        (["{study}", "--device", "cuda:1"], "--device cuda:1: every unit is given its GPU; say CUDA_VISIBLE_DEVICES=1"),
        (["{study}", "--data", "nowhere"], "--data: "),
        (["{broken}"], "broken.py: NameError: name 'Study' is not defined; correct the study"),
    ],
)
def test_mistakes_are_one_line(augment, study, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("STUDIES = {'a': Study()}\n")
    given = [word.format(study=study, broken=tmp_path / "broken.py") for word in words]
    outcome = augment("ablate", *given, "--out", tmp_path / "out")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("Error: ")
    assert outcome.err.count("\n") == 1
    assert said in outcome.err


def test_another_study_is_not_mixed_in(augment, continued, study, tmp_path):
    other = shutil.copy(study, tmp_path / "other.py")
    outcome = augment("ablate", other, "--out", continued[0], "--dry-run")
    assert outcome.code == 2
    assert "holds another study: study (tiny there, other asked); choose another --out" in outcome.err


def test_a_failing_unit_makes_the_exit_code_1(augment, study, tmp_path, monkeypatch):
    """The message names its log; what needs it is listed."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text(STUDY.replace("--identities 4", "--identities 20000"))
    outcome = augment("ablate", wrong, "--out", tmp_path / "out", "--device", "cpu")
    assert (outcome.code, outcome.out) == (1, "")
    lines = outcome.err.splitlines()
    assert lines[0] == "0 of 4 units are done; 2 trials"
    failed = [line for line in lines if line.startswith("failed: make-data --identities 20000")]
    assert "exit code 2: Error: identities 20000: expected a whole number from 1 to 4999" in failed[-1]
    assert failed[-1].endswith("log.txt)")
    assert sum(line.startswith("not run: ") and line.endswith(", which failed") for line in lines) == 3
    assert "--retry-failed" in lines[-1]
