"""One study of real commands, three executors, a node killed on the way: the same tables."""

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray")
pytest.importorskip("submitit")

from augment import trial

STUDY = """
from augment.study import Arm, Contrast, Study

ARMS = (Arm("real"), Arm("erasing", "--erase 0.5"))
DATA = "--identities 4 --test-identities 3 --cameras 2 --per-camera 2 --size 64x32"
TINY = Study("Tiny", "Does it run?", ARMS, (Contrast("erasing", "real"),), reid="--epochs 1", data=DATA, seeds=2)
STUDIES = {"tiny": TINY}
"""
TWO_NODES = """
import subprocess, sys
from pathlib import Path
from ray.cluster_utils import Cluster
from augment import trial
from tests.standing_in import until
out = Path(sys.argv[1])
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
cluster.wait_for_nodes()
words = ["study.py", "--device", "cpu", "--out", str(out), "--executor", "ray"]
words += ["--executor-option", f"address={cluster.address}"]
study = subprocess.Popen([sys.executable, "-m", "augment", "ablate", *words])
def trials():
    return [folder for folder in out.glob("units/train-reid-*") if trial.attempts(folder)]
until(lambda: len(trials()) == 2, 600)
cluster.remove_node(nodes[0], allow_graceful=False)
code = study.wait()
cluster.shutdown()
sys.exit(code)
"""


def call(folder: Path, *words: str) -> str:
    ray = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
    environment = {**os.environ, **trial.importable(), **ray, "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    ended = subprocess.run(
        [sys.executable, *words], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def tables(out: Path) -> dict[str, bytes]:
    """Those that tell of results, not of the time that they took."""
    return {path.name: path.read_bytes() for path in out.glob("tables/*") if not path.name.startswith("trials")}


@pytest.mark.slow
def test_the_same_study_to_the_same_tables(tmp_path):
    (tmp_path / "study.py").write_text(STUDY)
    ablate = ["-m", "augment", "ablate", "study.py", "--device", "cpu", "--jobs", "2"]
    call(tmp_path, *ablate, "--out", "local")
    call(tmp_path, *ablate, "--out", "slurm", "--executor", "slurm", "--executor-option", "cluster=local")
    told = call(tmp_path, "-c", TWO_NODES, "ray")
    assert told.splitlines()[-1] == "ray/report.html"
    expected = tables(tmp_path / "local")
    assert {"arms.csv", "contrasts.csv", "contrasts.md", "contrasts.tex"} <= expected.keys()
    assert tables(tmp_path / "slurm") == expected
    assert tables(tmp_path / "ray") == expected
    attempts = [trial.attempts(folder) for folder in (tmp_path / "ray" / "units").glob("train-reid-*")]
    assert sorted(len(tried) for tried in attempts) == [1, 1, 1, 2], "one was on the node that was killed"
