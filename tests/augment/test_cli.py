"""Every command's help, its module and its options.

AUGMENT_UPDATE_GOLDEN=1 writes the help texts below tests/golden/help anew.
"""

import importlib
import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from augment import cli, planning
from augment.commands import options
from augment.sources import SOURCES
from generators.registry import PRESETS, SYSTEMS
from generators.schedules import SCHEDULES

GOLDEN = Path(__file__).parents[1] / "golden" / "help"
COMMANDS = list(cli.COMMANDS)


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


# Options


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
