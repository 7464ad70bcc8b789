"""What a re-ID training minimises: smoothed cross entropy, and the triplet loss with hard mining.

Both equal torchreid's; synthetic images may be smoothed or weighted otherwise, and left out of the triplets.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reid.configuration import ReidConfig

# The least squared distance under the root, whose slope at 0 is infinite.
LEAST_SQUARE = 1e-12

Head = Tensor | Sequence[Tensor]


class Seen(NamedTuple):
    """What a network says of a batch in training; some have several classifiers, and features, one for each part."""

    logits: tuple[Float[Tensor, "b classes"], ...]
    features: tuple[Float[Tensor, "b _"], ...]  # empty where the loss needs none


def seen(logits: Head, features: Head = ()) -> Seen:
    """What a network of torchreid's gives in training, each one tensor or several, as 32-bit floats."""
    return Seen(_several(logits), _several(features))


def _several(tensors: Head) -> tuple[Tensor, ...]:
    return tuple(tensor.float() for tensor in ([tensors] if isinstance(tensors, Tensor) else tensors))


def training_loss(
    config: ReidConfig, found: Seen, labels: Int[Tensor, " b"], synthetic: Bool[Tensor, " b"]
) -> Float[Tensor, ""]:
    """The loss of a batch: of several heads the mean, as torchreid's engines take it."""
    softmax = _mean([smoothed_loss(config, logits, labels, synthetic) for logits in found.logits])
    if config.loss == "softmax":
        return softmax
    triplet = _mean([triplet_loss(config, features, labels, synthetic) for features in found.features])
    return config.softmax_weight * softmax + config.triplet_weight * triplet


def smoothed_loss(
    config: ReidConfig, logits: Float[Tensor, "b classes"], labels: Int[Tensor, " b"], synthetic: Bool[Tensor, " b"]
) -> Float[Tensor, ""]:
    """Cross entropy with label smoothing, in which synthetic images may count less or be smoothed otherwise."""
    losses = F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing, reduction="none")
    if config.synthetic_smoothing is not None:
        smoother = F.cross_entropy(logits, labels, label_smoothing=config.synthetic_smoothing, reduction="none")
        losses = torch.where(synthetic, smoother, losses)
    if config.synthetic_weight != 1:
        losses = torch.where(synthetic, config.synthetic_weight * losses, losses)
    return losses.mean()


def triplet_loss(
    config: ReidConfig, features: Float[Tensor, "b d"], labels: Int[Tensor, " b"], synthetic: Bool[Tensor, " b"]
) -> Float[Tensor, ""]:
    """Hard mining over the batch; synthetic anchors may count less, or synthetic images not at all."""
    takes_part = ~synthetic if config.triplet_real_only else torch.ones_like(synthetic)
    losses, counts = hard_triplets(features, labels, takes_part, config.margin)
    if config.synthetic_weight != 1:
        losses = torch.where(synthetic, config.synthetic_weight * losses, losses)
    return losses.sum() / counts.sum().clamp(min=1)


def hard_triplets(
    features: Float[Tensor, "b d"], labels: Int[Tensor, " b"], takes_part: Bool[Tensor, " b"], margin: float
) -> tuple[Float[Tensor, " b"], Bool[Tensor, " b"]]:
    """Of each anchor how far its farthest positive is beyond its nearest negative plus the margin, and if it counts.

    Hermans et al. 2017, equation 5, with Euclidean distances. An anchor without a negative does not count (torchreid's
    loss ends with an error there); one without another image of its identity is its own positive.
    """
    squares = features.square().sum(1)
    products = torch.addmm(squares[:, None] + squares, features, features.T, beta=1, alpha=-2)
    distances = products.clamp(min=LEAST_SQUARE).sqrt()
    same = labels[:, None] == labels
    positives, negatives = same & takes_part, ~same & takes_part
    farthest = distances.masked_fill(~positives, -torch.inf).amax(1)
    nearest = distances.masked_fill(~negatives, torch.inf).amin(1)
    counts = takes_part & negatives.any(1)
    losses = torch.where(counts, (farthest - nearest + margin).relu(), 0)
    return losses, counts


def _mean(losses: Sequence[Float[Tensor, ""]]) -> Float[Tensor, ""]:
    """Of one loss that loss itself, bit for bit."""
    return losses[0] if len(losses) == 1 else torch.stack(list(losses)).mean()
