"""Stage: how good generated images are, by the metrics of the field, each with its protocol, interval and floor.

What is compared is a generator's images of test pairs, a synthetic set, or a folder (augment.image_pairs). A metric
whose weights, package or images are missing is not computed and says so; the others are.

OUT (.json)    values, intervals over identities, floors of real images; what was not computed; the provenance
SHEET (.png)   the best, median and worst images by some metrics
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from augment import audit, files, image_options, runs, store
from augment.cross_fitting import Bar, silent
from augment.data import keypoints
from augment.data.images import require_readable
from augment.data.read import read_data
from augment.data.records import DataSet
from augment.devices import pick_device
from augment.image_entries import SMALL, Measured, TooFew, entry, unequal_floors
from augment.image_metrics import METRICS, POSE, POSES, SET, SOURCE, TRUE, networks_of, require_known
from augment.image_networks import Asked, Networks, open_networks
from augment.image_pairs import Compared, Points, choose_pairs, of_folders, of_generator, of_set
from augment.image_passes import DISTRIBUTION, Columns, Passes
from augment.image_saving import WAYS
from augment.image_sheet import write_sheet
from augment.pose_estimation import PersonDetector, annotated_by
from generators import checkpoint

Log = Callable[[str], None]
OF_REAL = {"inception_score", "mask_is", "pckh", "detection_score"}  # whose floor is the same of real images


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
    """What is compared, and where it comes from."""

    compared: Compared
    provenance: Mapping[str, Any] = field(default_factory=dict)
    annotations: tuple[Path, ...] = ()  # files of the key points


def run(
    config: EvaluateGeneratorConfig,
    data: Path,
    *,
    generator: Path | None = None,
    images: Path | None = None,
    pairs: Path | None = None,
    poses: Path | None = None,
    asked: Asked | None = None,
    out: Path | None = None,
    sheet: Path | None = None,
    device: str = "auto",
    bar: Bar = silent,
    log: Log = lambda line: None,
) -> dict[str, Any]:
    """Measure a generator (a run folder, weights, copy, warp) or images (X.h5, a folder): the results.

    Raises:
        ValueError: bad data, weights or pairs; a generator that may have seen the test identities.
        OSError: the disk is full.
    """
    if (generator is None) == (images is None):
        raise ValueError("--generator: give a generator, or a synthetic set or a folder as --images, and not both")
    asked = asked or Asked()
    image_options.require_used(asked, config.wanted)
    image_options.require_writable(out, sheet, [data, *([] if images is None else [images])])
    if images is not None:
        _require_unused(images, config, pairs)
    if images is not None and _is_folder_of_images(images):
        image_options.require_no_poses(poses)
        subject, dataset, points = Subject(of_folders(data, images)), None, None
    else:
        dataset = read_data(data)
        for note in dataset.notes:
            log(note)
        points = _points(dataset, poses, needed=generator is not None)
        if generator is not None:
            assert points is not None
            subject = _of_generator(config, generator, dataset, points, pairs, device)
        else:
            assert images is not None
            subject = _of_set(store.Reader(images), dataset, points, config.seed)
        subject = replace(subject, annotations=dataset.annotations if poses is None else (poses,))
    measured, found = measure(config, subject, asked, dataset, points, device=device, bar=bar, log=log)
    if out is not None:
        files.write_json(out, found)
    if sheet is not None:
        for line in write_sheet(sheet, measured):
            log(line)
    return found


def measure(
    config: EvaluateGeneratorConfig,
    subject: Subject,
    asked: Asked,
    dataset: DataSet | None = None,
    points: Points | None = None,
    *,
    device: str = "auto",
    bar: Bar = silent,
    log: Log = lambda line: None,
) -> tuple[Measured, dict[str, Any]]:
    """Measure what is compared, and give both the columns and the results.

    Raises:
        ValueError: an image that cannot be read; a file of weights that is not what it should be.
    """
    compared, wanted = subject.compared, config.wanted
    without = {name: why for name in wanted if (why := _lacks(name, compared, points)) is not None}
    asked_for = [name for name in wanted if name not in without]
    networks = open_networks(networks_of(asked_for), asked, device, dataset)
    without |= {
        name: networks.missing[METRICS[name].network] for name in asked_for if METRICS[name].network in networks.missing
    }
    names = frozenset(name for name in wanted if name not in without)
    measured = _passes(config, compared, points, names, networks, device, bar)

    metrics: dict[str, Any] = {}
    for name in wanted:
        if name in names:
            try:
                metrics[name] = entry(name, measured)
            except TooFew as error:
                without[name] = str(error)
    notes = _notes(metrics, compared, networks)
    if "pckh" in metrics and networks.estimator is not None:
        notes += _foreign_annotations(subject.annotations, networks.estimator)
    for note in notes:
        log(note)
    found = {
        "schema": 1,
        "metrics": metrics,
        "not_computed": {name: without[name] for name in wanted if name in without},
        "provenance": {
            "config": asdict(config),
            **subject.provenance,
            "compared": compared.says,
            "size": list(compared.size),
            "networks": networks.provenance,
            "notes": notes,
            "versions": runs.versions(),
        },
    }
    return measured, json.loads(files.json_bytes(found))


def _passes(
    config: EvaluateGeneratorConfig,
    compared: Compared,
    points: Points | None,
    names: frozenset[str],
    networks: Networks,
    device: str,
    bar: Bar,
) -> Measured:
    """Generated images, then what real ones are needed for."""
    passes = Passes(names, networks, pick_device(device), config.batch)
    of_real = names & DISTRIBUTION
    of_other = names & (DISTRIBUTION | OF_REAL)
    if not compared.other:
        of_real, of_other = of_other, frozenset()
    require_readable([*(compared.real if of_real else ()), *(compared.other if of_other else ())])
    generated: Columns = {}
    if names - set(POSES):
        with bar("generated images", "img") as progress:
            generated = passes.generated(compared, progress)
    real: Columns = {}
    if of_real:
        with bar("real images", "img") as progress:
            real = passes.real(compared, compared.real, None, of_real, progress)
    other: Columns = {}
    if of_other:
        with bar("real images for floors", "img") as progress:
            other = passes.real(compared, compared.other, compared.other_poses, of_other, progress)
    return Measured(compared, generated, real, other, points, config.seed)


def _lacks(name: str, compared: Compared, points: Points | None) -> str | None:
    """What a metric lacks beside networks, if anything."""
    for need in METRICS[name].needs:
        if need == TRUE and not compared.paired.any():
            how = (
                "folders are paired by file name"
                if compared.reader is None
                else "no pose is of another image of the person"
            )
            return f"needs true images: no generated image has one ({how})"
        if need == POSE and compared.poses is None:
            return "needs the target poses of all images, which are not known here"
        if need == SOURCE and compared.source is None and not compared.paired.all():
            return "needs the source or the true image of every generated one"
        if need == SET and compared.reader is None:
            return "describes a synthetic set: give one as --images X.h5"
        if need == SET and (points is None or compared.poses is None):
            return "needs the key points of the real images and of the set; give --poses FILE"
    return None


def _notes(metrics: Mapping[str, Any], compared: Compared, networks: Networks) -> list[str]:
    """What must be known of the values."""
    notes = [*compared.notes]
    few = [name for name in ("fid", "fid_gfla") if name in metrics and len(compared) < SMALL]
    if few:
        notes.append(
            f"{', '.join(few)}: of {len(compared):,} images; such distances fall with more of them, so compare at "
            "equal numbers only"
        )
    if "identity_similarity" in metrics and networks.reid is not None:
        on_this = networks.reid.provenance.get("trained_on_this_data")
        if on_this and compared.reader is not None:
            notes.append("identity_similarity: by a network that was trained on these identities, so too favourable")
        elif on_this is None:
            notes.append("identity_similarity: by a network of which it is unknown what it was trained on")
    return notes + unequal_floors(metrics)


def _foreign_annotations(annotations: Sequence[Path], estimator: PersonDetector) -> list[str]:
    """What PCKh rests on where the joints it compares are not known to be of one estimator."""
    notes = []
    for path in annotations:
        made_by = annotated_by(path)
        if made_by is None:
            notes.append(f"pckh: which estimator made {path.name} is unknown; joints of one estimator compare fairly")
        elif made_by != estimator.provenance:
            notes.append(
                f"pckh: {path.name} is {made_by['estimator']}'s, not of the network and settings used here; only the "
                "same one's joints compare fairly"
            )
    return notes


def _of_generator(
    config: EvaluateGeneratorConfig, path: Path, dataset: DataSet, points: Points, pairs: Path | None, device: str
) -> Subject:
    metadata = audited(path, dataset, foreign=config.foreign_generator)
    network = checkpoint.load_generator(path, pick_device(device)).for_inference()
    chosen = choose_pairs(
        dataset, points, pairs, config.count, same_camera=config.same_camera, seed=config.seed
    )  # fmt: skip
    require_readable(chosen.records)
    generator = {
        "model": metadata["model"],
        "preset": metadata["preset"],
        "weights_sha256": checkpoint.weights_sha256(path),
        "trained_on": metadata.get("trained_on"),
        "initialised_from": metadata.get("initialised_from"),
    }
    said = {
        "data": (dataset.test_root or dataset.root).resolve().name,
        "generator": generator,
        **_digests(dataset),
        "points_digest": keypoints.digest(chosen.records, points),
        "pairs_sha256": None if pairs is None else files.sha256(pairs),
    }
    return Subject(of_generator(network, chosen, dataset.train, pick_device(device), config.save), said)


def _of_set(reader: store.Reader, dataset: DataSet, points: Points | None, seed: int) -> Subject:
    compared = of_set(reader, dataset, points, seed)
    return Subject(
        compared, {"set": reader.path.name, "generator": reader.attributes["generator"], **_digests(dataset)}
    )


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


def _digests(dataset: DataSet) -> dict[str, Any]:
    return {"data_digest": dataset.digest, "test_digest": dataset.test_digest}


def _points(dataset: DataSet, poses: Path | None, *, needed: bool) -> dict[str, keypoints.Points] | None:
    """Key points of all images; None where there are none and they are not needed."""
    if not needed and poses is None and not dataset.annotations:
        return None
    return keypoints.dataset_points(dataset, poses)


def _require_unused(images: Path, config: EvaluateGeneratorConfig, pairs: Path | None) -> None:
    """Options that only a generator takes would silently have no effect."""
    given = {
        "--pairs": pairs is not None, "--count": config.count is not None, "--same-camera": config.same_camera,
        "--save": config.save != "lossless", "--foreign-generator": config.foreign_generator,
    }  # fmt: skip
    image_options.require_of_generator(images, given)


def _is_folder_of_images(path: Path) -> bool:
    return path.is_dir() and not (path / store.PLAN).exists() and not (path / store.MANIFEST).exists()
