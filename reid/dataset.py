"""The training set: real and synthetic images in one list, augmented and normalised for torchreid's models."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from PIL import Image, ImageEnhance
from torch import Tensor
from torch.utils.data import Dataset

from reid.mixing import Item
from reid.sampling import Draw
from reid.sources import ImageSource

# ImageNet statistics of RGB in [0, 1], which torchreid's models expect.
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)

# Random erasing (Zhong et al. 2017, algorithm 1): share of the image's area, and aspect ratio, of the erased box.
ERASED_AREA = (0.02, 0.4)
ERASED_ASPECT = (0.3, 1 / 0.3)
ERASING_ATTEMPTS = 100

# torchreid's Random2DTranslation and ColorJitter: by how much an image is enlarged, and how far each property goes.
ENLARGED = 1.125
JITTER = ((ImageEnhance.Brightness, 0.2), (ImageEnhance.Contrast, 0.15))

# Principal components of ImageNet's colours in [0, 1], one a row, as torchreid's ColorAugmentation has them.
PRINCIPAL_COLOURS = np.array([[0.4009, 0.7192, -0.5675], [-0.8140, -0.0045, -0.5808], [0.4203, -0.6948, -0.5836]])
PRINCIPAL_VALUES = np.array([0.2175, 0.0188, 0.0045])
COLOUR_DEVIATION = 0.1


@dataclass(frozen=True)
class View:
    """How an image is shown to the network."""

    height: int = 256
    width: int = 128
    flip: float = 0.5  # probability of a horizontal flip
    pad: int = 0  # black pixels added on each side before cropping back at random; the strong baseline uses 10
    erase: float = 0.0  # probability of random erasing; the strong baseline uses 0.5
    translate: float = 0.0  # probability of a random crop of the enlarged image
    jitter: bool = False  # brightness and contrast change at random
    colour: float = 0.0  # probability of a shift along the principal colours


@final
class MixedDataset(Dataset[tuple[Tensor, int, int, bool]]):
    """Items `(image, label, camera, synthetic)`; the label is the rank of the raw identity among those of the list.

    Indexed by a `Draw` an image is augmented, as a pure function of the item and the draw's numbers; indexed by a plain
    number it is not. The sources are only asked in the worker that needs the image.
    """

    def __init__(self, sources: Sequence[ImageSource], items: Sequence[Item], view: View) -> None:
        if not items:
            raise ValueError("the training list is empty: give real or synthetic images")
        # Columns, not a list of tuples: workers share these pages instead of copying them by counting references.
        self._source, self._index, pids, self._camids, synthetic = np.array(items, np.int64).T.copy()
        self.synthetic = synthetic.astype(bool)
        self.pids, self._labels = np.unique(pids, return_inverse=True)
        self._sources = tuple(sources)
        self.view = view

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, key: Draw | int) -> tuple[Tensor, int, int, bool]:
        draw = key if isinstance(key, Draw) else None
        item = draw.item if draw else int(key)  # pyright: ignore[reportArgumentType]
        pixels = self._sources[self._source[item]].image(int(self._index[item]))
        if draw:
            image = augmented(pixels, self.view, np.random.default_rng(draw.noise))
        else:
            image = normalised(resized(pixels, self.view.height, self.view.width))
        return image, int(self._labels[item]), int(self._camids[item]), bool(self.synthetic[item])

    @property
    def num_classes(self) -> int:
        return len(self.pids)

    @property
    def item_pids(self) -> Int64[np.ndarray, " n"]:
        """The raw identity of every item."""
        return self.pids[self._labels]

    @property
    def digest(self) -> str:
        """Identifies the list: which image of which source, shown as whom."""
        columns = (self._source, self._index, self.item_pids, self._camids, self.synthetic.astype(np.int64))
        return hashlib.sha256(np.stack(columns).tobytes()).hexdigest()


def resized(image: UInt8[np.ndarray, "h w 3"], height: int, width: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """Bilinear with anti-aliasing, in 8 bits, as torchreid does it."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def normalised(image: UInt8[np.ndarray, "h w 3"]) -> Float32[Tensor, "3 h w"]:
    """Zero mean and unit deviation over ImageNet."""
    planes = np.multiply(image.transpose(2, 0, 1), (1 / (255 * DEVIATION))[:, None, None], order="C")
    planes -= (MEAN / DEVIATION)[:, None, None]
    return torch.from_numpy(planes)


def translated(image: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """A random crop, of the image's size, of the image enlarged to 9/8: torchreid's Random2DTranslation."""
    height, width, _ = image.shape
    larger = resized(image, round(height * ENLARGED), round(width * ENLARGED))
    top = rng.integers(0, larger.shape[0] - height + 1)
    left = rng.integers(0, larger.shape[1] - width + 1)
    return larger[top : top + height, left : left + width]


def jittered(image: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """Brightness and contrast changed in random order, by as much as torchreid's ColorJitter."""
    shown = Image.fromarray(image)
    for number in rng.permutation(len(JITTER)):
        enhancer, most = JITTER[number]
        shown = enhancer(shown).enhance(rng.uniform(1 - most, 1 + most))
    return np.asarray(shown)


def shifted_colour(rng: np.random.Generator) -> Float32[Tensor, "3"]:
    """What is added to every normalised pixel: torchreid's ColorAugmentation (Krizhevsky et al. 2012, section 4.1)."""
    shift = (PRINCIPAL_VALUES * rng.normal(0, COLOUR_DEVIATION, 3)) @ PRINCIPAL_COLOURS
    return torch.from_numpy((shift / DEVIATION).astype(np.float32))


def augmented(image: UInt8[np.ndarray, "h w 3"], view: View, rng: np.random.Generator) -> Float32[Tensor, "3 h2 w2"]:
    """Resize, flip, pad and crop, colours, erase: the order of torchreid and the strong baseline (Luo et al. 2019)."""
    image = resized(image, view.height, view.width)
    if rng.random() < view.flip:
        image = image[:, ::-1]
    if view.pad:
        image = np.pad(image, ((view.pad, view.pad), (view.pad, view.pad), (0, 0)))
        top, left = rng.integers(0, 2 * view.pad + 1, size=2)
        image = image[top : top + view.height, left : left + view.width]
    if view.translate and rng.random() < view.translate:
        image = translated(image, rng)
    if view.jitter:
        image = jittered(image, rng)
    shown = normalised(image)
    if view.colour and rng.random() < view.colour:
        shown += shifted_colour(rng)[:, None, None]
    if rng.random() < view.erase:
        erase(shown, rng)
    return shown


def erase(image: Float32[Tensor, "3 h w"], rng: np.random.Generator) -> None:
    """Set a random box to ImageNet's mean colour (0 once normalised), in place (Zhong et al. 2017, algorithm 1).

    torchreid writes the mean of unnormalised images into normalised ones, a light grey; this is the paper's mean.
    """
    _, height, width = image.shape
    for _ in range(ERASING_ATTEMPTS):
        area = rng.uniform(*ERASED_AREA) * height * width
        aspect = rng.uniform(*ERASED_ASPECT)
        box_height, box_width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if box_height < height and box_width < width:
            top, left = rng.integers(0, height - box_height + 1), rng.integers(0, width - box_width + 1)
            image[:, top : top + box_height, left : left + box_width] = 0
            return
