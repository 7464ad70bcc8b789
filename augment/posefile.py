"""Target poses from a CSV in PATN's format, beside those of the data: the policy `file`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from augment import audit, files
from augment.data import keypoints
from augment.data.keypoints import TORSO, Points
from augment.data.records import DataSet
from augment.policies import POLICIES


@dataclass(frozen=True)
class PoseFile:
    """The usable poses of a file by name, in the order of the names; `sha256` is that of the file."""

    path: Path
    points: dict[str, Points]
    sha256: str


def require_policy_or_file(poses: str) -> str:
    """What --poses may be, returned as it is.

    Raises:
        ValueError: it is neither.
    """
    if poses not in POLICIES and not Path(poses).is_file():
        raise ValueError(
            f"--poses {poses}: neither a policy ({', '.join(POLICIES)}) nor a file; give one of these, or a CSV of key "
            "points in PATN's format"
        )
    return poses


def read_poses(
    path: Path, dataset: DataSet, points: Mapping[str, Points], size: tuple[int, int], test_identities: bool = False
) -> PoseFile:
    """The poses of `path` with both shoulders and both hips, for images of `size` (h, w).

    A name may be that of an image of the data set, whose key points `points` must then be the same to the pixel; any
    other name is a pose of nobody. Poses are taken as they are, in pixels, neither scaled nor moved: a joint outside
    of the image is drawn as far as its map reaches into it.

    Raises:
        ValueError: a broken file, no usable pose, a pose whose torso is nowhere inside of the image, key points that
            contradict the data's, or the name of a query or gallery image (unless `test_identities`).
    """
    given = keypoints.read_annotation(Path(require_policy_or_file(str(path))))
    poses = {name: given[name] for name in sorted(given) if keypoints.has_torso(given[name])}
    if not poses:
        raise ValueError(
            f"--poses {path}: none of {len(given)} poses has both shoulders and both hips; give a file that has some"
        )
    if not test_identities:
        audit.require_no_test_images(poses, dataset, f"--poses {path}")
    for name, pose in poses.items():
        _require_inside(f"--poses {path}: {name}", pose, size)
    known = {record.name for record in (*dataset.train, *dataset.query, *dataset.gallery)} & points.keys()
    other = [name for name in poses if name in known and not _same(name, poses[name], points[name])]
    if other:
        raise ValueError(
            f"--poses {path}: {other[0]} is an image of the data set with other key points there ({len(other)} of "
            f"{len(poses)} poses are); rename these poses, or give one file as --poses and --annotation"
        )
    return PoseFile(path, poses, files.sha256(path))


def _require_inside(what: str, pose: Points, size: tuple[int, int]) -> None:
    torso = pose[list(TORSO)]
    if not ((torso >= 0) & (torso < np.asarray(size))).all(axis=1).any():
        raise ValueError(
            f"{what} lies outside of the {size[0]}x{size[1]} images with its whole torso (row and column "
            f"{torso.mean(axis=0).round().astype(int).tolist()}); scale key points to these images' pixels"
        )


def _same(name: str, one: Points, other: Points) -> bool:
    """To the pixel, which is what the format holds."""
    return keypoints.annotation_line(name, one) == keypoints.annotation_line(name, other)
