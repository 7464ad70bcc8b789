"""The residual discriminators of PATN (Zhu et al., CVPR 2019, arXiv 1904.03349) and of DPTN-TA's code.

The encoder of PATN's streams, then residual blocks. There is no reduction to one channel: each value of the last
features, over channels and positions, is a judgement of its own.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from generators.patn import Branch, Encoder, check_norm_and_dropout
from generators.tensors import Maps


@dataclass(frozen=True)
class ResidualDiscriminatorConfig:
    """The defaults are PATN's on Market-1501: 3,977,408 parameters for image and pose map, 3,930,368 for two images.

    DPTN-TA's, with 982,592: an image alone, width 32, instance norm, no dropout, no sigmoid.
    """

    input_channels: int = 21  # image and pose map
    width: int = 64  # channels at full size; doubled by each down-sampling
    blocks: int = 3
    downsamplings: int = 2  # each halves the sides
    norm: str = "batch"  # or instance, without scale and shift
    dropout: float = 0.5  # in each block, in training only
    sigmoid: bool = True  # probabilities for `bce`; otherwise the features themselves, for `lsgan`

    def __post_init__(self) -> None:
        for name, low in {"input_channels": 1, "width": 1, "blocks": 0, "downsamplings": 1}.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name}={getattr(self, name)}: expected at least {low}")
        check_norm_and_dropout(self.norm, self.dropout)

    @property
    def widths(self) -> list[int]:
        """Channels of each level, from the inputs down."""
        return [self.width * 2**level for level in range(self.downsamplings + 1)]


class ResidualDiscriminator(nn.Module):
    """An image and what it must fit, channels joined -> one judgement for each value of the last features."""

    def __init__(self, config: ResidualDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.widths[-1]
        self.encoder = Encoder(config.input_channels, config.widths, config.norm)
        self.blocks = nn.ModuleList(
            Branch(channels, channels, config.norm, config.dropout) for _ in range(config.blocks)
        )

    def forward(self, x: Maps) -> Float[Tensor, "b d h2 w2"]:
        y = self.encoder(x)
        for block in self.blocks:
            y = y + block(y)
        # In float32 always: in bf16 a probability above 0.998 would be 1, and its cross-entropy lost.
        return torch.sigmoid(y.float()) if self.config.sigmoid else y
