"""A run folder: what was asked for, with which versions, what came of it. It refuses to mix configurations.

RUN/config.json     stage, the resolved configuration, tool and library versions, when it was begun
RUN/results.json    appears last: the stage is finished
RUN/...             the stage's own files
"""

import platform
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from augment import files
from augment.version import __version__

# What each stage leaves in its folder, beside the two files above; only this is removed with --force.
ARTEFACTS: dict[str, tuple[str, ...]] = {
    "train-generator": (
        "generator.safetensors", "best.safetensors", "checkpoint.safetensors", "losses.csv", "validation.csv",
        "samples-*.png", "held-out.png", "tensorboard",
    ),
    "import-checkpoint": ("generator.safetensors",),
    "train-reid": ("checkpoint.safetensors", "epochs.csv", "tensorboard"),
    "score-reid": ("fold-*.safetensors", "epochs-*.csv"),
    "demo": ("data", "generator", "reid", "synthetic.h5", "synthetic.shards", "synthetic.png", "report.html"),
}  # fmt: skip

# What of it a run begins before it makes anything that it could go on from.
CURVES = "tensorboard"

LIBRARIES = ("torch", "torchvision", "torchreid", "numpy", "h5py", "pillow", "opencv-python-headless")
OF_METRICS = (*LIBRARIES, "scipy", "numba", "lpips", "torch-fidelity", "onnxruntime")  # what measures images


@dataclass(frozen=True)
class Run:
    """One run's folder; the stage writes its own files beside `config.json`."""

    folder: Path
    stage: str

    @property
    def results_path(self) -> Path:
        return self.folder / "results.json"

    @property
    def finished(self) -> bool:
        return self.results_path.exists()

    @property
    def results(self) -> dict[str, Any]:
        return files.read_json(self.results_path)

    def finish(self, results: dict[str, Any]) -> Path:
        """Publish the results; from now on the run is finished."""
        return files.write_json(self.results_path, results)


def open_run(folder: Path, stage: str, config: dict[str, Any], *, force: bool = False) -> Run:
    """Begin a run in `folder`, or go on with the one that is there.

    `config` is what determines the result (JSON values only): data digest, weights, options; not the device or the
    number of workers. With `force` whatever this stage left in the folder is removed first; other files stay.

    Raises:
        ValueError: the folder holds a run of another stage or configuration, or something that is no run.
    """
    saved_path = folder / "config.json"
    if saved_path.exists():
        saved = files.read_json(saved_path)
        _refuse_other_stage(folder, saved, stage)
        if force:
            _remove_artefacts(folder, stage)
        elif _occupied(folder, besides={saved_path.name} | {CURVES} & set(ARTEFACTS.get(stage, ()))):
            _refuse_other_config(folder, saved, config)
        else:  # it failed before it made anything
            _remove_artefacts(folder, stage)
    elif _occupied(folder):
        raise ValueError(f"{folder}: holds files but no config.json, so it is no run folder; choose another --out")
    if not saved_path.exists():
        header = {"stage": stage, "config": config, "created": datetime.now(UTC).isoformat(timespec="seconds")}
        files.write_json(saved_path, header | {"versions": versions()})
    files.remove_parts(folder)
    return Run(folder, stage)


def versions(libraries: Sequence[str] = LIBRARIES) -> dict[str, str]:
    """Tool, Python and library versions, as every artefact records them."""
    found = {"reid-augment": __version__, "python": platform.python_version()}
    for name in libraries:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def _occupied(folder: Path, besides: Collection[str] = ()) -> bool:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file; choose a folder for --out")
    return folder.exists() and any(
        entry.name not in besides and not entry.name.endswith(".part") for entry in folder.iterdir()
    )


def _remove_artefacts(folder: Path, stage: str) -> None:
    """The configuration goes last, so that a kill in between leaves a folder that is still recognised."""
    for pattern in ("results.json", *ARTEFACTS.get(stage, ()), "config.json"):
        for path in sorted(folder.glob(pattern)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _refuse_other_stage(folder: Path, saved: Any, stage: str) -> None:
    if not isinstance(saved, dict) or not isinstance(saved.get("config"), dict) or "stage" not in saved:
        raise ValueError(f"{folder}: holds a config.json of something else; choose another --out")
    if saved["stage"] != stage:
        raise ValueError(f"{folder}: is a {saved['stage']} run, not {stage}; choose another --out")


def _refuse_other_config(folder: Path, saved: dict[str, Any], config: dict[str, Any]) -> None:
    old = saved["config"]
    differing = [key for key in sorted(old.keys() | config.keys()) if old.get(key) != config.get(key)]
    if differing:
        changes = ", ".join(f"{key} ({old.get(key)!r} there, {config.get(key)!r} asked)" for key in differing)
        raise ValueError(f"{folder}: made with another configuration: {changes}; choose another --out or --force")
