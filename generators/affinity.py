"""DPTN-TA's texture affinity loss: generated and true target should resemble the source in the same places.

From the branch of DPTN's repository that holds it. It compares VGG19 features of images (in [-1, 1], without ImageNet's
mean and deviation, as DPTN's other losses), not the network's attention.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from generators.losses import Scalar
from generators.tensors import Maps

AFFINITY_LAYERS = ("relu4_1", "relu5_1")
FLOOR = 1e-4  # shorter features are divided by this instead of their length


def affinity(
    features: Maps, source_features: Float[Tensor, "b c h2 w2"], temperature: float = 1.0
) -> Float[Tensor, "b n m"]:
    """How much each position resembles each position of the source: softmax over the source of the cosines.

    In float32 at least, whatever the precision: over m positions the weights are near 1 / m and differ by less.
    """
    with torch.autocast(features.device.type, enabled=False):
        cosines = _directions(features).transpose(1, 2) @ _directions(source_features)
        return (cosines / temperature).softmax(2)


def affinity_loss(
    generated: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    source: Mapping[str, Tensor],
    temperature: float = 1.0,
    scale_by_positions: bool = False,
) -> Scalar:
    """Sum over AFFINITY_LAYERS of the mean absolute difference between the affinities of generated and true target.

    Gradients reach `generated` only. As published (temperature 1, no scaling) the loss shrinks with the number of
    source positions m; `scale_by_positions` multiplies each layer by m, so that it lies in [0, 2] at any size.

    Raises:
        ValueError: a temperature that is not positive.
    """
    if temperature <= 0:
        raise ValueError(f"affinity temperature {temperature}: expected a positive number (as published: 1)")
    terms = []
    for layer in AFFINITY_LAYERS:
        with torch.no_grad():
            wanted = affinity(target[layer], source[layer], temperature)
        term = F.l1_loss(affinity(generated[layer], source[layer].detach(), temperature), wanted)
        terms.append(term * wanted.shape[2] if scale_by_positions else term)
    return torch.stack(terms).sum()


def _directions(maps: Maps) -> Float[Tensor, "b c n"]:
    """Each position's features divided by their length. A position without features stays zero and gets no gradient."""
    rows = maps.to(torch.promote_types(maps.dtype, torch.float32)).flatten(2)
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return torch.where(lengths > 0, rows / lengths.clamp_min(FLOOR), 0)
