"""What the policies for the target pose show, and which of them covers the poses that are rare.

Question: does `diverse` even out the poses of a data set, and of each of its people, where drawing any training image's
pose does not? As many synthetic images as real ones, of procedural pedestrians who mostly walk towards the camera. The
policy `file` takes 16 poses of other pedestrians: cluster centres of people who also turn, stand and are seen from
behind. Entropies are over 8 pose clusters: the plan's own ones, which `diverse` fills, and others, found with another
seed, which tell what that is worth. The contact sheet is drawn with the shipped generator.

    OMP_NUM_THREADS=1 python -m experiments.pose_coverage --work DIR [--images docs/images]

Expected cost: a minute on one core. Result: docs/experiments.md.
"""

import argparse
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from augment import files, sheets, synthesize, weights
from augment.coverage import evenness, pose_counts
from augment.data import keypoints
from augment.data.feed import Posed
from augment.data.pedestrians import PedestriansConfig, make_data
from augment.data.read import read_data
from augment.data.records import DISTRACTOR
from augment.planning import Budget, draw_plan
from augment.policies import POLICIES, cluster_poses
from augment.posefile import PoseFile, read_poses
from augment.sources import choose_sources
from augment.synthesize import Job, SynthesizeConfig

PEDESTRIANS = PedestriansConfig(identities=64, test_identities=4, per_camera=4, seed=11)
OTHERS = PedestriansConfig(identities=1, test_identities=48, per_camera=3, seed=12)
FILE_POSES = 16
SEEDS = range(5)
OTHER_CLUSTERS = 1000  # added to a plan's seed
PEOPLE, POSES = 2, 3  # in each policy's part of the contact sheet
PART_WIDTH, TITLE = 960, 34  # pixels
CAPTIONS = {
    "random": "any other training image's",
    "same-camera": "one that the source's camera saw",
    "other-identity": "one of somebody else",
    "same-identity": "another one of this person",
    "diverse": "rather those that this person lacks",
    "canonical": "8, for everyone the same",
    "file": "poses of nobody in the data",
    "self": "the source's own, which is one",
}
REAL = "real images alone"
TITLES = {"of_all": "of all images", "of_each": "within an identity (mean)"}
UNITS = "share of the maximum, log 8; bars: the plan's own clusters, diamonds: clusters found with another seed"
COLOURS = {REAL: "#8c959f", "diverse": "#c26a1a"}
Policies = Mapping[str, str | PoseFile]


@dataclass(frozen=True)
class Entropy:
    """Over pose clusters, as a share of its maximum: of all images, and the mean of that of each identity's images."""

    of_all: float
    of_each: float


@dataclass(frozen=True)
class Measured:
    """One plan, by its own clusters and by others."""

    own: Entropy
    other: Entropy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for data")
    parser.add_argument("--images", type=Path, default=None, help="folder for the two pictures; default: WORK")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = make_data(PEDESTRIANS, args.work / "data")
    config = SynthesizeConfig(per_image=1, foreign_generator=True)
    job = synthesize.prepare(config, data, weights.TINY, device="cpu")
    poses = write_poses(make_data(OTHERS, args.work / "others"), args.work / "poses.csv")
    dataset = read_data(data)
    listed = read_poses(poses, dataset, keypoints.dataset_points(dataset), job.split.size)
    policies: Policies = {**{policy: policy for policy in POLICIES}, "file": listed}

    found = {name: [measure(job.split, policy, seed) for seed in SEEDS] for name, policy in policies.items()}
    found = {REAL: [measure(job.split, None, seed) for seed in SEEDS], **found}
    print_table(found)
    folder = args.images or args.work
    print(plot(found, folder / "pose-coverage.png"))
    print(draw(job, policies, folder / "policies.png"))


def write_poses(others: Path, path: Path) -> Path:
    """The poses of another data set's gallery that are closest to the centres of their clusters, as poses of nobody."""
    dataset = read_data(others)
    points = keypoints.dataset_points(dataset)
    people = keypoints.usable([record for record in dataset.gallery if record.pid != DISTRACTOR], points)
    stacked = keypoints.stack(people, points)
    closest = np.sort(cluster_poses(stacked, seed=0, clusters=FILE_POSES).closest)
    return keypoints.write_annotation(path, {f"pose-{i:02d}.jpg": stacked[row] for i, row in enumerate(closest)})


def measure(split: Posed, policy: str | PoseFile | None, seed: int) -> Measured:
    """Of the real images together with one synthetic image of each, or alone where there is no policy."""
    plan = draw_plan(split, policy or "self", Budget(per_image=1), seed)

    def entropy(clusters_seed: int) -> Entropy:
        real, planned = pose_counts(plan, split, cluster_poses(split.points, clusters_seed))
        counts = real + planned if policy else real
        return Entropy(float(evenness(counts.sum(axis=0))), float(evenness(counts).mean()))

    return Measured(entropy(seed), entropy(seed + OTHER_CLUSTERS))


def mean(measured: list[Measured], clusters: str, images: str) -> float:
    return float(np.mean([getattr(getattr(each, clusters), images) for each in measured]))


def print_table(found: Mapping[str, list[Measured]]) -> None:
    """Means over the seeds, as a Markdown table."""
    print("| poses | all images | an identity's, mean | all, other clusters | an identity's, other clusters |")
    print("| --- | --- | --- | --- | --- |")
    for name, measured in found.items():
        cells = (f"{mean(measured, clusters, images):.3f}" for clusters in ("own", "other") for images in TITLES)
        print(f"| {name} | {' | '.join(cells)} |")


def plot(found: Mapping[str, list[Measured]], path: Path) -> Path:
    """A bar a policy under that of the real images."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained", dpi=150)
    figure.suptitle("Entropy over 8 pose clusters: real images alone, and with as many synthetic ones", fontsize=11)
    policies = sorted(found.keys() - {REAL}, key=lambda name: (mean(found[name], "own", "of_all"), name))
    order = [REAL, *policies]
    for axes, (images, title) in zip(figure.subplots(1, 2, sharey=True), TITLES.items(), strict=True):
        values = [mean(found[name], "own", images) for name in order]
        labels = [name if name == REAL else f"+ {name}" for name in order]
        colours = [COLOURS.get(name, "#2f6fb3") for name in order]
        bars = axes.barh(labels, values, color=colours, height=0.7)
        axes.bar_label(bars, fmt="%.2f", padding=9, fontsize=8)
        others = [mean(found[name], "other", images) for name in order]
        axes.plot(others, labels, "d", color="white", markeredgecolor="black", markersize=6)
        axes.axvline(values[0], color="#57606a", linewidth=1, linestyle="--")
        axes.set(xlim=(0, 1.12), xticks=np.linspace(0, 1, 6))
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].invert_yaxis()
    figure.supxlabel(UNITS, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, metadata={"Software": None})
    return files.write_atomic(path, buffer.getvalue())


def draw(job: Job, policies: Policies, path: Path) -> Path:
    """The same people in poses that each policy draws for them; the parts of two policies side by side."""
    seen = Counter(record.pid for record in job.split.records)
    rows = [row for row, record in enumerate(job.split.records) if seen[record.pid] > POSES]
    split = Posed(tuple(job.split.records[row] for row in rows), job.split.pixels[rows], job.split.points[rows])
    parts = [
        part(name, replace(job, split=split, plan=draw_plan(split, policy, Budget(per_image=POSES), seed=0)))
        for name, policy in sorted(policies.items(), key=lambda item: list(CAPTIONS).index(item[0]))
    ]
    lines = [np.concatenate(parts[first : first + 2], axis=1) for first in range(0, len(parts), 2)]
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(lines)).quantize(256).save(buffer, "PNG", optimize=True)
    return files.write_atomic(path, buffer.getvalue())


def part(name: str, job: Job) -> UInt8[np.ndarray, "h w 3"]:
    """A policy's part: a row a person, the source and then each different target pose beside what is generated."""
    rows = []
    visible = np.flatnonzero(choose_sources("most-visible", job.split))
    by_camera = sorted(visible.tolist(), key=lambda row: job.split.records[row].camid)
    for source in np.asarray(by_camera)[np.linspace(0, len(visible) - 1, PEOPLE + 2).astype(int)[1:-1]]:
        planned = np.flatnonzero(job.plan.source_index == source)
        planned = planned[np.unique(job.plan.target_index[planned], return_index=True)[1]]
        cells = [job.split.pixels[source]]
        for row, image in zip(planned, synthesize.generate(job, planned), strict=True):
            target = job.plan.poses[job.plan.target_index[row]]
            cells += [sheets.draw_skeleton(target, job.split.size), image]
        rows.append(cells)
    titles = ("source", *("target pose", "generated") * POSES)[: len(rows[0])]
    with Image.open(io.BytesIO(sheets.contact_sheet(rows, titles))) as opened:
        sheet = Image.new("RGB", (PART_WIDTH, opened.height + TITLE), "white")
        sheet.paste(opened, (0, TITLE))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=22)
    pen.text((4, 6), f"--poses {name}: {CAPTIONS[name]}", fill="black", font=font)
    return np.asarray(sheet)


if __name__ == "__main__":
    main()
