"""Does pose-transfer augmentation help beside random erasing, and if it does not, why?

Question: baseline, + random erasing, + synthetic images, + both, with equal updates and 5 paired seeds. Three more arms
look for the reason. *True renders* are what a perfect generator would make: the plan of the synthetic set, drawn by the
renderer that drew the data. *True renders, test-like* are the same people in poses as the test images have them, which
training images seldom show: seen from the side and from behind, standing, turning. *Self pose* is the generator's
texture without a new pose. Both judges of
`augment score` say how many images of each set they take for the right person, and the accuracy on the training list at
the end says how far each arm has got with it. The generator is the demo's: the shipped weights, fine-tuned on the
training identities; they have seen 500 other procedural identities, the baseline has not.

    OMP_NUM_THREADS=1 python -m experiments.erasing_and_synthetic --work DIR [--epochs N] [--seeds N] [--jobs N]

Expected cost: five seconds on one core for each epoch of each of 29 trainings, and ten minutes for generator, sets and
judges. Running it again continues it. Result: docs/experiments.md.
"""

import argparse
import csv
import multiprocessing
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from augment import report, scoring, store, synthesize, train_generator, train_reid, weights
from augment.comparison import compare
from augment.data.pedestrians import PedestriansConfig, Pose, make_data, plan, portray, sample_heading, sample_pose
from augment.data.pedestrians.dataset import ACTIVITIES, MIX
from augment.data.pedestrians.skeleton import VIEWS
from augment.files import read_json
from augment.plan import UNKNOWN, Plan
from augment.report import Trial
from augment.scoring import ScoreConfig
from augment.synthesize import SynthesizeConfig
from augment.train_generator import TrainGeneratorConfig
from augment.train_reid import TrainReidConfig
from generators.registry import create_recipe
from reid.mixing import MixPolicy
from reid.training import ReidConfig

PEDESTRIANS = PedestriansConfig(identities=64, test_identities=48, per_camera=3)
PER_IMAGE = 2
GENERATED, SELF_POSE, TRUE, TEST_LIKE = "generated", "self-pose", "true-renders", "test-like-renders"
ERASING = 0.5
TRAINING = ReidConfig(model="osnet_x0_25", height=128, width=64, batch=16, learning_rate=1.5e-3, schedule="cosine")


@dataclass(frozen=True)
class Arm:
    """What the re-ID network is trained with beside the real images."""

    name: str
    synthetic: str | None = None
    erase: float = 0.0


@dataclass(frozen=True)
class Study:
    """Where it lies, and how long it is."""

    work: Path
    epochs: int
    seeds: int

    def folder(self, arm: Arm, seed: int) -> Path:
        name = f"{arm.synthetic or 'real'}{'-erasing' if arm.erase else ''}-seed{seed}"
        return self.work / f"reid-{self.epochs}" / name

    def seeds_of(self, arm: Arm) -> range:
        return range(min(self.seeds, REASON_SEEDS) if arm in REASONS else self.seeds)

    def trials(self, arm: Arm, seeds: range) -> list[Trial]:
        return [Trial(arm.name, seed, read_json(self.folder(arm, seed) / "results.json")) for seed in seeds]

    def accuracy(self, arm: Arm) -> float:
        """Share of the last epoch's training images that were classified right, mean over the seeds."""
        return float(np.mean([self._accuracy(arm, seed) for seed in self.seeds_of(arm)]))

    def _accuracy(self, arm: Arm, seed: int) -> float:
        with (self.folder(arm, seed) / "epochs.csv").open(newline="", encoding="utf-8") as file:
            return float(list(csv.DictReader(file))[-1]["accuracy"])


BASELINE = Arm("real")
ERASED = Arm("real, erasing", None, ERASING)
ASKED = (BASELINE, ERASED, Arm("+ synthetic", GENERATED), Arm("+ synthetic, erasing", GENERATED, ERASING))
REASONS = (
    Arm("+ true renders", TRUE),
    Arm("+ true renders, test-like", TEST_LIKE),
    Arm("+ self pose", SELF_POSE),
)
REASON_SEEDS = 3  # the first ones
ARMS = (*ASKED, *REASONS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for data, sets and runs")
    parser.add_argument("--epochs", type=int, default=40, help="passes over the real images, of every arm")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    args = parser.parse_args()
    torch.set_num_threads(1)
    make_sets(args.work)
    study = Study(args.work, args.epochs, args.seeds)
    tasks = [
        (arm, seed)
        for arms in (ASKED, REASONS)
        for seed in range(args.seeds)
        for arm in arms
        if seed in study.seeds_of(arm)
    ]
    with ProcessPoolExecutor(args.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        started = [pool.submit(partial(train, study), *task) for task in tasks]
        for finished in as_completed(started):
            print(finished.result(), flush=True)
    print_table(study)
    print_judgement(args.work)
    print(write_report(study))


def make_sets(work: Path) -> None:
    """The data, and the four sets, which share sources and counts."""
    data = make_data(PEDESTRIANS, work / "data")
    options = {"images": 1_600, "learning_rate": 3e-4, "decay": 1.0}
    recipe = create_recipe("dptn", "tiny", training=options)
    wanted = TrainGeneratorConfig(recipe, flip=True, same_camera=True, init=weights.TINY, foreign_init=True)
    generator = train_generator.run(wanted, data, work / "generator", device="cpu", log=print)
    config = SynthesizeConfig(per_image=PER_IMAGE)
    synthesize.run(config, data, generator, work / f"{GENERATED}.h5", device="cpu", log=print)
    self_pose = replace(config, poses="self")
    synthesize.run(self_pose, data, generator, work / f"{SELF_POSE}.h5", device="cpu", log=print)
    job = synthesize.prepare(config, data, generator, device="cpu")
    nowhere = replace(job.plan, target_index=np.full(len(job.plan), UNKNOWN))
    for name, wanted, images in (
        (TRUE, job.plan, true_renders(job.plan)),
        (TEST_LIKE, nowhere, test_like_renders(job.plan)),
    ):
        path = work / f"{name}.h5"
        if not path.exists():
            provenance = job.provenance | {"generator": {"model": "renderer", "preset": name, "weights_sha256": None}}
            store.write_set(path, wanted, provenance, images)
        if store.Reader(path).attributes["plan_sha256"] != wanted.sha256:
            raise SystemExit(f"{path}: of another plan; remove it")


def true_renders(wanted: Plan) -> Iterator[UInt8[np.ndarray, "1 h w 3"]]:
    """Each row of the plan as the renderer draws it: the source's person and camera, the target's pose."""
    people = np.unique(wanted.pid).tolist()
    poses = {take.name: take.pose for person in people for take in plan(PEDESTRIANS, "train", person)}
    for row, (source, target) in enumerate(zip(wanted.source_index, wanted.target_index, strict=True)):
        yield render(wanted.files[source], poses[wanted.files[target]], row)[None]


def test_like_renders(wanted: Plan) -> Iterator[UInt8[np.ndarray, "1 h w 3"]]:
    """The sources of the plan in poses drawn as those of test images are."""
    views, activities = MIX["test"]
    for row, source in enumerate(wanted.source_index):
        rng = np.random.default_rng([2, row])
        heading = sample_heading(rng, str(rng.choice(VIEWS, p=views)))
        yield render(wanted.files[source], sample_pose(rng, heading, str(rng.choice(ACTIVITIES, p=activities))), row)[
            None
        ]


def render(source: str, pose: Pose, row: int) -> UInt8[np.ndarray, "h w 3"]:
    named = re.match(r"(\d+)_c(\d+)", source)
    assert named is not None
    return portray(PEDESTRIANS, int(named[1]), int(named[2]) - 1, pose, np.random.default_rng([1, row]))


def train(study: Study, arm: Arm, seed: int) -> str:
    """One training and its evaluation; what it found, as a line."""
    torch.set_num_threads(1)
    training = replace(TRAINING, epochs=study.epochs, seed=seed, erase=arm.erase)
    sets = [study.work / f"{arm.synthetic}.h5"] if arm.synthetic else []
    config = TrainReidConfig(training, MixPolicy(1.0 if sets else 0.0, seed=seed), "iterations")
    found = read_json(train_reid.run(config, study.work / "data", study.folder(arm, seed), sets, device="cpu"))
    return f"{arm.name}, seed {seed}: mAP {found['mAP']:.1%}, rank-1 {found['cmc']['1']:.1%}"


def print_table(study: Study) -> None:
    """Mean and standard deviation over the seeds, and differences with 95 % intervals, as a Markdown table."""
    print("| arm | seeds | mAP | rank-1 | mAP against real | against real, erasing | training accuracy |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for arm in ARMS:
        seeds = study.seeds_of(arm)
        own = study.trials(arm, seeds)
        scores = ([trial.results["mAP"] for trial in own], [trial.results["cmc"]["1"] for trial in own])
        cells = [str(len(seeds))]
        cells += [f"{100 * np.mean(values):.1f} ± {100 * np.std(values, ddof=1):.1f}" for values in scores]
        cells += ["" if arm == base else gain(study.trials(base, seeds), own) for base in (BASELINE, ERASED)]
        print(f"| {arm.name} | {' | '.join(cells)} | {study.accuracy(arm):.0%} |")


def gain(base: list[Trial], own: list[Trial]) -> str:
    """Points of mAP, with the interval over identities and seeds."""
    found = compare([trial.results for trial in base], [trial.results for trial in own])
    return f"{100 * found.mean:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"


def print_judgement(work: Path) -> None:
    """How many images of each set the judges take for their person, and how far they are from their sources."""
    config = ScoreConfig(scores=("identity_similarity", "identity_margin", "source_distance"))
    print("| set | taken for the right person | margin, mean | distance to the source, mean |")
    print("| --- | --- | --- | --- |")
    for name in (GENERATED, SELF_POSE, TRUE, TEST_LIKE):
        path = work / f"{name}.h5"
        scoring.run(config, path, work / "data", reid=work / "judges", device="cpu")
        scores = store.Reader(path).scores
        margin, distance = (scores[column].values for column in ("identity_margin", "source_distance"))
        print(f"| {name} | {np.mean(margin > 0):.1%} | {np.nanmean(margin):+.3f} | {np.nanmean(distance):.3f} |")


def write_report(study: Study) -> Path:
    page = study.work / f"report-{study.epochs}.html"
    note = f"All arms have the same seeds and as many updates as {study.epochs} passes over the real images take."
    trials = [trial for arm in ASKED for trial in study.trials(arm, study.seeds_of(arm))]
    return report.run(trials, BASELINE.name, page, title="Random erasing and synthetic images", note=note)


if __name__ == "__main__":
    main()
