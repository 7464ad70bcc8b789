"""Passes over generated and real images, in blocks: of each image the numbers and features that metrics are made of.

A column is an array with a row an image: a metric's own values, or under the name of a network its features.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8
from torch import Tensor

from augment.data.images import read_images
from augment.data.records import Record
from augment.image_metrics import INCEPTION, PIXEL, TORCHVISION, body_mask, pixel_columns
from augment.image_networks import Networks
from augment.image_pairs import Compared, Pixels
from augment.plan import blocks
from generators.metrics.masks import patn_body_mask
from generators.metrics.pckh import pckh
from reid.consistency import cosine

LOGITS, MASKED_LOGITS = "logits", "masked logits"
DISTRIBUTION = {"fid", "kid", "fid_gfla"}  # compared with the training images
Columns = dict[str, np.ndarray]
Progress = Callable[[int, int], None]


def of_source(name: str) -> str:
    """The column of what a metric is of the source in place of the generated image: the floor of comparisons."""
    return f"{name} of the source"


def compared_to(compared: Compared) -> str:
    """Whose identity a generated image is measured by: one of the two for all of them, so that values compare."""
    return "the true image" if compared.paired.all() else "the source"


@dataclass(frozen=True)
class Passes:
    """What to measure of every image, by what, how many images at a time."""

    names: frozenset[str]
    networks: Networks
    device: torch.device
    batch: int

    def generated(self, compared: Compared, progress: Progress) -> Columns:
        """All columns of generated images; NaN where a row has no true image."""

        def parts() -> Iterable[Columns]:
            for block in blocks(len(compared), self.batch):
                rows = np.arange(block.start, block.stop)
                pixels = compared.generated(rows)
                poses = None if compared.poses is None else compared.poses[rows]
                yield self._of_images(pixels, poses, self.names) | self._of_pairs(compared, rows, pixels)
                progress(block.stop, len(compared))

        return _joined(parts())

    def real(
        self,
        compared: Compared,
        records: Sequence[Record],
        poses: Float32[np.ndarray, "n 18 2"] | None,
        names: Collection[str],
        progress: Progress,
    ) -> Columns:
        """Those columns of real images that some metrics need; PCKh's say how far the estimator and the key points
        agree."""

        def parts() -> Iterable[Columns]:
            for block in blocks(len(records), self.batch):
                of_block = None if poses is None else poses[block]
                yield self._of_images(read_images(records[block], compared.size, compared.resize), of_block, names)
                progress(block.stop, len(records))

        return _joined(parts())

    def _of_images(
        self, pixels: Pixels, poses: Float32[np.ndarray, "b 18 2"] | None, names: Collection[str]
    ) -> Columns:
        """PCKh compares what annotation files hold, whose coordinates are whole pixels."""
        found: Columns = {}
        names, networks = self.names.intersection(names), self.networks
        if networks.inception is not None:
            if names & {"fid", "kid", "inception_score"}:
                features = networks.inception.features(pixels)
                found |= {INCEPTION: features} if names & {"fid", "kid"} else {}
                found |= {LOGITS: networks.inception.logits_of(features)} if "inception_score" in names else {}
            if "mask_is" in names and poses is not None:
                found[MASKED_LOGITS] = networks.inception.logits(_masked(pixels, poses))
        if networks.torchvision is not None and "fid_gfla" in names:
            found[TORCHVISION] = networks.torchvision.features(pixels)
        if networks.estimator is not None and names & {"pckh", "detection_score"}:
            people, confidences = networks.estimator.detect(pixels)
            if "detection_score" in names:
                found["detection_score"] = confidences.astype(np.float64)
            if poses is not None:
                joints = pckh(np.rint(people), poses)
                found["pckh"] = np.stack([joints.right, joints.counted], axis=1)
        return found

    def _of_pairs(self, compared: Compared, rows: np.ndarray, pixels: Pixels) -> Columns:
        """Of generated images, and of their sources where these are known, beside the true ones."""
        has = compared.paired[rows]
        true = compared.true(rows[has]) if has.any() else pixels[:0]
        source = pixels[:0] if compared.source is None else compared.source(rows)
        poses = None if compared.poses is None else compared.poses[rows][has]
        mask = body_mask(self.names, poses, compared.size, self._pixel_device)
        found = self._similarities(pixels[has], true, mask)
        if len(source):
            of_sources = self._similarities(source[has], true, mask)
            found |= {of_source(name): values for name, values in of_sources.items()}
        found = {name: _spread(values, has) for name, values in found.items()}
        if self.networks.reid is not None and "identity_similarity" in self.names:
            found |= self._identity(compared, pixels, true, source)
        return found

    def _similarities(self, images: Pixels, true: Pixels, mask: Bool[Tensor, "b h w"] | None) -> Columns:
        names, lpips = self.names.intersection(PIXEL), self.networks.lpips
        if not len(images):
            return {name: np.empty(0) for name in (*names, *(["lpips"] if lpips is not None else []))}
        found: Columns = {**pixel_columns(names, images, true, mask, self._pixel_device)}
        return found if lpips is None else found | {"lpips": lpips(images, true).astype(np.float64)}

    def _identity(
        self,
        compared: Compared,
        pixels: Pixels,
        true: UInt8[np.ndarray, "t h w 3"],
        source: UInt8[np.ndarray, "s h w 3"],
    ) -> Columns:
        """To the true image where all rows have one, and of the source to it; else to the source."""
        assert self.networks.reid is not None
        if not compared.paired.all():
            made, sources = np.split(self.networks.reid.features(np.concatenate([pixels, source])), [len(pixels)])
            return {"identity_similarity": cosine(made, sources)}
        features = self.networks.reid.features(np.concatenate([pixels, true, source]))
        of_made, of_true, of_sources = np.split(features, [len(pixels), len(pixels) + len(true)])
        found = {"identity_similarity": cosine(of_made, of_true)}
        if len(source):
            found[of_source("identity_similarity")] = cosine(of_sources, of_true)
        return found

    @property
    def _pixel_device(self) -> torch.device:
        """Structural similarity is computed in float64, which Apple's GPUs lack."""
        return self.device if self.device.type == "cuda" else torch.device("cpu")


def _masked(pixels: Pixels, poses: Float32[np.ndarray, "b 18 2"]) -> UInt8[np.ndarray, "b h w 3"]:
    mask = patn_body_mask(torch.from_numpy(poses), pixels.shape[1:3]).numpy()
    return pixels * mask[..., None]


def _spread(values: np.ndarray, has: np.ndarray) -> np.ndarray:
    spread = np.full(len(has), np.nan)
    spread[has] = values
    return spread


def _joined(parts: Iterable[Columns]) -> Columns:
    held: dict[str, list[np.ndarray]] = {}
    for part in parts:
        for name, values in part.items():
            held.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in held.items()}
