"""Study files: where they lie, and the studies that they hold, one for each scale."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from augment.study import Study

FOLDER = Path("experiments")
TABLE = "STUDIES"


def find(study: str, folder: Path = FOLDER) -> Path:
    """The file of a study: a path, or the name of one in `folder`.

    Raises:
        ValueError: there is none; the message lists those that there are.
    """
    path = Path(study)
    if path.suffix == ".py" or len(path.parts) > 1:
        if not path.is_file():
            raise ValueError(f"{study}: no such file; give a study's file or the name of one in {folder}/")
        return path
    path = folder / f"{study}.py"
    if not path.is_file():
        found = names(folder)
        expected = f"expected one of {', '.join(found)}" if found else f"there is none in {folder.absolute()}"
        raise ValueError(f"STUDY {study}: no such study; {expected}; or give the path of a file")
    return path


def names(folder: Path = FOLDER) -> list[str]:
    """Of the studies in a folder, which may hold other files."""
    return sorted(path.stem for path in folder.glob("*.py") if f"\n{TABLE}" in path.read_text(encoding="utf-8"))


def load(path: Path) -> Mapping[str, Study]:
    """The studies of a file, by scale; the first is the default.

    Raises:
        ValueError: the file cannot be imported or holds none; the message names it.
    """
    try:
        module = _imported(path.absolute())
    except Exception as error:  # whatever the file of a user raises is a mistake in it
        raise ValueError(f"{path}: {type(error).__name__}: {error}; correct the study") from error
    found = getattr(module, TABLE, None)
    if not (isinstance(found, Mapping) and found and all(isinstance(study, Study) for study in found.values())):
        raise ValueError(f"{path}: holds no {TABLE}, a dictionary of augment.study.Study by scale; see docs/studies.md")
    return found


def choose(path: Path, scale: str | None) -> tuple[str, Study]:
    """The study of a file at a scale, or at its first one.

    Raises:
        ValueError: as `load`, or no such scale.
    """
    found = load(path)
    name = next(iter(found)) if scale is None else scale
    if name not in found:
        raise ValueError(f"--scale {name}: {path} has {', '.join(found)}")
    return name, found[name]


def _imported(path: Path) -> ModuleType:
    """A file of a package is imported as a part of it, so that it finds its neighbours."""
    root = next(folder for folder in path.parents if not (folder / "__init__.py").exists())
    name = ".".join(path.relative_to(root).with_suffix("").parts)
    with _first_on_path(root):
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up there
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return module


@contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
