"""The numbers of a synthetic set's scores: passes over its images, in blocks of rows, so that no set is too large."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import cv2
import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8

from augment.cross_fitting import CrossFit
from augment.data import posemaps
from augment.data.images import read_images
from augment.data.records import DataSet, Record
from augment.data.sharpness import sharpness
from augment.plan import blocks
from augment.pose_estimation import PoseEstimator, pose_agreement
from augment.reid_training import file_source
from augment.store import Reader
from generators.criticism import Critic
from generators.tensors import from_uint8
from reid.consistency import FOLDS, consistency, cosine, prototypes
from reid.sources import ImageSource

ROWS = 1024  # of a block: 25 MB of pixels at 128x64
IDENTITY = ("identity_similarity", "identity_margin", "source_distance")
PIXELS = SOURCE_L1, SHARPNESS = ("source_l1", "sharpness")
DISCRIMINATOR, POSE_AGREEMENT = "discriminator", "pose_agreement"
Columns = dict[str, Float32[np.ndarray, " n"]]
Progress = Callable[[int, int], None]
_COMPANY = 3  # stream of random numbers


@dataclass(frozen=True)
class Sources:
    """The real images that a set was made from."""

    records: tuple[Record, ...]
    place: Int64[np.ndarray, " n"]  # of each row's source among `records`

    def pixels(self, rows: range, size: tuple[int, int]) -> UInt8[np.ndarray, "k h w 3"]:
        """Of each of these rows the source; one of another size is resized (bilinear)."""
        used, of_row = np.unique(self.place[rows.start : rows.stop], return_inverse=True)
        return read_images([self.records[index] for index in used], size, resize=True)[of_row]


def find_sources(reader: Reader, dataset: DataSet, *, test_too: bool = False) -> Sources:
    """The training images, and with `test_too` those of query and gallery, that a set's rows name as their sources.

    Raises:
        ValueError: a source that is no such image, or one of another person than the row is labelled with.
    """
    used, place = np.unique(reader.source_index, return_inverse=True)
    admitted = (*dataset.query, *dataset.gallery, *dataset.train) if test_too else dataset.train
    named = {record.name: record for record in admitted}
    names = [reader.files[index] for index in used]
    absent = [name for name in names if name not in named]
    if absent:
        what = "images" if test_too else "training images"
        raise ValueError(
            f"{reader.path}: {len(absent)} of its sources are no {what} of {dataset.root} (for example "
            f"{absent[0]}); give the data that the set was made from"
        )
    records = tuple(named[name] for name in names)
    other = np.flatnonzero(np.array([record.pid for record in records])[place] != reader.pid)
    if len(other):
        row = int(other[0])
        raise ValueError(
            f"{reader.path}: row {row} is labelled as identity {reader.identity(row)}, but its source "
            f"{reader.source_name(row)} shows another ({len(other)} such rows); make or import the set again"
        )
    return Sources(records, place.astype(np.int64))


def identity_columns(
    reader: Reader, sources: Sources, pair: CrossFit, *, device: str, batch: int, progress: Progress
) -> Columns:
    """Similarity and margin to prototypes without the source, and distance to the source.

    All by the network that has not seen the identity. Where the source is its only real image, it has no other to be
    compared with: similarity and margin are NaN.
    """
    columns = {name: np.full(len(reader), np.nan, np.float32) for name in IDENTITY}
    fold_of = {record.pid: fold for record, fold in zip(pair.records, pair.fold.tolist(), strict=True)}
    fold = np.array([fold_of[pid] for pid in reader.pid.tolist()], np.int64)
    done = 0
    for network in range(FOLDS):
        rows, real = np.flatnonzero(fold == 1 - network), pair.people(1 - network)
        if not len(rows):
            continue
        model = pair.load(network, device)
        known = pair.features(model, file_source(real), device, batch)
        centres = prototypes(known, np.array([record.pid for record in real], np.int64))
        row_of = {record.name: row for row, record in enumerate(real)}
        of_source = np.array([row_of.get(record.name, -1) for record in sources.records], np.int64)
        for block in blocks(len(rows), ROWS * max(1, pair.training.workers)):
            shown = rows[block]
            found = pair.features(model, Rows(reader, shown), device, batch)
            real_sources = known[of_source[sources.place[shown]]]
            similarity, margin = consistency(found, reader.pid[shown], centres, real_sources)
            distance = 1 - cosine(found, real_sources)
            for name, values in zip(IDENTITY, (similarity, margin, distance), strict=True):
                columns[name][shown] = values
            done += len(shown)
            progress(done, len(reader))
    return columns


def pixel_columns(reader: Reader, sources: Sources, names: Sequence[str], *, progress: Progress) -> Columns:
    """Distance to the source in grey levels, as a share of 255, and sharpness; those of them that are asked for."""
    columns = {name: np.empty(len(reader), np.float32) for name in names}
    for rows, pixels in _blocks(reader):
        if SOURCE_L1 in columns:
            for row, image, source in zip(rows, pixels, sources.pixels(rows, reader.size), strict=True):
                columns[SOURCE_L1][row] = cv2.norm(image, source, cv2.NORM_L1) / (255 * image.size)
        if SHARPNESS in columns:
            for row, image in zip(rows, pixels, strict=True):
                columns[SHARPNESS][row] = sharpness(image)
        progress(rows.stop, len(reader))
    return columns


def discriminator_column(
    reader: Reader, sources: Sources, critic: Critic, *, device: torch.device, batch: int, progress: Progress
) -> Float32[np.ndarray, " n"]:
    """What a training's discriminators say of each image, beside its source and in its target pose."""
    column = np.empty(len(reader), np.float32)
    for rows, pixels in _blocks(reader):
        real, poses = sources.pixels(rows, reader.size), reader.poses(np.arange(rows.start, rows.stop))
        mine, done = column[rows.start : rows.stop], 0
        for chosen in _parties(rows, batch, critic.company):
            target_map = posemaps.render(_sent(poses[chosen], device), reader.size, kind=critic.pose_map)
            image, source = (from_uint8(_sent(part[chosen], device)) for part in (pixels, real))
            mine[chosen] = critic(image, source, target_map).cpu().numpy()
            done = min(done + len(chosen), len(rows))
            progress(rows.start + done, len(reader))
    return column


def pose_column(
    reader: Reader, estimator: PoseEstimator, *, batch: int, progress: Progress
) -> Float32[np.ndarray, " n"]:
    """The share of target joints that an estimator finds where they were asked for."""
    column = np.empty(len(reader), np.float32)
    for rows, pixels in _blocks(reader):
        poses = reader.poses(np.arange(rows.start, rows.stop))
        for part in blocks(len(rows), batch):
            column[rows.start + part.start : rows.start + part.stop] = pose_agreement(
                estimator(pixels[part]), poses[part]
            )
            progress(rows.start + part.stop, len(reader))
    return column


@final
class Rows:
    """Some rows of a source, as a source."""

    def __init__(self, source: ImageSource, rows: Int64[np.ndarray, " k"]) -> None:
        self._source, self._rows = source, rows

    def __len__(self) -> int:
        return len(self._rows)

    def image(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        return self._source.image(int(self._rows[index]))

    def identity(self, index: int) -> int:
        return self._source.identity(int(self._rows[index]))

    def camera(self, index: int) -> int:
        return self._source.camera(int(self._rows[index]))


def _blocks(reader: Reader) -> Iterator[tuple[range, UInt8[np.ndarray, "k h w 3"]]]:
    for block in blocks(len(reader), ROWS):
        rows = range(block.start, block.stop)
        yield rows, np.stack([reader.image(row) for row in rows])


def _parties(rows: range, batch: int, company: int | None) -> Iterator[Int64[np.ndarray, " b"]]:
    """Which of some rows are judged together.

    Where that matters they are a mixture, and always as many, whatever the batch: the last ones are joined by some that
    have been judged already.
    """
    order = np.arange(len(rows))
    if company is not None:
        mixed = np.random.default_rng([_COMPANY, rows.start]).permutation(len(rows))
        order = np.resize(mixed, -(-len(rows) // company) * company)
    for part in blocks(len(order), company or batch):
        yield order[part]


def _sent(array: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(array).to(device)
