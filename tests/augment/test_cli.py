"""What users and scripts rely on: help, exit codes, one line for a mistake, configuration files, defaults.

AUGMENT_UPDATE_GOLDEN=1 writes the help texts below tests/golden/help anew.
"""

import importlib
import inspect
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import click
import h5py
import numpy as np
import pytest
import safetensors.torch
import torch

from augment import cli, planning, store
from augment.commands import options
from augment.data.pedestrians import PedestriansConfig
from augment.plan import Plan
from augment.sources import SOURCES
from augment.synthesize import SynthesizeConfig
from augment.train_generator import TrainGeneratorConfig
from augment.train_reid import TrainReidConfig
from generators import checkpoint
from generators.registry import PRESETS, SYSTEMS, create_generator, create_recipe
from generators.schedules import SCHEDULES
from reid.mixing import MixPolicy
from tests.command_line import caller

GOLDEN = Path(__file__).parents[1] / "golden" / "help"
COMMANDS = list(cli.COMMANDS)


@pytest.fixture
def augment(monkeypatch, capsys):
    return caller(monkeypatch, capsys)


def command(name):
    return importlib.import_module(f"augment.commands.{cli.COMMANDS[name][0]}").command


# Help


def require_golden(name, text):
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("AUGMENT_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), "if the change is meant: AUGMENT_UPDATE_GOLDEN=1"


@pytest.fixture
def wide(monkeypatch):
    """Help texts do not depend on the terminal of whoever runs the tests."""
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_: os.terminal_size((100, 40)))


def test_help(augment, wide):
    code, out, err = augment("--help")
    assert (code, err) == (0, "")
    assert all(name in out for name in COMMANDS)
    assert "Example" in out
    require_golden("augment", out)
    assert augment() == (0, out, ""), "without a command: the same"
    assert augment("-h") == (0, out, "")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command(augment, wide, name):
    code, out, err = augment(name, "--help")
    assert (code, err) == (0, "")
    assert f"augment {name}" in out.split("Example")[1], "an example of this very command"
    require_golden(name, out)


def test_every_help_text_is_of_a_command():
    assert {path.stem for path in GOLDEN.iterdir()} == {"augment", *COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_module_and_name(name):
    assert isinstance(command(name), click.Command)
    assert command(name).name == name


def test_help_imports_no_torch():
    modules = [f"augment.commands.{module}" for module, _ in cli.COMMANDS.values()]
    code = f"import sys, augment.cli, {', '.join(modules)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "torchreid", "h5py", "numpy", "cv2", "PIL", "matplotlib"} & set(done.stdout.split())


def test_version(augment):
    code, out, _ = augment("--version")
    assert code == 0
    assert out.startswith("augment, version ")


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "augment", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: augment")


# Mistakes: one line, exit code 2


@pytest.fixture
def root(pedestrians, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(pedestrians, tmp_path / "data")


def first(folder):
    return sorted(folder.glob("*.jpg"))[0]


def require_one_line(outcome, *words):
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1, outcome.err
    assert outcome.err.startswith("Error: ")
    assert "Traceback" not in outcome.err
    for word in words:
        assert word in outcome.err


GENERATOR = ("train-generator", "--preset", "tiny", "--device", "cpu", "--validation", "0")


def test_no_such_command_or_option(augment):
    require_one_line(augment("trian-reid"), "trian-reid", "--help")
    require_one_line(augment("check", "--depe", "data"), "--depe", "--help")
    require_one_line(augment("check", "data", "more"), "more", "--help")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["check"], "DATA: missing"),
        (["inspect"], "X.h5: missing"),
        (["make-data"], "OUT: missing"),
        (["train-generator", "data"], "--out: missing"),
        (["synthesize", "data", "--out", "x.h5"], "--generator: missing"),
        (["train-reid", "data"], "--out: missing"),
    ],
)
def test_a_required_option_is_missing(augment, arguments, named):
    require_one_line(augment(*arguments), named)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train-generator", "data", "--out", "x", "--preset", "huge"], ["unknown dptn preset", "huge", "tiny"]),
        (["train-generator", "data", "--out", "x", "--images", "0"], ["--images:", "0"]),
        (["train-generator", "data", "--out", "x", "--images", "many"], ["--images:", "many"]),
        (["train-reid", "data", "--out", "x", "--size", "256"], ["--size:", "256", "128x64"]),
        (["train-reid", "data", "--out", "x", "--steps", "a,b"], ["--steps:", "a,b", "cosine"]),
        (["train-reid", "data", "--out", "x", "--erase", "2"], ["--erase:", "2"]),
        (["train-reid", "data", "--out", "x", "--synthetic", "nowhere.h5"], ["--synthetic:", "nowhere.h5"]),
        (["synthesize", "data", "--out", "x.h5", "--generator", "nowhere"], ["--generator:", "nowhere"]),
        (["make-data", "x", "--size", "8x8"], ["size", "8", "32"]),
        (["train-generator", "data", "--out", "x", "--device", "tpu"], ["--device", "tpu", "cpu"]),
        (["train-generator", "data", "--out", "x", "--device", "cuda:99"], ["--device cuda:99", "cpu"]),
    ],
)
def test_a_bad_value(augment, arguments, words):
    require_one_line(augment(*arguments), *words)


@pytest.mark.parametrize(
    "arguments",
    [
        ["check"],
        [*GENERATOR, "--out", "run"],
        ["train-reid", "--out", "run"],
        ["train-reid", "--out", "run", "--dry-run"],
    ],
)
def test_data_that_is_not_there(augment, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    require_one_line(augment(*arguments, "nowhere"), "nowhere: no such folder", "augment make-data")
    (tmp_path / "empty").mkdir()
    require_one_line(augment(*arguments, "empty"), "empty: no data set", "bounding_box_train")
    (tmp_path / "image.jpg").write_bytes(b"\xff\xd8\xff")
    require_one_line(augment(*arguments, "image.jpg"), "image.jpg")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("arguments", [GENERATOR, ("train-reid", "--device", "cpu")])
@pytest.mark.parametrize("folder", ["bounding_box_train", "query"])
def test_a_truncated_image(augment, root, tmp_path, arguments, folder):
    for path in (root / folder).iterdir():
        path.write_bytes(path.read_bytes()[:-100])
    require_one_line(augment(*arguments, root, "--out", tmp_path / "run"), folder, "truncated", "restore it or remove")
    assert not (tmp_path / "run").exists(), "said before anything is begun"


def test_key_points_of_wrong_length(augment, root, tmp_path):
    path = root / "market-annotation-train.csv"
    path.write_text(path.read_text().replace("[", "[7, ", 1))
    require_one_line(augment(*GENERATOR, root, "--out", tmp_path / "run"), "line 2", "19 values, expected 18")


def test_no_key_points(augment, root, tmp_path):
    for path in root.glob("*.csv"):
        path.unlink()
    require_one_line(augment(*GENERATOR, root, "--out", tmp_path / "run"), "no key points", "--poses FILE")


@pytest.mark.parametrize("arguments", [GENERATOR, ("train-reid", "--device", "cpu")])
def test_an_identity_in_both_splits(augment, root, tmp_path, arguments):
    path = first(root / "bounding_box_train")
    shutil.copy(path, root / "bounding_box_test" / path.name)
    require_one_line(augment(*arguments, root, "--out", tmp_path / "run"), "1 identities", "leaked", path.name)


def test_weights_of_another_architecture(augment, pedestrians, tmp_path):
    network = create_generator("dptn", "tiny", width=8, max_width=16)
    foreign, other, text = (tmp_path / f"{name}.safetensors" for name in ("foreign", "other", "text"))
    foreign.write_bytes(safetensors.torch.save({"weight": torch.zeros(1)}))
    other.write_bytes(checkpoint.generator_to_bytes("dptn", "tiny", network, {}))
    text.write_text("no weights")
    for path, words in ((foreign, ["no generator description"]), (other, ["config.width"]), (text, ["safetensors"])):
        require_one_line(augment(*GENERATOR, pedestrians, "--out", tmp_path / "run", "--init", path), str(path), *words)
    synthesize = ("synthesize", pedestrians, "--device", "cpu", "--out", tmp_path / "x.h5", "--generator")
    require_one_line(augment(*synthesize, foreign), str(foreign), "no generator description")
    require_one_line(augment(*synthesize, tmp_path), "generator.safetensors: no such file")
    require_one_line(augment(*synthesize, other), "training split", "--foreign-generator")
    train_reid = ("train-reid", pedestrians, "--device", "cpu", "--size", "64x32", "--out", tmp_path / "run", "--init")
    code, _, err = augment(*train_reid, text)
    assert code == 2
    assert err.splitlines()[-1].startswith(f"Error: {text}: cannot be read as weights")
    require_one_line(augment(*train_reid, "nowhere.pth"), "nowhere.pth: no such file")


def test_a_set_that_is_not_ours(augment, pedestrians, tmp_path):
    foreign, text = tmp_path / "foreign.h5", tmp_path / "text.h5"
    with h5py.File(foreign, "w") as file:
        file["images"] = np.zeros((3, 8, 4, 3), np.uint8)
    text.write_text("no HDF5")
    for path, words in ((foreign, "no synthetic set of augment"), (text, "not an HDF5 file")):
        require_one_line(augment("inspect", path), str(path), words)
        require_one_line(
            augment("train-reid", pedestrians, "--device", "cpu", "--out", tmp_path / "run", "--synthetic", path),
            str(path), words,
        )  # fmt: skip


def test_a_folder_of_somebodys_files(augment, pedestrians, tmp_path):
    (tmp_path / "notes.txt").touch()
    for force in ([], ["--force"]):
        require_one_line(augment(*GENERATOR, pedestrians, "--out", tmp_path, *force), "holds files but no config.json")
    assert (tmp_path / "notes.txt").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(augment, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    require_one_line(augment("make-data", tmp_path / "locked" / "data"), "locked", "Permission denied")


def test_an_error_in_a_loader_process_is_one_line_too(augment, pedestrians, monkeypatch):
    text = "Caught ValueError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  ...\n"

    def fail(*_, **__):
        raise ValueError(text + "ValueError: a.jpg: cannot be read; restore it\n")

    monkeypatch.setattr("augment.check.check", fail)
    assert augment("check", pedestrians) == (2, "", "Error: a.jpg: cannot be read; restore it\n")


def test_debug_shows_the_traceback(augment):
    code, _, err = augment("--debug", "check", "nowhere")
    assert code == 2
    assert err.startswith("Traceback")
    assert err.splitlines()[-1].startswith("Error: nowhere: no such folder")


# Other exit codes


def test_check_fails_with_1(augment, root):
    assert augment("check", root).code == 0
    first(root / "query").write_bytes(b"")
    code, out, err = augment("check", root)
    assert (code, err) == (1, "")
    assert "error: 1 unreadable images" in out


def test_an_interruption_exits_with_130(augment, pedestrians, monkeypatch):
    monkeypatch.setattr("augment.check.check", lambda *_, **__: os.kill(os.getpid(), signal.SIGINT))
    code, out, err = augment("check", pedestrians)
    assert (code, out, err.strip()) == (130, "", "interrupted; the same command continues")


def test_a_stage_that_is_preempted_exits_with_75(augment, pedestrians, monkeypatch, tmp_path):
    monkeypatch.setattr("augment.train_generator.train", terminating)
    monkeypatch.setattr("augment.train_generator.SHEET_PAIRS", 1)
    code, out, err = augment(*GENERATOR, pedestrians, "--out", tmp_path / "run")
    assert (code, out) == (75, "")
    assert err.splitlines()[-1] == f"stopped by SIGTERM, saved in {tmp_path / 'run'}; the same command continues"
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()


def terminating(state, *_):
    os.kill(os.getpid(), signal.SIGTERM)
    yield {"loss": torch.zeros(())}


# Configuration files and defaults


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


def test_choices_are_those_of_the_stages():
    def choices(name, option):
        (found,) = (p for p in command(name).params if p.name == option)
        assert isinstance(found.type, click.Choice)
        return set(found.type.choices)

    assert choices("synthesize", "sources") == set(SOURCES)
    (poses,) = (p for p in command("synthesize").params if p.name == "poses")
    assert isinstance(poses, click.Option)
    assert all(f"{name} " in f"{poses.help} " or f"{name}," in str(poses.help) for name in planning.POLICIES)
    assert set(options.BASELINES) == {name for name, system in SYSTEMS.items() if not system.objective}
    text = (GOLDEN / "train-generator.txt").read_text()
    assert all(name in text for name in (*PRESETS, *(name for name, system in SYSTEMS.items() if system.objective)))
    assert choices("train-generator", "schedule") == set(SCHEDULES)


def test_no_option_is_forgotten():
    """Every option of a command is a parameter of its function, and every option has a help text."""
    for name in COMMANDS:
        function = inspect.signature(command(name).callback).parameters
        for parameter in command(name).params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} --{parameter.name}"
            if parameter.expose_value and "loop" not in function:
                assert parameter.name in function


def test_inspect_finds_damage(augment, tmp_path):
    zeros = [np.zeros(2, int) for _ in range(4)]
    plan = Plan(("a.jpg",), np.zeros((1, 18, 2), np.float32), *zeros, np.zeros(2, np.uint64))
    path = tmp_path / "x.h5"
    attributes = store.begin(store.shard_folder(path), plan, {"config": {}, "generator": {}, "versions": {}})
    store.write_shard(store.shard_folder(path), 0, plan, np.zeros((2, 8, 4, 3), np.uint8), attributes)
    store.merge(store.shard_folder(path), plan, path, attributes)
    assert augment("inspect", path, "--checksums", "--json", "--sheet", tmp_path / "sheet.png").code == 0
    assert (tmp_path / "sheet.png").exists()
    with h5py.File(path, "r+") as file:
        file["images"][1, 0, 0, 0] = 1
    assert augment("inspect", path).code == 0
    code, out, _ = augment("inspect", path, "--checksums")
    assert code == 1
    assert "damaged_rows  [1]" in out
