"""The whole chain on procedural pedestrians: data, generator, synthetic set, re-ID with and without it, report.

Every stage is the one that its own command runs; each continues or is skipped when the demo is started again.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from augment import evaluate_reid, files, report, runs, synthesize, train_generator, train_reid, weights
from augment.data.pedestrians import PedestriansConfig, make_data
from augment.evaluate_reid import EvaluateReidConfig
from augment.report import Sheet, Trial
from augment.synthesize import SynthesizeConfig
from augment.train_generator import TrainGeneratorConfig
from augment.train_reid import TrainReidConfig
from generators.registry import create_recipe
from reid.mixing import MixPolicy
from reid.training import ReidConfig

STAGE = "demo"
BASELINE, MIXED = "real only", "real + synthetic"
RANKED, RANKED_QUERIES = "ranked.jpg", 8
Bar = Callable[[str, str], AbstractContextManager[Callable[[int, int], None]]]


@dataclass(frozen=True)
class DemoConfig:
    """Sizes of the demo. Both arms are trained for the same number of updates."""

    identities: int = 64
    test_identities: int = 48
    per_camera: int = 3
    generator_images: int = 1_600  # fine-tuning of the shipped weights
    per_image: int = 2
    ratio: float = 1.0
    epochs: int = 20
    seeds: int = 2
    from_scratch: bool = False
    seed: int = 0


QUICK = DemoConfig(identities=24, test_identities=16, generator_images=320, epochs=8)
FROM_SCRATCH_IMAGES = 80_000  # what the shipped weights have seen


def run(
    config: DemoConfig,
    out: Path,
    *,
    device: str = "auto",
    force: bool = False,
    bar: Bar,
    log: Callable[[str], None] = lambda line: None,
) -> tuple[Path, str]:
    """Run what is not done yet; the report's path and the table for a terminal.

    Raises:
        ValueError: `out` holds a demo of another configuration or something else.
        Preempted: stopped by SIGTERM, after saving.
    """
    report.require_plotting()
    folder = runs.open_run(out, STAGE, asdict(config), force=force)
    page = out / "report.html"
    if folder.finished and page.exists():
        log("already done")
        return page, _table(_trials(config, out))

    data = _data(config, out, bar)
    generator = _generator(config, data, out, device, bar, log)
    synthetic = out / "synthetic.h5"
    with bar("3/5 synthesizing", "img") as progress:
        synthesize.run(
            SynthesizeConfig(per_image=config.per_image, seed=config.seed),
            data, generator, synthetic, device=device, sheet=out / "synthetic.png", progress=progress, log=log,
        )  # fmt: skip
    for arm, seed in _grid(config):
        sets = [synthetic] if arm == MIXED else []
        with bar(f"4/5 re-ID, {arm}, seed {seed}", "img") as progress:
            train_reid.run(
                _reid(config, seed, bool(sets)), data, _trial_folder(out, arm, seed), sets,
                device=device, progress=progress, log=log,
            )  # fmt: skip

    log("5/5 report")
    ranked = evaluate_reid.run(
        EvaluateReidConfig(), data, _trial_folder(out, MIXED, 0), sheet=out / RANKED, sheet_queries=RANKED_QUERIES,
        synthetic=[synthetic], device=device,
    )  # fmt: skip
    trials = _trials(config, out)
    report.run(
        trials,
        BASELINE,
        page,
        title="Does pose-transfer augmentation help? Procedural pedestrians",
        note=_note(config),
        sheets=_sheets(out, generator.parent, ranked["synthetic_neighbours"]),
        provenance=_provenance(config, out, generator),
    )  # fmt: skip
    table = _table(trials)
    differences = report.compare_arms(trials, BASELINE)
    folder.finish({"schema": 1, "differences": {measure: vars(found) for (_, measure), found in differences.items()}})
    return page, table


def _data(config: DemoConfig, out: Path, bar: Bar) -> Path:
    pedestrians = PedestriansConfig(
        identities=config.identities,
        test_identities=config.test_identities,
        per_camera=config.per_camera,
        seed=config.seed,
    )
    with bar("1/5 drawing pedestrians", "img") as progress:
        return make_data(pedestrians, out / "data", progress=progress)


def _generator(config: DemoConfig, data: Path, out: Path, device: str, bar: Bar, log: Callable[[str], None]) -> Path:
    images = FROM_SCRATCH_IMAGES if config.from_scratch else config.generator_images
    shipped = None if config.from_scratch else weights.TINY
    fine_tuning = {} if config.from_scratch else FINE_TUNING
    recipe = create_recipe("dptn", "tiny", training={"images": images, "seed": config.seed, **fine_tuning})
    wanted = TrainGeneratorConfig(recipe, flip=True, same_camera=True, init=shipped, foreign_init=True)
    with bar("2/5 training the generator", "img") as progress:
        return train_generator.run(wanted, data, out / "generator", device=device, progress=progress, log=log)


FINE_TUNING: dict[str, Any] = {"learning_rate": 3e-4, "decay": 1.0}


def _reid(config: DemoConfig, seed: int, mixed: bool) -> TrainReidConfig:
    training = ReidConfig(
        model="osnet_x0_25",
        height=128,
        width=64,
        epochs=config.epochs,
        batch=16,
        learning_rate=1.5e-3,
        schedule="cosine",
        seed=config.seed + seed,
    )
    return TrainReidConfig(training, MixPolicy(config.ratio if mixed else 0.0, seed=config.seed + seed), "iterations")


def _grid(config: DemoConfig) -> list[tuple[str, int]]:
    return [(arm, seed) for seed in range(config.seeds) for arm in (BASELINE, MIXED)]


def _trial_folder(out: Path, arm: str, seed: int) -> Path:
    return out / "reid" / f"{'mixed' if arm == MIXED else 'real'}-seed{seed}"


def _trials(config: DemoConfig, out: Path) -> list[Trial]:
    return [
        Trial(arm, seed, files.read_json(_trial_folder(out, arm, seed) / "results.json"))
        for arm, seed in sorted(_grid(config), key=lambda pair: (pair[0] == MIXED, pair[1]))
    ]


def _table(trials: list[Trial]) -> str:
    return report.table(trials, BASELINE)


def _note(config: DemoConfig) -> str:
    shared = (
        "Both arms have the same number of updates. The interval covers test identities and training seeds of this one "
        "data set and this one generator."
    )
    if config.from_scratch:
        return shared + " The generator was trained on this data's training identities alone."
    return shared + (
        " The generator starts from shipped weights that have seen 500 other procedural identities, which the "
        "real-only arm has not; --from-scratch does without."
    )


def _sheets(out: Path, generator: Path, neighbours: Mapping[str, Any]) -> list[Sheet]:
    held_out = (
        "Held-out identities, on which neither generator nor re-ID model was trained: source image, target pose, "
        "generated image, true image of the same person in that pose."
    )
    made = (
        "Training identities in poses of other training images. The true image is shown where the pose is one of the "
        "same person; its camera may be another one, while a generated image keeps its source's."
    )
    ranked = (
        f"What test queries, from the worst to the best, find with the first model that was trained on {MIXED}: the "
        "gallery's images, and among them for this picture alone those of the synthetic set, which show training "
        f"identities and which no score includes. On average {neighbours['mean']:.1f} of the first "
        f"{neighbours['first']} images of a query are synthetic: the closer they come, the more they look like real "
        "ones to the model."
    )
    return [
        Sheet("People the generator has never seen", held_out, generator / "held-out.png"),
        Sheet("The synthetic set", made, out / "synthetic.png"),
        Sheet("What queries find", ranked, out / RANKED),
    ]


def _provenance(config: DemoConfig, out: Path, generator: Path) -> dict[str, str]:
    header = files.read_json(out / "config.json")
    return {
        "configuration": ", ".join(f"{key} {value}" for key, value in asdict(config).items()),
        "generator starts from": "noise" if config.from_scratch else f"shipped weights {files.sha256(weights.TINY)}",
        "generator weights, SHA-256": files.sha256(generator),
        "synthetic set, SHA-256": files.sha256(out / "synthetic.h5"),
        "begun": header["created"],
        **header["versions"],
    }
