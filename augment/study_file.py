"""study.json as it is read back: what it must hold, so that one which was edited or cut off is refused in words."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augment import files

STUDY, SCHEMA = "study.json", 1
REMEDY = "restore it from a backup, or run the study with another --out and, to keep what is made, its units as --units"
WORDS = {str: "a text", int: "a whole number", list: "a list", dict: "a table", type(None): "null"}


@dataclass(frozen=True)
class Table:
    """A table whose entries, under any names, are all of one form."""

    entry: Any


# A form is a type, several of them, a list of one form, a table of named forms, or a `Table`.
TEXTS, TABLE = [str], Table(object)
CONTRAST = {"arm": str, "against": str, "asks": str}
ARM = {
    "name": str, "about": str, "options": str, "curve": (list, type(None)), "sets": TEXTS, "trials": Table(str),
}  # fmt: skip
UNIT = {"name": str, "command": str, "label": str, "argv": TEXTS, "needs": TEXTS}
FORM = {
    "schema": int, "study": str, "scale": str, "data_digest": str, "title": str, "question": str, "note": str,
    "axis": str, "seeds": [int], "reid": str, "arms": [ARM], "contrasts": [CONTRAST], "erasing": (dict, type(None)),
    "data": str, "units": Table(UNIT), "versions": TABLE, "units_folder": str, "created": str,
}  # fmt: skip
LATER = {"seconds": TABLE, "changes": [{"when": str, "what": str}]}  # what earlier versions did not write


def read(path: Path) -> dict[str, Any]:
    """The study in a file.

    Raises:
        ValueError: no JSON, of another version, or without something that each study has; the message names it.
    """
    try:
        found = files.read_json(path)
    except ValueError:
        raise ValueError(f"{path}: not a JSON file, or a part of one; {REMEDY}") from None
    if isinstance(found, dict) and found.get("schema", SCHEMA) != SCHEMA:
        raise ValueError(
            f"{path}: schema {found['schema']!r}, and this version reads {SCHEMA}; use the one that made it, or choose "
            "another folder"
        )
    if problem := next(_problems(found), None):
        raise ValueError(f"{path}: {problem}, so it is no study, or a damaged one; {REMEDY}")
    return found


def _problems(found: Any) -> Iterator[str]:
    """Wrong forms first: the names in it can be followed only where there are none."""
    later = {name: form for name, form in LATER.items() if isinstance(found, dict) and name in found}
    yield from _misfits(found, FORM | later, "")
    for name in ("arms", "contrasts"):
        if not found[name]:
            yield f"{name} is empty"
    if found["erasing"] is not None:
        yield from _misfits(found["erasing"], CONTRAST, "erasing")
    arms = {arm["name"] for arm in found["arms"]}
    for contrast in (*found["contrasts"], *filter(None, [found["erasing"]])):
        if unknown := {contrast["arm"], contrast["against"]} - arms:
            yield f"it compares {min(unknown)!r}, of which there is no arm"
    for arm in found["arms"]:
        if arm["curve"] is not None and [type(each) for each in arm["curve"]] not in ([str, int], [str, float]):
            yield f"the curve of arm {arm['name']!r} is {arm['curve']}, and should be a line's name and a number"
        if wrong := [seed for seed in arm["trials"] if not (seed.isdigit() and int(seed) in found["seeds"])]:
            yield f"arm {arm['name']!r} has a trial of {wrong[0]!r}, which is none of its seeds"
        if missing := [unit for unit in arm["trials"].values() if unit not in found["units"]]:
            yield f"arm {arm['name']!r} needs {missing[0]!r}, of which there is no unit"
    for name, unit in found["units"].items():
        if missing := [need for need in unit["needs"] if need not in found["units"]]:
            yield f"unit {name!r} needs {missing[0]!r}, of which there is no unit"


def _misfits(value: Any, form: Any, place: str) -> Iterator[str]:
    """Where a value is not of its form."""
    kinds = _kinds(form)
    if not isinstance(value, kinds):
        expected = " or ".join(WORDS[kind] for kind in kinds)
        yield f"{place or 'it'} is {WORDS.get(type(value), repr(value))}, and should be {expected}"
    elif isinstance(form, dict):
        for name, each in form.items():
            if name in value:
                yield from _misfits(value[name], each, f"{place}.{name}".lstrip("."))
            else:
                yield f"{place or 'it'} has no {name!r}"
    elif isinstance(form, list):
        for number, each in enumerate(value):
            yield from _misfits(each, form[0], f"{place}[{number}]")
    elif isinstance(form, Table):
        for name, each in value.items():
            yield from _misfits(each, form.entry, f"{place}.{name}")


def _kinds(form: Any) -> tuple[type, ...]:
    if isinstance(form, type):
        return (form,)
    if isinstance(form, tuple):
        return form
    return (list,) if isinstance(form, list) else (dict,)
