"""A unit is one process, whatever started the study."""

import subprocess
import sys

from augment import launch, trial
from augment.launch import Rank

ASKED = "from augment.launch import rank; print(rank())"


def test_a_unit_started_under_srun_or_torchrun_is_alone(monkeypatch):
    """Inside `srun -n 4` or torchrun every unit would take itself for one of four, and wait for the others."""
    variables = {
        "RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "node", "MASTER_PORT": "1",
        "SLURM_PROCID": "3", "SLURM_LOCALID": "3", "SLURM_STEP_NUM_TASKS": "4",
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launch.rank() == Rank(1, 4)
    environment = trial.importable({"OMP_NUM_THREADS": "1"})
    assert not variables.keys() & environment.keys()
    told = subprocess.run([sys.executable, "-c", ASKED], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == str(Rank(0, 1))
