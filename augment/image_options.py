"""Options of `evaluate-generator` without effect, and outputs that could not be written: refused."""

from collections.abc import Sequence
from pathlib import Path

from augment.image_metrics import ALEXNET, ESTIMATOR, INCEPTION, METRICS, REID, TORCHVISION, networks_of
from augment.image_networks import Asked
from augment.sheet_path import require_sheet, require_suffix

SUFFIXES = {"--out": ".json", "--sheet": ".png"}


def require_writable(out: Path | None, sheet: Path | None, folders: Sequence[Path]) -> None:
    """Refuse what only the end of the work would fail at; a sheet among the images (`folders`) would be one of them.

    Raises:
        ValueError: another suffix, no such folder, a folder of the images, or a file that is no sheet.
    """
    given = {option: path for option, path in (("--out", out), ("--sheet", sheet)) if path is not None}
    for option, path in given.items():
        require_suffix(option, path, SUFFIXES[option])
        if not path.parent.is_dir():
            raise ValueError(f"{option} {path}: there is no folder {path.parent}; make it first")
    if sheet is not None:
        require_sheet(sheet, folders)


def require_used(asked: Asked, wanted: Sequence[str]) -> None:
    """Refuse networks that none of the metrics needs.

    Raises:
        ValueError: one was given.
    """
    if asked.reid is None:
        for option, given in (("--reid-model", asked.reid_model), ("--reid-size", asked.reid_size)):
            if given is not None:
                raise ValueError(f"{option}: says what the file of --reid is, which is not given; give it too")
    options = {
        "--pose-weights": (ESTIMATOR, asked.pose_weights is not None),
        "--estimator": (ESTIMATOR, asked.estimator != Asked.estimator),
        "--reid": (REID, asked.reid is not None),
        **{f"--weights {name}": (name, name in asked.weights) for name in (ALEXNET, INCEPTION, TORCHVISION)},
    }
    for option, (network, given) in options.items():
        if given and network not in networks_of(wanted):
            users = " or ".join(name for name, metric in METRICS.items() if metric.network == network)
            raise ValueError(
                f"{option}: no metric asked for needs it ({', '.join(wanted)}); leave it out, or ask for {users} with "
                "--metrics"
            )


def require_of_generator(images: Path, given: dict[str, bool]) -> None:
    """Refuse options, by name whether each was given, that only a generator takes.

    Raises:
        ValueError: one was given beside images that are made already.
    """
    for option in (name for name, used in given.items() if used):
        raise ValueError(f"{option}: only a generator takes it, and --images {images} is made already; leave it out")
