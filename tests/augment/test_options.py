"""Values of configuration files: each counts as if it had been typed, or is one line that names file and key."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.command_line import caller


@pytest.fixture
def asked(monkeypatch, capsys, tmp_path):
    """What a command asks of its stage, given the text of a configuration file; the stage does not run."""
    augment = caller(monkeypatch, capsys)
    found = []

    def stage(*arguments, **options):
        found.append((arguments, options))
        return Path(__file__).parent / "no-results.json"

    monkeypatch.setattr("augment.train_generator.run", stage)

    def prepare(*arguments, **options):
        found.append((arguments, options))
        return SimpleNamespace(notes=())

    monkeypatch.setattr("augment.train_reid.prepare", prepare)
    monkeypatch.chdir(tmp_path)

    def ask(text, *command, suffix="toml"):
        Path(f"config.{suffix}").write_text(text)
        outcome = augment(*(command or ("train-generator", "data", "--out", "x")), "--config", f"config.{suffix}")
        return outcome, found

    return ask


# ---- one value


def test_numbers_and_dates_count_as_text_where_text_is_wanted(asked):
    Path("5").mkdir()
    outcome, found = asked("init = 5\nout = 2024-02-03\n", "train-generator", "data")
    assert outcome.code == 0, outcome
    (config, _, out), _ = found[0]
    assert (config.init, out) == (Path("5"), Path("2024-02-03"))


def test_a_number_for_a_path_that_must_exist(asked):
    outcome, found = asked("init = 5\n")
    require_one_line(outcome, "--init:", "'5' does not exist")
    assert not found


def test_text_is_a_number_where_one_is_wanted_and_null_is_the_default(asked):
    outcome, found = asked("images: '640'\nvalidation: null\nseed: ~\nflip: 'no'\n", suffix="yaml")
    assert outcome.code == 0, outcome
    config = found[0][0][0]
    assert (config.recipe.training.images, config.recipe.training.seed) == (640, 0)
    assert (config.validation, config.flip) == (8, False)


@pytest.mark.parametrize("flag", ["true", "false"])
def test_flags_stay_flags(asked, flag):
    outcome, found = asked(f"flip = {flag}\ntensorboard = {flag}\n")
    assert outcome.code == 0, outcome
    config = found[0][0][0]
    assert config.flip == config.tensorboard == (flag == "true")


# ---- repeatable options


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        ("toml", 'network = ["width=16", "norm=instance"]\n'),
        ("toml", '[network]\nwidth = 16\nnorm = "instance"\n'),
        ("yaml", "network: {width: 16, norm: instance}\n"),
        ("yaml", "network:\n- width=16\n- norm=instance\n"),
    ],
)
def test_settings_are_a_list_or_a_table(asked, suffix, text):
    command = ("train-generator", "data", "--out", "x", "--model", "patn", "--preset", "tiny")
    outcome, found = asked(text, *command, suffix=suffix)
    assert outcome.code == 0, outcome
    network = found[0][0][0].recipe.network
    assert (network.width, network.norm) == (16, "instance")


@pytest.mark.parametrize("text", ['network = "width=16"\n', "network.width = 16\n"])
def test_one_setting_needs_no_list(asked, text):
    outcome, found = asked(text)
    assert outcome.code == 0, outcome
    assert found[0][0][0].recipe.network.width == 16


def test_the_command_line_replaces_a_table(asked):
    outcome, found = asked("network.width = 16\n", "train-generator", "data", "--out", "x", "--network", "layers=2")
    assert outcome.code == 0, outcome
    network = found[0][0][0].recipe.network
    assert (network.width, network.layers) == (64, 2)


@pytest.mark.parametrize("value", ["true", "false"])
def test_truth_in_a_table(asked, value):
    outcome, found = asked(f"[loss]\naffinity_scaling = {value}\n")
    assert outcome.code == 0, outcome
    assert found[0][0][0].recipe.weights.affinity_scaling is (value == "true")


@pytest.mark.parametrize("text", ["synthetic = 7\n", 'synthetic = "7"\n', "synthetic = [7]\n"])
def test_one_path_needs_no_list(asked, text):
    Path("7").touch()
    outcome, found = asked(text + "dry-run = true\n", "train-reid", "data", "--out", "x")
    assert outcome.code == 0, outcome
    assert found[0][0][2] == (Path("7"),)


# ---- mistakes: one line, exit code 2


def require_one_line(outcome, *words):
    assert outcome.code == 2, outcome
    assert outcome.err.count("\n") == 1, outcome.err
    assert outcome.err.startswith("Error: ")
    for word in words:
        assert word in outcome.err


@pytest.mark.parametrize(
    ("suffix", "text", "words"),
    [
        ("toml", "images = [1, 2]\n", ["--config: config.toml: images:", "found a list"]),
        ("toml", "images = true\n", ["--images:", "'true' is not a valid integer"]),
        ("toml", "images = 640.5\n", ["--images:", "'640.5' is not a valid integer"]),
        ("toml", "init = true\n", ["--init:", "'true' does not exist"]),
        ("toml", "flip = 7\n", ["--flip:", "'7' is not a valid boolean"]),
        ("toml", "[init]\nfile = 5\n", ["--config: config.toml: init:", "found a table"]),
        ("toml", "network.width = [8]\n", ["--config: config.toml: network:", "found a list"]),
        ("toml", "network = [[8]]\n", ["--config: config.toml: network:", "found a list"]),
        ("toml", "network = 8\n", ["--network: '8' is not of the form KEY=VALUE"]),
        ("yaml", "network: {width: }\n", ["--config: config.yaml: network:", "found nothing"]),
        ("yaml", "network: !!set {width}\n", ["--config: config.yaml: network:", "found a set"]),
        ("toml", "[networks]\nwidth = 8\n", ["--config: config.toml: unknown key networks"]),
    ],
)
def test_values_that_no_command_line_could_hold(asked, suffix, text, words):
    outcome, found = asked(text, suffix=suffix)
    require_one_line(outcome, *words)
    assert not found


def test_a_table_is_for_settings_only(asked):
    outcome, _ = asked("[synthetic]\na = 1\n", "train-reid", "data", "--out", "x")
    require_one_line(outcome, "--config: config.toml: synthetic:", "found a table")
