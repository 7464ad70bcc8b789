"""Which poses the real training images have and which ones the synthetic sets add, as a drawing."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from augment import coverage, policies, report_plots
from augment.data import keypoints
from augment.data.records import DataSet
from augment.report_page import Plot
from augment.store import Reader

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SEED = 0  # of the clusters
REAL = "real images"
SQUEEZE = 1.5  # places that a person as wide as high would take
CAPTION = (
    "How many of the real training images, and of each synthetic set, show a pose of each kind. The kinds are clusters "
    "of the real images' poses (k-means); drawn is the real image that is closest to the middle of each. In brackets: "
    "how even the shares are, 1 where all kinds are equally frequent."
)


def plot(dataset: DataSet, sets: Sequence[tuple[str, Reader]]) -> Plot:
    """The share of each pose cluster among the real images and in each set, by its label; of poses that are known.

    Raises:
        ValueError: the data have no key points.
    """
    points = keypoints.dataset_points(dataset)
    real = keypoints.stack(keypoints.usable(dataset.train, points), points)
    clusters = policies.cluster_poses(real, SEED)
    kinds = len(clusters.centres)
    counts = {REAL: np.bincount(clusters.labels, minlength=kinds)}
    for label, held in sets:
        poses = held.target_pose
        if len(known := poses[keypoints.has_torso(poses)]):
            counts[label] = np.bincount(clusters.of(known), minlength=kinds)
    unknown = "".join(f" No pose is known of the {label}." for label, _ in sets if label not in counts)
    order = np.argsort(-counts[REAL], kind="stable")
    shares = {label: 100 * values[order] / values.sum() for label, values in counts.items()}
    spoken = (f"{label}: {', '.join(f'{share:.0f}' for share in values)} %" for label, values in shares.items())
    with report_plots.drawing(3.8 + 0.17 * len(shares), (3, 1)) as (figure, (axes, persons)):
        places = np.arange(kinds)
        for number, (label, values) in enumerate(shares.items()):
            colour, _, marker = report_plots.look(number)
            even = f"{label} ({coverage.evenness(counts[label]).item():.2f})"
            if label == REAL:
                axes.bar(places, values, color="#c9d1d9", label=even)
            else:
                beside = places + 0.6 * (number / len(shares) - 0.5)
                axes.plot(beside, values, color=colour, linestyle="none", marker=marker, label=even)
        axes.set_ylabel("share of images, %")
        axes.set_xticks([])
        for place, kind in enumerate(order.tolist()):
            _draw(persons, real[clusters.closest[kind]], place)
        persons.set_xlim(axes.get_xlim())
        persons.axis("off")
        report_plots.explain(figure, axes)
        alt = f"Share of images by kind of pose. {'; '.join(spoken)}"
        return Plot(report_plots.svg(figure, "poses"), alt, CAPTION + unknown)


def _draw(axes: "Axes", points: Float[np.ndarray, "18 2"], place: int) -> None:
    """A person as lines, as high as any other and half as wide as the place that it stands at."""
    there = points[~np.isnan(points).any(axis=1)]
    top, height = there[:, 0].min(), max(1.0, np.ptp(there[:, 0]).item())
    for ends in points[list(map(list, keypoints.LIMBS))]:
        if not np.isnan(ends).any():
            across = place + (ends[:, 1] - there[:, 1].mean()) / height * SQUEEZE
            axes.plot(across, (top - ends[:, 0]) / height, color=report_plots.GREY, linewidth=1.2)
