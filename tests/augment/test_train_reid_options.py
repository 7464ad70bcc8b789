"""What the command makes of its options: recipes, configuration files, mistakes. The stage does not run."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from augment.commands.train_reid import RECIPES as NAMED
from reid.configuration import ReidConfig
from reid.mixing import MixPolicy
from reid.recipes import RECIPES
from tests.command_line import caller


@pytest.fixture
def ask(monkeypatch, capsys, tmp_path):
    """What the command asks of its stage."""
    found = []

    def prepare(config, *others):
        found.append((config, others))
        return SimpleNamespace(notes=())

    monkeypatch.setattr("augment.train_reid.prepare", prepare)
    monkeypatch.chdir(tmp_path)
    Path("a.h5").touch()
    augment = caller(monkeypatch, capsys)

    def call(*options):
        outcome = augment("train-reid", "data", "--out", "x", "--dry-run", *options)
        return outcome, found[-1][0] if outcome.code == 0 else None

    return call


def test_without_options_it_is_the_default(ask):
    _, config = ask()
    assert config.training == ReidConfig()
    assert (config.mixing, config.metric, config.recipe, config.jpeg) == (MixPolicy(0.0), "euclidean", None, None)


def test_recipes_are_all_named():
    assert tuple(RECIPES) == NAMED


@pytest.mark.parametrize("name", NAMED)
def test_a_recipe_and_what_wins_over_it(ask, name):
    _, config = ask("--recipe", name)
    assert (config.training, config.recipe) == (RECIPES[name].training, name)
    assert config.metric == RECIPES[name].metric
    _, config = ask("--recipe", name, "--epochs", 60, "--metric", "cosine", "--size", "64x32", "--steps", "cosine")
    training = config.training
    assert (training.epochs, training.height, training.schedule, training.steps) == (60, 64, "cosine", ())
    assert (training.batch, config.metric) == (RECIPES[name].training.batch, "cosine")


def test_every_option_of_a_training(ask):
    _, config = ask(
        *("--loss", "triplet", "--triplet-weight", 0.5, "--softmax-weight", 0.2, "--margin", 0.4, "--triplet-real"),
        *("--neck", "bnneck", "--last-stride", 1),
        *("--synthetic", "a.h5", "--schedule", "first", "--first", 0.25, "--quota", 0.5, "--labels", "lsro"),
        *("--optimiser", "sgd", "--weight-decay", 0.1, "--warmup", 3, "--classifier-epochs", 2, "--clip", 5),
        *("--new-layers", "fc,classifier", "--base-rate", 0.1, "--pad", 10, "--translate", 0.5, "--jitter"),
        *("--colour", 0.5, "--synthetic-weight", 0.3, "--batch", 64, "--workers", 2, "--precision", "bf16"),
    )
    assert config.training == ReidConfig(
        loss="triplet", triplet_weight=0.5, softmax_weight=0.2, margin=0.4, triplet_real_only=True, instances=4,
        neck="bnneck", last_stride=1, quota_schedule="first", quota_share=0.25, quota=0.5, synthetic_smoothing=1.0,
        optimiser="sgd", weight_decay=0.1, warmup_epochs=3, classifier_epochs=2, clip=5.0,
        new_layers=("fc", "classifier"), base_rate=0.1, pad=10, translate=0.5, jitter=True, colour=0.5,
        synthetic_weight=0.3, batch=64, workers=2, precision="bf16",
    )  # fmt: skip


def test_triplets_of_a_recipe_may_be_weighted(ask):
    _, config = ask("--recipe", "bot", "--softmax-weight", 1, "--margin", 0.5)
    assert (config.training.softmax_weight, config.training.margin) == (1.0, 0.5)
    assert config.training.triplet_weight == RECIPES["bot"].training.triplet_weight


def test_every_option_of_a_mix(ask):
    _, config = ask(
        *("--synthetic", "a.h5", "--synthetic", "a.h5", "--set-weight", 3, "--set-weight", 1, "--ratio", 2),
        *("--control", "real-duplicated", "--jpeg", 90, "--seed", 4),
    )
    assert config.mixing == MixPolicy(2.0, 1.0, 4, (3.0, 1.0), False, "real-duplicated")
    assert (config.jpeg, config.training.seed) == (90, 4)
    _, config = ask("--synthetic", "a.h5", "--portion", 0.3, "--replace", "--jpeg", "match")
    assert (config.mixing.replace, config.mixing.portion, config.jpeg) == (True, 0.3, "match")
    _, config = ask("--portion", 0.3, "--portion-seed", 7, "--seed", 4)
    assert config.mixing == MixPolicy(0.0, 0.3, 4, portion_seed=7)
    assert ask("--portion", 0.3, "--portion-seed", 0)[1].mixing.portion_seed == 0
    assert ask("--portion", 0.3)[1].mixing.portion_seed is None


def test_a_configuration_file_wins_over_a_recipe(ask):
    Path("config.toml").write_text('recipe = "bot"\nerase = 0.25\nwarmup = 2\nschedule = "ramp"\nsynthetic = "a.h5"\n')
    _, config = ask("--config", "config.toml", "--warmup", 1)
    assert (config.recipe, config.training.erase, config.training.warmup_epochs) == ("bot", 0.25, 1)
    assert (config.training.quota_schedule, config.training.neck) == ("ramp", "bnneck")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--schedule", "ramp"), ("--schedule", "without --synthetic")),
        (("--triplet-real",), ("--triplet-real", "without --synthetic")),
        (("--margin", 0.5), ("--margin", "only --loss triplet")),
        (("--softmax-weight", 0.5), ("--softmax-weight", "only --loss triplet")),
        (("--recipe", "resnet50", "--triplet-weight", 0.5), ("--triplet-weight", "only --loss triplet")),
        (("--synthetic", "a.h5", "--triplet-real"), ("--triplet-real", "only --loss triplet")),
        (("--jpeg", "match"), ("--jpeg", "without --synthetic")),
        (("--synthetic", "a.h5", "--jpeg", "high"), ("--jpeg", "'high'", "1 to 100")),
        (("--synthetic", "a.h5", "--replace"), ("--replace", "--portion 1")),
        (("--portion-seed", 0), ("--portion-seed", "--portion 1")),
        (("--synthetic", "a.h5", "--replace", "--portion", 0.5, "--ratio", 1), ("--ratio", "--replace")),
        (("--synthetic", "a.h5", "--first", 0.5), ("--first", "--schedule first")),
        (("--loss", "triplet", "--batch", 30), ("instances 4", "batch 30", "use batch 28")),
        (("--synthetic", "a.h5", "--quota", 1), ("--quota", "0<x<1")),
        (("--synthetic", "a.h5", "--quota", 0), ("--quota", "0<x<1")),
        (("--model", "hacnn"), ("hacnn takes images of 160x64 only",)),
        (("--synthetic", "a.h5", "--labels", "lsro", "--loss", "triplet"), ("LSRO", "triplet_real_only")),
    ],
)
def test_options_that_do_not_fit(ask, options, words):
    outcome, _ = ask(*options)
    assert outcome.code == 2
    message = outcome.err.splitlines()[-1]
    assert message.startswith("Error: ")
    assert [word for word in words if word not in message] == []
