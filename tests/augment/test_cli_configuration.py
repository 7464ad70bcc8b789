"""What the commands ask of their stages: values of configuration files, of options, and defaults."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from augment.data.pedestrians import PedestriansConfig
from augment.synthesize import SynthesizeConfig
from augment.train_generator import TrainGeneratorConfig
from augment.train_reid import TrainReidConfig
from generators.registry import create_recipe
from reid.mixing import MixPolicy
from tests.command_line import require_one_line


@pytest.fixture
def asked(monkeypatch):
    """What the commands ask of their stages, which do not run."""
    found = []
    results = Path(__file__).parent / "no-results.json"

    def stage(*arguments, **options):
        found.append((arguments, options))
        return results

    for name in ("train_generator", "synthesize"):
        monkeypatch.setattr(f"augment.{name}.run", stage)

    def prepare(*arguments, **options):
        found.append((arguments, options))
        return SimpleNamespace(notes=())

    monkeypatch.setattr("augment.train_reid.prepare", prepare)
    monkeypatch.setattr("augment.data.pedestrians.make_data", stage)
    return found


# Configuration files


TABLES = {
    "config.toml": 'out = "from-file"\npreset = "tiny"\nimages = 640\nsame-camera = false\nlearning-rate = 0.002\n',
    "config.yaml": "out: from-file\npreset: tiny\nimages: 640\nsame_camera: false\nlearning_rate: 0.002\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_values_of_a_configuration_file_are_used_and_the_command_line_wins(augment, asked, tmp_path, name):
    (tmp_path / name).write_text(TABLES[name])
    assert augment("train-generator", "data", "--config", tmp_path / name).code == 0
    assert augment("train-generator", "data", "--images", 8, "--config", tmp_path / name, "--any-camera").code == 0
    assert augment("train-generator", "data", "--same-camera", "--out", "x", "--config", tmp_path / name).code == 0
    configs = [arguments[0] for arguments, _ in asked]
    assert [arguments[2] for arguments, _ in asked] == [Path("from-file"), Path("from-file"), Path("x")]
    assert [config.recipe.training.images for config in configs] == [640, 8, 640]
    assert [config.same_camera for config in configs] == [False, False, True]
    recipes = [config.recipe for config in configs]
    assert all(each.preset == "tiny" and each.training.learning_rate == 0.002 for each in recipes)
    assert all(config.flip for config in configs), "the preset's, which the file does not mention"


def test_lists_sizes_and_flags_in_a_configuration_file(augment, asked, tmp_path):
    for name in ("a.h5", "b.h5"):
        (tmp_path / name).touch()
    path = tmp_path / "config.toml"
    sets = [str(tmp_path / name) for name in ("a.h5", "b.h5")]
    path.write_text(f'out = "x"\nsynthetic = {sets}\nsize = "64x32"\nsteps = "cosine"\ndry-run = true\n')
    assert augment("train-reid", "data", "--config", path).code == 0
    ((config, _, synthetic, test), _) = asked[0]
    assert synthetic == tuple(map(Path, sets))
    assert test is None
    assert (config.training.height, config.training.width, config.training.schedule) == (64, 32, "cosine")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.toml", "imagse = 640\n", ["--config:", "unknown key imagse", "images"]),
        ("a.yaml", "imagse: 640\nbathc: 8\n", ["--config:", "unknown key bathc, imagse", "images"]),
        ("a.yaml", "1: 640\n", ["unknown key 1"]),
        ("a.yaml", "config: other.yaml\n", ["unknown key config"]),
        ("a.yaml", "data: elsewhere\n", ["unknown key data"]),
        ("a.toml", "images = [\n", ["--config:", "not TOML"]),
        ("a.yaml", "images: [\n", ["--config:", "not YAML"]),
        ("a.yaml", "- images\n", ["--config:", "no table"]),
        ("a.toml", 'preset = "huge"\n', ["preset", "huge"]),
        ("a.json", "{}", ["--config:", ".toml, .yaml or .yml"]),
    ],
)
def test_mistakes_in_a_configuration_file(augment, asked, tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    require_one_line(augment("train-generator", "data", "--out", "x", "--config", tmp_path / name), *words)
    assert not asked


def test_a_configuration_file_that_is_not_there(augment):
    require_one_line(augment("train-generator", "data", "--out", "x", "--config", "no.toml"), "--config:", "no.toml")


# Defaults and options


def test_defaults_are_those_of_the_stages(augment, asked, tmp_path):
    (tmp_path / "x.h5").touch()
    assert augment("train-generator", "data", "--out", "x").code == 0
    assert augment("train-generator", "data", "--out", "x", "--preset", "tiny").code == 0
    assert augment("synthesize", "data", "--out", "x.h5", "--generator", tmp_path).code == 0
    assert augment("make-data", "x").code == 0
    mixed = ("train-reid", "data", "--out", "x", "--synthetic", tmp_path / "x.h5", "--dry-run")
    assert augment(*mixed).code == 0
    assert augment("train-reid", "data", "--out", "x", "--dry-run").code == 0
    assert [arguments[0] for arguments, _ in asked] == [
        TrainGeneratorConfig(validation=8, tensorboard=True),
        TrainGeneratorConfig(
            create_recipe("dptn", "tiny"), flip=True, same_camera=True, validation=8, tensorboard=True
        ),
        replace(SynthesizeConfig(), per_image=1),
        PedestriansConfig(),
        TrainReidConfig(),
        TrainReidConfig(mixing=MixPolicy(ratio=0.0)),
    ]


def test_options_reach_their_fields(augment, asked):
    options = {"model": "osnet_x1_0", "init": "imagenet", "epochs": 7, "batch": 9, "quota": 0.25, "precision": "bf16",
               "learning-rate": 0.5, "erase": 0.125, "workers": 3, "synthetic-weight": 0.75, "seed": 11}  # fmt: skip
    given = [word for name, value in options.items() for word in (f"--{name}", value)]
    more = ["--labels", "lsro", "--portion", 0.5, "--match", "iterations", "--steps", "3,5", "--dry-run"]
    assert augment("train-reid", "data", "--out", "x", "--synthetic", __file__, "--ratio", 2, *given, *more).code == 0
    config = asked[0][0][0]
    assert {name: getattr(config.training, name.replace("-", "_")) for name in options} == options
    assert (config.training.steps, config.training.synthetic_smoothing) == ((3, 5), 1.0)
    assert config.mixing == MixPolicy(ratio=2.0, portion=0.5, seed=11)
    assert config.match == "iterations"


@pytest.mark.parametrize(
    "option", [("--ratio", 2), ("--quota", 0.5), ("--labels", "lsro"), ("--synthetic-weight", 0.1)]
)
def test_options_of_synthetic_images_need_some(augment, option):
    outcome = augment("train-reid", "data", "--out", "x", *option)
    assert outcome.code == 2
    assert outcome.err.startswith(f"Error: {option[0]}: given without --synthetic")
