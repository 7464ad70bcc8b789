"""Feature vectors of images, as a trained network sees them."""

from typing import final

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from reid.dataset import normalised, resized
from reid.sources import ImageSource


@final
class PlainDataset(Dataset[Tensor]):
    """The images of a source at one size, normalised, not augmented."""

    def __init__(self, source: ImageSource, height: int, width: int) -> None:
        self._source, self._height, self._width = source, height, width

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Float32[Tensor, "3 h w"]:
        return normalised(resized(self._source.image(index), self._height, self._width))


def extract_features(
    model: nn.Module,
    source: ImageSource,
    *,
    height: int = 256,
    width: int = 128,
    batch: int = 128,
    device: torch.device | str = "cpu",
    workers: int = 0,
) -> Float32[np.ndarray, "n d"]:
    """One row an image, from the layer before the classifier; the model is left in the mode it was in.

    Raises:
        ValueError: the source is empty, or a feature is not finite (such features would give plausible numbers).
    """
    if not len(source):
        raise ValueError("no images to extract features from: the query or the gallery is empty")
    loader = DataLoader(PlainDataset(source, height, width), batch, num_workers=workers, generator=torch.Generator())
    device = torch.device(device)
    training = model.training
    model.to(device).eval()
    rows = []
    try:
        with torch.inference_mode():
            for images in loader:
                images = images.to(device).contiguous(memory_format=torch.channels_last)
                rows.append(model(images).float().flatten(1).cpu().numpy())
    finally:
        model.train(training)
    features = np.concatenate(rows)
    broken = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(broken):
        raise ValueError(
            f"{len(broken)} of {len(features)} images have features that are not finite (the first is number "
            f"{broken[0]}): the checkpoint is broken; train again with a lower learning rate"
        )
    return features
