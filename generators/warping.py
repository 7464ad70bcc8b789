"""Moving a person into another pose without learning anything: each part of the body goes with its joints.

The body is ten parts (head, torso, upper and lower arms and legs), each with an axis from joint to joint. A part is cut
out of the source along its axis there, by a mask with a soft edge, and laid along its axis in the target pose. What the
person uncovers is filled smoothly from around it. Lengths that belong to the body are in torsos: the distance between
the middle of the shoulders and the middle of the hips.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from generators.tensors import Images, PoseMaps

Points = Float[Tensor, "b 18 2"]  # row, column in pixels; NaN where missing
PartMaps = Float[Tensor, "b p h w"]

JOINTS = 18  # OpenPose's
SHOULDERS, HIPS, FACE = (2, 5), (8, 11), (0, 14, 15, 16, 17)
THRESHOLD = 0.1  # a pose map whose peak is lower shows no joint (PATN's code)

SOFT = 0.12  # torsos: width of a mask's edge
MARGIN = 0.08  # torsos: by how much more than the parts the filling covers ...
WARY = 0.2  # torsos: ... and how far from the parts a pixel must lie for its colour to be used in it
DEPTH = 0.2  # torsos: half the width of a torso that is seen from the side
FILL_SCALES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # pixels
TINY = 1e-3


@dataclass(frozen=True)
class Part:
    """A part of the body, in torsos: its axis runs from the middle of some joints to the middle of others."""

    start: tuple[int, ...]
    end: tuple[int, ...]
    radius: float  # around the axis
    reach: float  # beyond the last joint: hand, foot, crown, seat
    twin: int  # the same part of the other side


# From back to front. A torso is wider than its radius, by half the distance between its shoulders.
PARTS = (
    Part((8,), (9,), 0.20, 0.0, 1),  # thighs, right and left
    Part((11,), (12,), 0.20, 0.0, 0),
    Part((9,), (10,), 0.15, 0.25, 3),  # shins
    Part((12,), (13,), 0.15, 0.25, 2),
    Part(SHOULDERS, FACE, 0.27, 0.2, 4),  # head and neck
    Part(SHOULDERS, HIPS, 0.14, 0.2, 5),  # torso
    Part((2,), (3,), 0.13, 0.0, 7),  # upper arms
    Part((5,), (6,), 0.13, 0.0, 6),
    Part((3,), (4,), 0.11, 0.2, 9),  # forearms
    Part((6,), (7,), 0.11, 0.2, 8),
)
TORSO = 5


@dataclass(frozen=True)
class Axes:
    """The parts of the persons of a batch in one image, in pixels."""

    start: Float[Tensor, "b p 2"]
    direction: Float[Tensor, "b p 2"]  # unit vector towards the end
    length: Float[Tensor, "b p"]
    half_width: Float[Tensor, "b p"]  # of the flat middle of a torso; 0 elsewhere
    side: Float[Tensor, "b p"]  # -1 for a torso that shows its back, else 1
    present: Bool[Tensor, "b p"]
    torso: Float[Tensor, " b"]  # length, at least 1

    @property
    def normal(self) -> Float[Tensor, "b p 2"]:
        """The direction, turned by a right angle."""
        return self.direction.flip(2) * self.direction.new_tensor([-1, 1])

    @property
    def radius(self) -> Float[Tensor, "b p"]:
        return self.torso[:, None] * self.torso.new_tensor([part.radius for part in PARTS])

    @property
    def whole(self) -> Bool[Tensor, " b"]:
        return self.present[:, TORSO]


def read_joints(maps: PoseMaps) -> Points:
    """Find the joints that Gaussians were drawn around: the first maximum, refined by a parabola through logarithms.

    A Gaussian's logarithm is a parabola, so that fractions of a pixel come back exactly, and joints outside of the
    image as far as their Gaussian reaches into it.

    Raises:
        ValueError: a side is shorter than the 3 pixels that a parabola needs.
    """
    height, width = maps.shape[2:]
    if min(height, width) < 3:
        raise ValueError(f"pose maps of {height}x{width} pixels: reading joints takes at least 3x3")
    peak, index = maps.flatten(2).max(2)
    row, column = index // width, index % width
    down = maps.gather(3, column[..., None, None].expand(-1, -1, height, 1)).squeeze(3)
    right = maps.gather(2, row[..., None, None].expand(-1, -1, 1, width)).squeeze(2)
    points = torch.stack([_vertex(down, row), _vertex(right, column)], 2)
    return points.masked_fill((peak <= THRESHOLD)[..., None], torch.nan)


def _vertex(profile: Float[Tensor, "b k n"], peak: Tensor) -> Float[Tensor, "b k"]:
    """Where the parabola through logarithms around the peak is highest; the peak itself where they are all the same."""
    middle = peak.clamp(1, profile.shape[2] - 2)
    values = profile.gather(2, torch.stack([middle - 1, middle, middle + 1], 2))
    before, at, after = values.clamp(min=torch.finfo(values.dtype).tiny).log().unbind(2)
    curvature = 2 * at - before - after
    return torch.where(curvature > 1e-6, middle + (after - before) / (2 * curvature.clamp(min=1e-6)), peak)


def find_axes(points: Points) -> Axes:
    """Where the parts are. One with a missing end is not present; nor is a torso that lacks any of its four joints."""
    present = ~points.isnan().any(2)
    known = points.nan_to_num()
    start, has_start = _middle(known, present, [part.start for part in PARTS])
    end, has_end = _middle(known, present, [part.end for part in PARTS])
    seen = has_start & has_end
    seen[:, TORSO] = present[:, SHOULDERS + HIPS].all(1)

    axis = end - start
    length = axis.norm(dim=2)
    down = axis.new_tensor([1.0, 0.0])  # for a part that points straight at the camera
    direction = torch.where(length[..., None] > TINY, axis / length[..., None].clamp(min=TINY), down)
    torso = length[:, TORSO].clamp(min=1)

    normal = direction[:, TORSO].flip(1) * axis.new_tensor([-1, 1])
    shoulders = ((known[:, 5] - known[:, 2]) * normal).sum(1) / 2
    half_width, side = torch.zeros_like(length), torch.ones_like(length)
    half_width[:, TORSO] = torch.hypot(shoulders, DEPTH * torso)
    side[:, TORSO] = torch.where(shoulders < 0, -1.0, 1.0)
    return Axes(start, direction, length, half_width, side, seen, torso)


def _middle(
    points: Points, present: Bool[Tensor, "b 18"], joints: list[tuple[int, ...]]
) -> tuple[Float[Tensor, "b p 2"], Bool[Tensor, "b p"]]:
    """The mean of those of some joints that are present, and whether any is."""
    members = torch.zeros(len(joints), JOINTS, device=points.device)
    for part, numbers in enumerate(joints):
        members[part, list(numbers)] = 1
    weights = members * present[:, None]
    total = weights.sum(2)
    return (weights[..., None] * points[:, None]).sum(2) / total.clamp(min=1)[..., None], total > 0


def share_face(source: Points, target: Points) -> tuple[Points, Points]:
    """Drop joints of the head that one image lacks, unless no other is left: two heads are laid over common joints."""
    face = list(FACE)
    lacking = (source[:, face] + target[:, face]).isnan().any(2)
    lacking &= ~lacking.all(1, keepdim=True)
    dropped = torch.zeros(source.shape[:2], dtype=torch.bool, device=source.device)
    dropped[:, face] = lacking
    return source.masked_fill(dropped[..., None], torch.nan), target.masked_fill(dropped[..., None], torch.nan)


def borrow(axes: Axes) -> Axes:
    """Replace a limb that is not present by that of the other side: sleeves and trouser legs mostly come in pairs."""
    twins = [part.twin for part in PARTS]
    own, own_points = axes.present, axes.present[..., None]
    return Axes(
        start=torch.where(own_points, axes.start, axes.start[:, twins]),
        direction=torch.where(own_points, axes.direction, axes.direction[:, twins]),
        length=torch.where(own, axes.length, axes.length[:, twins]),
        half_width=axes.half_width,
        side=axes.side,
        present=own | own[:, twins],
        torso=axes.torso,
    )


def warp(source: Images, source_points: Points, target_points: Points) -> Images:
    """Move the person of each source into the target pose. A source is returned as it is unless both show the torso.

    A limb that the source lacks is that of its other side; one that neither side shows, or the target lacks, is left
    out. The background stays where it was.
    """
    size = (source.shape[2], source.shape[3])
    body = find_axes(source_points)
    old, new = (find_axes(points) for points in share_face(source_points, target_points))
    old = borrow(old)

    near = _distance(body, *_coordinates(body, size))
    person = 1 - (1 - _soften(near - MARGIN, body.present)).prod(1, keepdim=True)
    trusted = (1 - _soften(near - WARY, body.present)).prod(1, keepdim=True)
    image = torch.lerp(source, fill(source, trusted), person)

    along, across = _coordinates(new, size)
    masks = _soften(_distance(new, along, across), old.present & new.present)
    places = _places(old, new, along, across)
    grid = 2 * places / places.new_tensor([max(size[1] - 1, 1), max(size[0] - 1, 1)]) - 1
    moved = F.grid_sample(source, grid.flatten(1, 2), padding_mode="border", align_corners=True)
    for part, layer in enumerate(moved.unflatten(2, (len(PARTS), -1)).unbind(2)):
        image = torch.lerp(image, layer, masks[:, part, None])
    return torch.where((body.whole & new.whole)[:, None, None, None], image, source)


def _coordinates(axes: Axes, size: tuple[int, int]) -> tuple[PartMaps, PartMaps]:
    """Each pixel in the axes of each part, in pixels: along from the start, and across."""
    rows = torch.arange(size[0], dtype=axes.start.dtype, device=axes.start.device)[:, None]
    columns = torch.arange(size[1], dtype=axes.start.dtype, device=axes.start.device)
    start, direction, normal = (each[..., None, None].unbind(2) for each in (axes.start, axes.direction, axes.normal))
    down, right = rows - start[0], columns - start[1]
    return down * direction[0] + right * direction[1], down * normal[0] + right * normal[1]


def _distance(axes: Axes, along: PartMaps, across: PartMaps) -> PartMaps:
    """How far outside of a part each pixel lies, in torsos; negative inside. Limbs are capsules, torsos wider ones."""
    reach = axes.length + axes.torso[:, None] * axes.length.new_tensor([part.reach for part in PARTS])
    beyond = along - _between(along, reach)
    beside = (across.abs() - axes.half_width[..., None, None]).clamp(min=0)
    return (torch.hypot(beyond, beside) - axes.radius[..., None, None]) / axes.torso[:, None, None, None]


def _soften(distance: PartMaps, present: Bool[Tensor, "b p"]) -> PartMaps:
    """A mask that falls from 1 to 0 around distance 0."""
    return (0.5 - distance / SOFT).clamp(0, 1) * present[..., None, None]


def _places(old: Axes, new: Axes, along: PartMaps, across: PartMaps) -> Float[Tensor, "b p h w 2"]:
    """The source's (column, row) for each pixel of the target, in each part.

    Between the joints a part is stretched to its new length; beyond them, and across, the person keeps its size.
    """
    scale = (old.torso / new.torso)[:, None, None, None]
    within = _between(along, new.length)
    stretch = (old.length / new.length.clamp(min=TINY))[..., None, None]
    widen = (old.half_width + old.radius) / (new.half_width + new.radius) * old.side * new.side
    along = within * stretch + (along - within) * scale
    across = across * widen[..., None, None]
    start, direction, normal = (each[..., None, None].unbind(2) for each in (old.start, old.direction, old.normal))
    row, column = (start[axis] + along * direction[axis] + across * normal[axis] for axis in (0, 1))
    return torch.stack([column, row], -1)


def _between(along: PartMaps, length: Float[Tensor, "b p"]) -> PartMaps:
    return along.clamp(min=0).minimum(length[..., None, None])


def fill(image: Images, trusted: Float[Tensor, "b 1 h w"]) -> Images:
    """A smooth picture through the trusted pixels (0 to 1): normalised convolution (Knutsson and Westin, CVPR 1993).

    The window is a sum of Gaussians whose weights fall with the cube of their width: near a trusted pixel it sees
    little else, and in the middle of a hole it reaches as far as it must.
    """
    known = trusted.clamp(min=1e-6)  # a picture without any trusted pixel is filled with a blur of itself
    planes = torch.cat([image * known, known], 1)
    total = torch.zeros_like(planes)
    for sigma in FILL_SCALES:
        rows, columns = (_gaussian(length, sigma, image) for length in image.shape[2:])
        total += rows @ planes @ columns / sigma**3
    return total[:, :-1] / total[:, -1:]


def _gaussian(length: int, sigma: float, like: Tensor) -> Float[Tensor, "n n"]:
    places = torch.arange(length, dtype=like.dtype, device=like.device)
    return torch.exp(-((places[:, None] - places) ** 2) / (2 * sigma**2))
