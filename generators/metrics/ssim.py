"""Structural similarity (Wang et al., IEEE TIP 2004) in the three ways that papers on pose transfer compute it.

All are means over windows that lie wholly inside the image, and over the channels; only the protocol makes two numbers
comparable. The values are those of scikit-image's `structural_similarity`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from generators.tensors import Pixels

BLOCK = 16  # outputs of a window that one matrix product yields; near the window's size it wastes few products
CHUNK = 64  # images at once
CPU_CHUNK = 1  # of which the float64 planes just fit into the second-level cache


@dataclass(frozen=True)
class Protocol:
    """What the name of an SSIM fixes."""

    radius: int  # of the window, in pixels
    sigma: float | None = None  # of a Gaussian window, in pixels; None: all pixels of the window weigh the same
    data_range: int | None = None  # grey levels; None: the generated image's largest minus its smallest
    sample_covariance: bool = False  # divide by n - 1 instead of n


PROTOCOLS: dict[str, Protocol] = {
    "patn": Protocol(radius=5, sigma=1.5),  # PATN's code, and ssim_256 in DPTN's
    "standard": Protocol(radius=5, sigma=1.5, data_range=255),
    "pg2": Protocol(radius=3, data_range=255, sample_covariance=True),
}


@dataclass(frozen=True)
class _Band:
    """Some outputs of a window that runs along an axis, as a matrix times the inputs that they need."""

    outputs: slice
    inputs: slice
    weights: Float[Tensor, "outputs inputs"]


def ssim(
    generated: Pixels,
    real: Pixels,
    protocol: str = "patn",
    mask: Bool[Tensor, "b h w"] | None = None,
    dtype: torch.dtype = torch.float64,
) -> Float[Tensor, " b"]:
    """One similarity an image: 1 for equal images, about 0 for unrelated ones.

    Under `patn` the images are not interchangeable: the contrast of `generated` sets how much noise is forgiven. Its
    data range is taken as at least one grey level, so that a constant image has a similarity too. With `mask` both
    images are black outside of it before anything is computed: the papers' mask-SSIM. In float32 nearly twice as
    fast, but off by 1e-5 in street scenes, and by up to 1e-3 where most of the image is white.

    Raises:
        ValueError: the protocol is unknown, or the images are smaller than its window.
    """
    if mask is not None:
        generated, real = generated * mask[..., None], real * mask[..., None]
    return torch.cat([values.mean((1, 2, 3)) for values in _maps(generated, real, protocol, dtype, inside=True)])


def mask_ssim(
    generated: Pixels, real: Pixels, mask: Bool[Tensor, "b h w"], protocol: str = "patn"
) -> Float[Tensor, " b"]:
    """`ssim` of both images made black outside of `mask`. What is black in both counts as perfectly similar.

    Raises:
        ValueError: see `ssim`.
    """
    return ssim(generated, real, protocol, mask)


def ssim_in_mask(
    generated: Pixels,
    real: Pixels,
    mask: Bool[Tensor, "b h w"],
    protocol: str = "patn",
    dtype: torch.dtype = torch.float64,
) -> Float[Tensor, " b"]:
    """The similarity of the whole images, averaged over the windows whose middle is in `mask`; NaN for an empty mask.

    Windows that reach over the border see the image mirrored there.

    Raises:
        ValueError: see `ssim`.
    """
    maps = torch.cat([values.mean(2) for values in _maps(generated, real, protocol, dtype, inside=False)])
    weights = mask.transpose(1, 2).to(dtype)
    return (maps * weights).sum((1, 2)) / weights.sum((1, 2))


def _maps(
    generated: Pixels, real: Pixels, protocol: str, dtype: torch.dtype, *, inside: bool
) -> Iterator[Float[Tensor, "n v 3 u"]]:
    """Similarity of each window, a few images at a time, columns before rows; `inside`: no window over the border.

    What is yielded is overwritten by the next.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown SSIM protocol {protocol!r}: expected one of {', '.join(PROTOCOLS)}")
    rule = PROTOCOLS[protocol]
    height, width = generated.shape[1:3]
    side = 2 * rule.radius + 1
    if min(height, width) < side:
        raise ValueError(
            f"images of {height}x{width} pixels are smaller than the window of SSIM protocol {protocol}, "
            f"{side}x{side}; give larger images"
        )
    levels = torch.full((len(generated),), rule.data_range or 0, dtype=dtype, device=generated.device)
    if rule.data_range is None:
        levels = (generated.amax((1, 2, 3)).to(dtype) - generated.amin((1, 2, 3)).to(dtype)).clamp_(min=1)
    # Instead of dividing the covariances by n - 1, their constant is multiplied by (n - 1) / n.
    shrink = (side**2 - 1) / side**2 if rule.sample_covariance else 1.0
    c1, c2 = (0.01 * levels) ** 2, (0.03 * levels) ** 2 * shrink

    chunk = CPU_CHUNK if generated.device.type == "cpu" else CHUNK
    window: _Window | None = None
    for x, y, *constants in zip(*(part.split(chunk) for part in (generated, real, c1, c1 + c2)), strict=True):
        if window is None or window.images != len(x):
            window = _Window(rule, (len(x), height, width), dtype, x.device, inside)
        yield window.similarity(x, y, *constants)


class _Window:
    """Similarity in the windows of image pairs of one shape.

    The window is separable, and each pass a few matrix products. The four planes of all images lie side by side, so
    that the first product contracts the rows of everything at once; it leaves them transposed, which makes the columns
    the next to be contracted. Neither pass has to move a pixel's channels apart. All memory is two buffers used in
    turn, small enough for a CPU's second-level cache; their slices are made once, as that takes longer than using them.
    """

    def __init__(
        self, rule: Protocol, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device, inside: bool
    ) -> None:
        self.images, height, width = shape
        rows, columns = (_bands(rule, length, dtype, device, inside) for length in (height, width))
        u, v = rows[-1].outputs.stop, columns[-1].outputs.stop
        count = 4 * self.images
        buffers = torch.empty(2, count * height * width * 3, dtype=dtype, device=device)

        planes = buffers[0].view(height, -1)
        self.inputs = planes.view(height, 4, self.images, width * 3).unbind(1)
        down = buffers[1, : count * width * 3 * u].view(-1, u)
        self.first = [(planes.T[:, b.inputs], b.weights.T, down[:, b.outputs]) for b in rows]
        stack = down.view(count, width, 3 * u)
        across = buffers[0, : count * v * 3 * u].view(count, v, 3 * u)
        self.second = [(b.weights.expand(count, -1, -1), stack[:, b.inputs], across[:, b.outputs]) for b in columns]
        self.moments = across.view(4, self.images, v, 3, u).unbind(0)
        self.spare = buffers[1, : self.moments[0].numel()].view_as(self.moments[0])

    def similarity(
        self, x: Pixels, y: Pixels, c1: Float[Tensor, " n"], both: Float[Tensor, " n"]
    ) -> Float[Tensor, "n v 3 u"]:
        """Wang's equation 13, columns before rows. Overwritten by the next call.

        `both` is c1 + c2. It is added before the windows are taken, which costs nothing there: their weights sum to 1.
        """
        first, second, squares, product = self.inputs
        first.copy_(x.flatten(2).transpose(0, 1))
        second.copy_(y.flatten(2).transpose(0, 1))
        torch.addcmul(both[:, None], first, first, out=squares).addcmul_(second, second)
        torch.addcmul(both[:, None], first, second, value=2, out=product)
        for planes, weights, out in self.first:
            torch.mm(planes, weights, out=out)
        for weights, planes, out in self.second:
            torch.bmm(weights, planes, out=out)

        mean_x, mean_y, squares, product = self.moments
        c1 = c1.view(-1, 1, 1, 1)
        means = torch.addcmul(c1, mean_x, mean_y, value=2, out=self.spare)
        numerator = product.sub_(means).mul_(means)  # (2 covariance + c2) (2 means + c1)
        means = torch.addcmul(c1, mean_x, mean_x, out=self.spare).addcmul_(mean_y, mean_y)
        return numerator.div_(squares.sub_(means).mul_(means))


def _bands(rule: Protocol, length: int, dtype: torch.dtype, device: torch.device, inside: bool) -> list[_Band]:
    """The window along an axis, BLOCK outputs at a time; beyond the ends the axis is mirrored (d c b a | a b c d)."""
    radius = rule.radius
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    taps = torch.ones_like(offsets) if rule.sigma is None else torch.exp(-(offsets**2) / (2 * rule.sigma**2))
    places = torch.arange(length)[:, None] + offsets.long()
    places = torch.where(places < 0, -1 - places, places)
    places = torch.where(places >= length, 2 * length - 1 - places, places)
    matrix = torch.zeros(length, length, dtype=torch.float64)
    matrix.scatter_add_(1, places, (taps / taps.sum()).expand(length, -1))

    bands = []
    margin = radius if inside else 0
    for start in range(margin, length - margin, BLOCK):
        stop = min(start + BLOCK, length - margin)
        inputs = slice(max(0, start - radius), min(length, stop + radius))
        weights = matrix[start:stop, inputs].to(device, dtype).contiguous()
        bands.append(_Band(slice(start - margin, stop - margin), inputs, weights))
    return bands
