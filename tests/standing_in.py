"""Studies whose commands take no time: a stand-in for `augment` that behaves as its options say, and forks to run it.

The words after a unit's usual ones are read by the stand-in: --sleep S, --awaits FILE, --code N (its exit code),
--unless FILE (then --code counts only while FILE is absent), --count FILE (a line for each start), --obeys (SIGTERM
ends it with 75, or --leaves-with N, and a note of how far it came, from which it goes on), --signal N (it kills itself
so, once), --leaves nothing.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from augment import files, study_audit, study_report, trial
from augment.report_tables import Column, Table, text
from augment.study import COMMANDS, Arm, Contrast, Study, Unit, lay_out
from augment.study_audit import Check
from augment.study_folder import Plan
from augment.trial import State
from tests.killing import start

STAND_IN = r"""
import hashlib, json, os, signal, sys, time
from pathlib import Path

words = sys.argv[1:]
values = {}
for place, word in enumerate(words):
    if word.startswith("--") and place + 1 < len(words):
        values.setdefault(word, words[place + 1])
command = words[0]
PROOFS = json.loads(os.environ["STAND_IN_PROOFS"])
out = words[1] if command == "make-data" else values.get("--out") or values.get("--reid")
folder = Path(out).parent
told = []
if "--obeys" in words:
    signal.signal(signal.SIGTERM, lambda *_: told.append(1))
print("working on", out, flush=True)
(folder / "pids").write_text(f"{os.getpid()} {os.getppid()}")
if "--count" in values:
    with open(values["--count"], "a") as file:
        file.write(" ".join(words) + "\n")
far = folder / "progress"
steps, reached = 10, int(far.read_text() or 0) if far.exists() else 0
for step in range(reached, steps):
    time.sleep(float(values.get("--sleep", 0)) / steps)
    far.write_text(str(step + 1))
    if told:
        print("saved", flush=True)
        sys.exit(int(values.get("--leaves-with", 75)))
while "--awaits" in values and not Path(values["--awaits"]).exists():
    time.sleep(0.02)
once = folder / "signalled"
if "--signal" in values and not once.exists():
    once.touch()
    os.kill(os.getpid(), int(values["--signal"]))
if "--code" in values and not ("--unless" in values and Path(values["--unless"]).exists()):
    print("going wrong\rbadly", file=sys.stderr)
    sys.exit(int(values["--code"]))
if values.get("--leaves") != "nothing":
    behaviour = {"--awaits", "--leaves-with", "--sleep", "--count", "--unless", "--obeys", "--signal", "--code"}
    kept = [w for p, w in enumerate(words) if w not in behaviour and (not p or words[p - 1] not in behaviour)]
    read = {w: Path(w).read_bytes().hex() for w in kept if Path(w).is_file()}
    text = json.dumps({"mAP": int(hashlib.sha256(repr((kept, read)).encode()).hexdigest()[:4], 16) / 2**17})
    proof = folder / PROOFS[command]
    proof.parent.mkdir(exist_ok=True)
    for path in [proof, folder / "kept.control.h5"] if command == "filter" else [proof]:
        if path.suffix:
            part = path.with_suffix(".part")
            part.write_text(text)
            part.replace(path)
        else:
            path.mkdir(exist_ok=True)
"""


def stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let units that this process and its forks run call the stand-in."""
    script = folder / "stand_in.py"
    script.write_text(STAND_IN)
    monkeypatch.setattr(trial, "AUGMENT", (sys.executable, "-I", "-S", str(script)))
    monkeypatch.setattr(trial, "PATIENCE", 0.02)
    monkeypatch.setenv("STAND_IN_PROOFS", json.dumps({name: command.proof for name, command in COMMANDS.items()}))


def without_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in makes no data that could be audited, and no results that could be reported."""
    for name in ("audit_plan", "audit_data", "audit_set", "audit_results"):
        monkeypatch.setattr(study_audit, name, lambda *given, name=name: [Check(name, True, "fine")])
    monkeypatch.setattr(study_report, "run", _report)


def _report(folder: Path) -> study_report.Written:
    files.write_atomic(folder / "report.html", b"a page")
    table = Table("comparisons", "Comparisons", (Column("arm", ("arm",)),), ((text("mixed"),),))
    return study_report.Written(folder / "report.html", "It adds 1.0 mAP.", (table,), passed=True)


def make_unit(folder: Path, options: str = "", command: str = "train-reid", name: str = "unit") -> Path:
    """The folder of a unit of the stand-in."""
    out = f"{name}/{COMMANDS[command].out}"
    place = [out] if command == "make-data" else ["data", "--out", out]
    unit = Unit(name, command, "a label", (command, *place, *options.split()), ())
    (folder / name).mkdir(parents=True)
    (folder / name / trial.UNIT).write_text(json.dumps({"schema": 1, **vars(unit)}))
    return folder / name


def study(*arms: Arm, data: str = "--identities 2", seeds: int = 2, reid: str = "") -> Study:
    """Every arm is compared to the first one."""
    contrasts = [Contrast(arm.name, arms[0].name) for arm in arms[1:]] or [Contrast(arms[0].name, arms[0].name)]
    return Study("A study", "Does it run?", arms, tuple(contrasts), data=data, seeds=seeds, reid=reid)


def planned(study: Study, out: Path, **options: Any) -> Plan:
    """A study that has no file."""
    return Plan("a_study", "tiny", lay_out(study, **options), out, (out / "units").absolute(), None)


def said(folder: Path) -> str:
    return (folder / trial.LOG).read_text()


def is_running(folder: Path) -> bool:
    """Its command has begun."""
    return trial.state(folder) is State.RUNNING and (folder / "progress").exists()


def until(holds: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


class Forked:
    """An executor whose units are forks of this process, with whatever a test has put into its place."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.running: dict[int, Path] = {}
        self.submitted: list[str] = []

    def submit(self, folder: Path) -> None:
        self.submitted.append(folder.name)
        self.running[start(lambda: trial.run(folder))] = folder

    def wait(self, seconds: float) -> list[Path]:
        end = time.monotonic() + seconds
        while True:
            over = [pid for pid in self.running if os.waitpid(pid, os.WNOHANG)[0]]
            if over or time.monotonic() >= end:
                return [self.running.pop(pid) for pid in over]
            time.sleep(0.01)

    def stop(self) -> None:
        for pid in self.running:
            os.kill(pid, signal.SIGTERM)
        for pid in self.running:
            os.waitpid(pid, 0)
        self.running.clear()

    def close(self) -> None:
        assert not self.running
