"""How well a generator redraws people it was not trained on: pairs of held-out identities, their metrics and sheet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8

from augment import sheets
from augment.data import feed
from augment.data.pairs import Pairs
from augment.data.records import Record
from generators.generator import Generator
from generators.metrics.masks import patn_body_mask
from generators.metrics.pixels import l1
from generators.metrics.ssim import ssim, ssim_in_mask
from generators.tensors import to_uint8

PAIRS = 256
SHEET_PAIRS = 16
Pixels = UInt8[np.ndarray, "n h w 3"]


@dataclass(frozen=True)
class HeldOut:
    """Pairs of images of people that a generator has not seen, in memory."""

    split: feed.Posed
    pairs: Int[np.ndarray, "n 2"]

    def measure(self, generator: Generator, device: torch.device) -> tuple[dict[str, float], Pixels]:
        """Means over the pairs, and the generated images.

        l1: mean absolute difference in grey levels. ssim: protocol `patn`. ssim_in_mask: the same, averaged over the
        body of the target pose only.
        """
        made = transfer(generator, self.split, self.pairs, device)
        generated, real = torch.from_numpy(made), torch.from_numpy(self.split.pixels[self.pairs[:, 1]])
        mask = patn_body_mask(torch.from_numpy(self.split.points[self.pairs[:, 1]]), self.split.size)
        values = {
            "l1": l1(generated, real),
            "ssim": ssim(generated, real, "patn"),
            "ssim_in_mask": ssim_in_mask(generated, real, mask, "patn"),
        }
        return {name: float(each.mean()) for name, each in values.items()}, made

    def write_sheet(self, path: Path, generated: Pixels) -> Path:
        """The first pairs, drawn."""
        return write_pairs_sheet(path, self.split, self.pairs[:SHEET_PAIRS], generated[:SHEET_PAIRS])


def hold_out(
    records: Sequence[Record],
    points: dict[str, np.ndarray],
    same_camera: bool,
    size: tuple[int, int] | None = None,
    count: int | None = None,
) -> HeldOut | None:
    """`count` (PAIRS) random pairs of the people in `records`, all with key points; None where there is no pair.

    Raises:
        ValueError: an image that cannot be read or is not of `size`.
    """
    cameras = [record.camid for record in records] if same_camera else None
    pairs = Pairs([record.pid for record in records], cameras)
    if not len(pairs):
        return None
    drawn = pairs.draw(0, 0, count or PAIRS)
    used, local = np.unique(drawn, return_inverse=True)
    return HeldOut(feed.load([records[index] for index in used], points, size), local.reshape(drawn.shape))


def withhold(records: Sequence[Record], identities: int, seed: int) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """Split off the images of some identities: (the rest, theirs).

    Raises:
        ValueError: nobody would be left to train on.
    """
    people = np.unique([record.pid for record in records if record.pid > 0])
    if identities >= len(people):
        raise ValueError(
            f"{identities} identities for validation, but only {len(people)} have key points; give --validation a "
            "smaller number (0 validates on nobody)"
        )
    chosen = {int(pid) for pid in np.random.default_rng([seed, 2]).choice(people, identities, replace=False)}
    rest = tuple(record for record in records if record.pid not in chosen)
    return rest, tuple(record for record in records if record.pid in chosen)


@torch.inference_mode()
def transfer(
    generator: Generator, split: feed.Posed, pairs: Int[np.ndarray, "n 2"], device: torch.device, batch: int = 16
) -> Pixels:
    """Each pair's source image in its target's pose."""
    was_training = generator.training
    generator.eval()
    kind = generator.pose_map
    made = []
    for start in range(0, len(pairs), batch):
        source, target = pairs[start : start + batch].T
        maps = split.maps(source, device, kind), split.maps(target, device, kind)
        made.append(to_uint8(generator(split.images(source, device), *maps)).cpu().numpy())
    generator.train(was_training)
    return np.concatenate(made)


def write_pairs_sheet(path: Path, split: feed.Posed, pairs: Int[np.ndarray, "n 2"], generated: Pixels) -> Path:
    """Source, target pose, generated and true image of each pair."""
    rows = [
        (split.pixels[source], sheets.draw_skeleton(split.points[target], split.size), image, split.pixels[target])
        for (source, target), image in zip(pairs, generated, strict=True)
    ]
    return sheets.write_sheet(path, rows, ("source", "target pose", "generated", "true"), groups=4)
