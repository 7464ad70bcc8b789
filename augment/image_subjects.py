"""What is asked of `evaluate-generator`, and what is compared then: a generator's images, a synthetic set, a folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from augment import audit, files, image_options, store
from augment.data import keypoints
from augment.data.images import require_readable
from augment.data.market1501 import find_folders, image_files
from augment.data.read import read_data
from augment.data.records import DataSet
from augment.devices import pick_device
from augment.image_folders import Panel, of_folders, of_results, parse_panel
from augment.image_metrics import METRICS, require_known
from augment.image_pairs import Compared, Points, choose_pairs, of_generator, of_set
from augment.image_saving import WAYS
from generators import checkpoint

Log = Callable[[str], None]


@dataclass(frozen=True)
class EvaluateGeneratorConfig:
    """What to measure, and of which pairs."""

    metrics: tuple[str, ...] = ()  # none: all
    require: tuple[str, ...] = ()  # measured too
    count: int | None = None  # pairs
    same_camera: bool = False
    save: str = "lossless"  # or jpeg: as the published test scripts save
    foreign_generator: bool = False  # it was trained on other data that holds none of these test identities
    batch: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        require_known(self.metrics, "--metrics")
        require_known(self.require, "--require")
        if self.save not in WAYS:
            raise ValueError(f"--save {self.save}: expected one of {', '.join(WAYS)}")

    @property
    def wanted(self) -> list[str]:
        """In the order of the table."""
        asked = {*self.metrics, *self.require}
        return [name for name in METRICS if name in asked or not self.metrics]


@dataclass(frozen=True)
class Subject:
    """What is compared, and where it comes from; `points` are those of all real images, where they are known."""

    compared: Compared
    provenance: Mapping[str, Any] = field(default_factory=dict)
    annotations: tuple[Path, ...] = ()  # files of the key points
    dataset: DataSet | None = None
    points: Points | None = None


def of_a_generator(
    config: EvaluateGeneratorConfig,
    path: Path,
    data: Path,
    pairs: Path | None,
    poses: Path | None,
    device: str,
    log: Log,
) -> Subject:
    """A generator on pairs of test images.

    Raises:
        ValueError: bad data, weights or pairs; a generator that may have seen the test identities.
    """
    dataset = _read(data, log)
    points = keypoints.dataset_points(dataset, poses)
    metadata = audited(path, dataset, foreign=config.foreign_generator)
    network = checkpoint.load_generator(path, pick_device(device)).for_inference()
    chosen = choose_pairs(
        dataset, points, pairs, config.count, same_camera=config.same_camera, seed=config.seed
    )  # fmt: skip
    require_readable(chosen.records)
    generator = {
        "model": metadata["model"],
        "preset": metadata["preset"],
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "weights_sha256": checkpoint.weights_sha256(path),
        "trained_on": metadata.get("trained_on"),
        "initialised_from": metadata.get("initialised_from"),
    }
    said = {
        "data": _name(dataset),
        "generator": generator,
        **_digests(dataset),
        "points_digest": keypoints.digest(chosen.records, points),
        "pairs_sha256": None if pairs is None else files.sha256(pairs),
    }
    compared = of_generator(network, chosen, dataset.train, pick_device(device), config.save)
    return Subject(compared, said, _annotations(dataset, poses), dataset, points)


def of_images(
    config: EvaluateGeneratorConfig,
    images: Path,
    data: Path,
    pairs: Path | None,
    poses: Path | None,
    panel: str | None,
    log: Log,
) -> Subject:
    """A synthetic set, or a folder that belongs to a folder of real images or to a data set's test images.

    Raises:
        ValueError: bad data, set or folder; options that only a generator takes.
    """
    _require_unused(images, config, pairs)
    is_folder = images.is_dir() and not (images / store.PLAN).exists() and not (images / store.MANIFEST).exists()
    if panel is not None and not is_folder:
        raise ValueError(f"--panel {panel}: only a folder of images has panels; leave it out")
    which = Panel() if panel is None else parse_panel(panel)
    if is_folder and data.is_dir() and image_files(data) and find_folders(data) is None:
        points = None if poses is None else keypoints.read_annotation(poses)
        compared = of_folders(data, images, points, which)
        said = {} if poses is None else {"poses_sha256": files.sha256(poses)}
        return Subject(compared, said, () if poses is None else (poses,))
    dataset = _read(data, log)
    known = poses is not None or bool(dataset.annotations)
    points = keypoints.dataset_points(dataset, poses) if known else None
    said = {"data": _name(dataset), **_digests(dataset), "points_digest": _points_digest(dataset, points)}
    if is_folder:
        compared = of_results(images, dataset, points, which)
        said["results"] = images.name
    else:
        reader = store.Reader(images)
        compared = of_set(reader, dataset, points, config.seed)
        said |= {"set": images.name, "generator": reader.attributes["generator"]}
    return Subject(compared, said, _annotations(dataset, poses), dataset, points)


def audited(generator: Path, dataset: DataSet, *, foreign: bool = False) -> dict[str, Any]:
    """What a generator's file says of it, once it is sure that it has seen no test identity.

    Raises:
        ValueError: it was trained on another split, or nothing says on which.
    """
    audit.require_disjoint(dataset)
    metadata = checkpoint.read_metadata(generator)
    if not foreign and not checkpoint.untrained(generator):
        audit.require_same(
            str(generator),
            {"training split": metadata.get("trained_on")},
            {"training split": dataset.digest},
            "give a generator trained on this split, or say --foreign-generator if it never saw this data's test "
            "identities",
        )
    return metadata


def _read(data: Path, log: Log) -> DataSet:
    dataset = read_data(data)
    for note in dataset.notes:
        log(note)
    return dataset


def _name(dataset: DataSet) -> str:
    return (dataset.test_root or dataset.root).resolve().name


def _digests(dataset: DataSet) -> dict[str, Any]:
    return {"data_digest": dataset.digest, "test_digest": dataset.test_digest}


def _points_digest(dataset: DataSet, points: Points | None) -> str | None:
    if points is None:
        return None
    records = {record.name: record for record in (*dataset.train, *dataset.query, *dataset.gallery)}
    return keypoints.digest([record for name, record in records.items() if name in points], points)


def _annotations(dataset: DataSet, poses: Path | None) -> tuple[Path, ...]:
    return dataset.annotations if poses is None else (poses,)


def _require_unused(images: Path, config: EvaluateGeneratorConfig, pairs: Path | None) -> None:
    """Options that only a generator takes would silently have no effect."""
    given = {
        "--pairs": pairs is not None, "--count": config.count is not None, "--same-camera": config.same_camera,
        "--save": config.save != "lossless", "--foreign-generator": config.foreign_generator,
    }  # fmt: skip
    image_options.require_of_generator(images, given)
