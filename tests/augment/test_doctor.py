"""What the doctor finds, and what to do about what it does not find."""

import importlib.util

import pytest
import torch

from augment import backbones, doctor, pose_estimation, rtmpose

FILES = {
    "alexnet (lpips)": backbones.WEIGHTS["alexnet"],
    "inception 2015-12-05 (fid, kid)": backbones.WEIGHTS["inception-2015-12-05"],
    "inception_v3 (fid_gfla)": backbones.WEIGHTS["inception_v3 (torchvision)"],
    "rtmpose (poses)": rtmpose.WEIGHTS,
    "keypointrcnn (poses)": pose_estimation.WEIGHTS,
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Where torch keeps what it has downloaded: nothing."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


def test_missing_weights_are_named_with_their_place_and_found_there(cache):
    missing = doctor.examine()["weights"]
    for shown, names in FILES.items():
        assert missing[shown].startswith("weights missing, put ")
        assert any(name in missing[shown] for name in names)
        assert str(cache) in missing[shown]
    for names in FILES.values():
        (cache / names[-1]).write_bytes(b"x" * 1_500_000)
    found = doctor.examine()["weights"]
    for shown, names in FILES.items():
        assert found[shown] == f"{cache / names[-1]}, 1.5 MB"


def test_absent_extras_name_what_installs_them(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    extras = doctor.examine()["extras"]
    assert extras["onnxruntime"] == "absent: pip install 'reid-augment[pose]'"
    assert extras["lpips"] == extras["torch_fidelity"] == "absent: pip install 'reid-augment[metrics]'"


def test_what_torchreid_needs_is_named(monkeypatch):
    assert not [found for found in doctor.examine()["torchreid needs"].values() if "absent" in found]
    monkeypatch.setattr(doctor, "OF_TORCHREID", ("scipy", "no-such-package"))
    assert doctor.examine()["torchreid needs"]["no-such-package"] == "absent: pip install no-such-package"
