"""COCO's key points of persons (JSON: images, annotations) as OpenPose's 18 joints by image name.

Detectors write the annotations alone, a list whose images are those of another file.
An annotation holds 17 triples (x, y, visibility) in pixels from 0; of visibility 0 is what was not annotated.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import UnionType
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from augment import files
from augment.data.images import glance
from augment.data.keypoints import Points
from augment.data.survey import some
from augment.pose_estimation import openpose_of_coco

NAMES = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
RULE = "of several persons the one with the best score, or the largest one where none has a score"


def read_coco(path: Path, images: Sequence[Path], listing: Path | None = None) -> dict[str, Points]:
    """Key points of those of `images` that the file lists, by name; all are missing where it has no person.

    A detector's results, a bare list, are of the images that `listing` (an annotation file of COCO's) numbers.

    Of several persons in an image the one with the best `score` is taken, or the largest one where none has a score.

    Raises:
        ValueError: no such file; results without the file that numbers their images; none of the images is listed; one
            is listed twice, or annotated at another size; an entry is not as in COCO.
    """
    content = _content(path, listing)
    _require_order(path, content.get("categories") or [])
    where = listing or path
    listed = _listed(where, content["images"], {image.name for image in images})
    persons = _persons(path, content["annotations"])
    if listing is not None and persons and persons.keys().isdisjoint(entry["id"] for entry in content["images"]):
        raise ValueError(
            f"{path}: none of its images ({some(persons)}) is numbered in {listing}; give the file it is of"
        )
    points: dict[str, Points] = {}
    for image in images:
        if image.name in listed:
            entry = listed[image.name]
            _require_size(where, image, entry)
            points[image.name] = _main_person(path, image.name, persons.get(entry["id"], []))
    if not points:
        names = some((PurePosixPath(entry["file_name"]).name for entry in content["images"]), most=2) or "nothing"
        raise ValueError(f"{where}: lists none of the {len(images)} images ({images[0].name}, ...) but {names}")
    return points


def _content(path: Path, listing: Path | None) -> dict[str, Any]:
    """The lists of an annotation file, or those of a detector's results and the file that numbers their images."""
    content = files.read_json(path)
    if isinstance(content, list):
        if listing is None:
            raise ValueError(
                f"{path}: a detector's results, which do not name their images; give the annotation file that numbers "
                "them as --coco-images"
            )
        numbered = files.read_json(listing)
        if not isinstance(numbered, dict) or not isinstance(numbered.get("images"), list):
            raise ValueError(f"{listing}: expected COCO's list `images`; give an annotation file of COCO's")
        return {"images": numbered["images"], "annotations": content}
    if listing is not None:
        raise ValueError(f"{path}: lists its images itself; leave --coco-images out")
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in ("images", "annotations")):
        raise ValueError(f"{path}: expected COCO's lists `images` and `annotations`; give an annotation file of COCO's")
    return content


def _require_order(path: Path, categories: Any) -> None:
    """Where the file names its joints, they must be COCO's in COCO's order."""
    for category in categories if isinstance(categories, list) else [categories]:
        names = category.get("keypoints") if isinstance(category, dict) else [category]
        if names and (not isinstance(names, list) or tuple(names) != NAMES):
            said = some(names) if isinstance(names, list) else names
            raise ValueError(f"{path}: its joints are {str(said)[:160]}, expected COCO's 17 ({some(NAMES)})")


def _require_keys(path: Path, kind: str, entries: Sequence[Any], keys: Mapping[str, type | UnionType]) -> None:
    for place, entry in enumerate(entries):
        for key, wanted in keys.items():
            if not isinstance(entry, dict) or not isinstance(entry.get(key), wanted):
                said = f"`{key}` {entry.get(key)!r}"[:60] if isinstance(entry, dict) else str(entry)[:60]
                raise ValueError(f"{path}: entry {place} of `{kind}` is not as in COCO ({said}); correct or remove it")


def _listed(path: Path, entries: Sequence[Any], wanted: set[str]) -> dict[str, Mapping[str, Any]]:
    """The entries of wanted images by file name; folders before it do not count."""
    _require_keys(path, "images", entries, {"id": int | str, "file_name": str})
    found: dict[str, Mapping[str, Any]] = {}
    for entry in entries:
        name = PurePosixPath(entry["file_name"]).name
        if name in found:
            raise ValueError(f"{path}: lists {name} twice; key points go by file name: keep one of the entries")
        if name in wanted:
            found[name] = entry
    return found


def _persons(path: Path, annotations: Sequence[Any]) -> dict[Any, list[Mapping[str, Any]]]:
    """What has key points, by image; crowds have none of anybody."""
    _require_keys(path, "annotations", annotations, {"image_id": int | str})
    found: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    for annotation in annotations:
        if annotation.get("keypoints") and not annotation.get("iscrowd"):
            found[annotation["image_id"]].append(annotation)
    return found


def _require_size(path: Path, image: Path, entry: Mapping[str, Any]) -> None:
    size = glance(image)
    said = tuple(entry.get(side, found) for side, found in zip(("height", "width"), size, strict=True))
    if said != size:
        raise ValueError(
            f"{path}: {image.name} is annotated at {said[0]}x{said[1]} (height x width), the image is "
            f"{size[0]}x{size[1]}; scale the key points, or give the images that were annotated"
        )


def _main_person(path: Path, name: str, persons: Sequence[Mapping[str, Any]]) -> Points:
    """All joints are missing where there is no person."""
    if not persons:
        return np.full((18, 2), np.nan, dtype=np.float32)
    where = f"{path}: {name}"
    triples = [_numbers(where, person, "keypoints", 3 * len(NAMES)).reshape(-1, 3) for person in persons]
    if any("score" in person for person in persons):
        sizes = [_numbers(where, person, "score", 1)[0] if "score" in person else -np.inf for person in persons]
    else:
        sizes = [_area(where, person, points) for person, points in zip(persons, triples, strict=True)]
    points = triples[int(np.argmax(sizes))]
    joints = np.where(points[:, 2:] > 0, points[:, [1, 0]], np.nan)
    return openpose_of_coco(joints[None])[0]


def _area(where: str, person: Mapping[str, Any], triples: Float[np.ndarray, "17 3"]) -> float:
    """Of its box, or of the box of its joints."""
    if person.get("bbox", []) != []:
        _, _, width, height = _numbers(where, person, "bbox", 4)
        return float(width * height)
    seen = triples[triples[:, 2] > 0, :2]
    return float(np.prod(np.ptp(seen, axis=0))) if len(seen) else 0.0


def _numbers(where: str, person: Mapping[str, Any], key: str, count: int) -> Float64[np.ndarray, " n"]:
    """What an annotation says under a key: a list of `count` numbers, or for one the number itself."""
    said = person[key]
    try:
        numbers = np.asarray([said] if count == 1 else said, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        numbers = np.empty(0)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"{where}: expected {count} numbers as `{key}`, found {str(said)[:60]}; correct or remove it")
    return numbers
