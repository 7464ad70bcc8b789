"""The wheel holds the three packages and their data files, and nothing else that lies in the root."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("augment", "generators", "reid")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy of what git would track, so that nothing is written into the checkout."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "cli.py"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    for folder in (*PACKAGES, "tests", "experiments"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                copy = source / path.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.symlink_to(path)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (made,) = out.glob("*.whl")
    with zipfile.ZipFile(made) as file:
        yield file


def files_of(wheel):
    return {name for name in wheel.namelist() if ".dist-info/" not in name}


def test_it_holds_every_module_and_data_file_of_the_packages_and_nothing_else(wheel):
    expected = {
        path.relative_to(ROOT).as_posix()
        for folder in PACKAGES
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".html", ".safetensors") or path.name == "py.typed"
    }
    assert files_of(wheel) == expected
    assert {name.split("/")[0] for name in expected} == set(PACKAGES)
    assert "augment/templates/report.html" in expected
    assert {f"{package}/py.typed" for package in PACKAGES} <= expected


def test_metadata(wheel):
    (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    text = wheel.read(metadata).decode()
    namespace = {}
    exec((ROOT / "augment" / "version.py").read_text(), namespace)
    assert f"Version: {namespace['__version__']}\n" in text
    assert "Name: reid-augment\n" in text
    assert "License-Expression: MIT\n" in text
    (entry_points,) = (name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt"))
    assert wheel.read(entry_points).decode().split("\n")[:2] == ["[console_scripts]", "augment = augment.cli:main"]
