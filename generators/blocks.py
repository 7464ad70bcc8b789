"""The blocks of DPTN: pre-activated convolutions and attention over tokens, after Zhang et al., CVPR 2022.

"Exploring Dual-task Correlation for Pose Guided Person Image Generation", arXiv 2203.02910. Every normalisation is an
affine instance norm over positions, every activation LeakyReLU(0.1), every convolution has a bias.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from generators.tensors import Maps, SourceTokens, Tokens

SLOPE = 0.1


def activate(x: Tensor) -> Tensor:
    """LeakyReLU in place: `x` is a fresh result that nobody else reads. Saves a map of memory per use in training."""
    return F.leaky_relu(x, SLOPE, inplace=True)


def to_tokens(maps: Maps) -> Tokens:
    """Positions in row-major order, one token each."""
    return maps.flatten(2).transpose(1, 2)


def to_maps(tokens: Tokens, height: int, width: int) -> Maps:
    return tokens.transpose(1, 2).unflatten(2, (height, width))


class DownBlock(nn.Module):
    """Halve the size: [norm, act,] conv 4x4 stride 2, norm, act, conv 3x3. An encoder's first has no [...]."""

    def __init__(self, inputs: int, outputs: int, *, first: bool) -> None:
        super().__init__()
        self.norm1 = None if first else nn.InstanceNorm2d(inputs, affine=True)
        self.conv1 = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1)
        self.norm2 = nn.InstanceNorm2d(outputs, affine=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Maps) -> Float[Tensor, "b d h//2 w//2"]:
        if self.norm1 is not None:
            x = activate(self.norm1(x))
        return self.conv2(activate(self.norm2(self.conv1(x))))


class ResidualBlock(nn.Module):
    """Keep the size: two pre-activated 3x3 convolutions plus a 1x1 convolution as the shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.InstanceNorm2d(channels, affine=True)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.InstanceNorm2d(channels, affine=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Maps) -> Maps:
        y = self.conv1(activate(self.norm1(x)))
        return self.conv2(activate(self.norm2(y))) + self.shortcut(x)


class UpBlock(nn.Module):
    """Double the size: pre-activated conv 3x3 and transposed conv 3x3, plus a transposed conv as the shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1 = nn.InstanceNorm2d(inputs, affine=True)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = nn.InstanceNorm2d(outputs, affine=True)
        self.conv2 = nn.ConvTranspose2d(outputs, outputs, 3, stride=2, padding=1, output_padding=1)
        self.shortcut = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)

    def forward(self, x: Maps) -> Float[Tensor, "b d 2*h 2*w"]:
        y = self.conv1(activate(self.norm1(x)))
        return self.conv2(activate(self.norm2(y))) + self.shortcut(x)


class OutputBlock(nn.Module):
    """Features to an image in [-1, 1]: act, reflection-padded conv 3x3, tanh."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")

    def forward(self, x: Maps) -> Float[Tensor, "b d h w"]:
        return torch.tanh(self.conv(F.leaky_relu(x, SLOPE)))


class TokenNorm(nn.InstanceNorm1d):
    """Instance norm of each channel over the tokens (a layer norm would run over the channels of each token)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, input: Tokens) -> Tokens:
        return super().forward(input.transpose(1, 2)).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head attention with the weights of query, key and value stacked, as in nn.MultiheadAttention."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_bias = nn.Parameter(torch.empty(3 * channels))
        self.out = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.in_weight)
        nn.init.zeros_(self.in_bias)

    def forward(self, query: Tokens, key: SourceTokens, value: SourceTokens) -> Tokens:
        q, k, v = self._heads(query, key, value)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    def weights(self, query: Tokens, key: SourceTokens) -> Float[Tensor, "b heads n m"]:
        """The weights of the values, which `forward` never holds as a whole. Each row sums to 1."""
        q, k = self._heads(query, key)
        return (q @ k.transpose(2, 3) / q.shape[3] ** 0.5).softmax(3)

    def _heads(self, *inputs: Float[Tensor, "b _ c"]) -> list[Float[Tensor, "b heads _ d"]]:
        """Query, key and value, or the first of these, split into heads."""
        parts = zip(inputs, self.in_weight.chunk(3), self.in_bias.chunk(3), strict=False)
        return [F.linear(x, w, b).unflatten(2, (self.heads, -1)).transpose(1, 2) for x, w, b in parts]


class FeedForward(nn.Module):
    """The token-wise network of a transformer layer; its hidden width equals its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(channels, channels)
        self.linear2 = nn.Linear(channels, channels)

    def forward(self, x: Tokens) -> Tokens:
        return self.linear2(activate(self.linear1(x)))


class ContextBlock(nn.Module):
    """The paper's context augment block (CAB): self-attention over the source features, post-norm."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(channels, heads)
        self.norm1 = TokenNorm(channels)
        self.feed_forward = FeedForward(channels)
        self.norm2 = TokenNorm(channels)

    def forward(self, x: Tokens) -> Tokens:
        x = self.norm1(x + self.attention(x, x, x))
        return self.norm2(x + self.feed_forward(x))


class TransferBlock(nn.Module):
    """The paper's texture transfer block (TTB): target features ask the source memory and receive source texture."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.self_attention = Attention(channels, heads)
        self.norm1 = TokenNorm(channels)
        self.cross_attention = Attention(channels, heads)
        self.norm2 = TokenNorm(channels)
        self.feed_forward = FeedForward(channels)
        self.norm3 = TokenNorm(channels)

    def forward(self, x: Tokens, memory: SourceTokens, texture: SourceTokens) -> Tokens:
        x = self._attend_to_itself(x)
        x = self.norm2(x + self.cross_attention(x, memory, texture))
        return self.norm3(x + self.feed_forward(x))

    def correspondence(self, x: Tokens, memory: SourceTokens) -> Float[Tensor, "b n m"]:
        """How much of its texture each target token receives from each source token, mean over the heads."""
        return self.cross_attention.weights(self._attend_to_itself(x), memory).mean(1)

    def _attend_to_itself(self, x: Tokens) -> Tokens:
        return self.norm1(x + self.self_attention(x, x, x))
