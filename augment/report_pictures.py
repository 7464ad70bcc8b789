"""The pictures of a study's report: queries, poses, generated images. What cannot be shown is said."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from augment import report_galleries, report_poses
from augment.data.read import read_data
from augment.data.records import DataSet
from augment.report_page import Part, Plots, Prose, Section
from augment.report_study import Compared, Found
from augment.store import Reader

NAMED = 2  # arms that a set is called after, at most


@dataclass(frozen=True)
class _Set:
    """A synthetic set that can be read: what to call it, how it was made, and its images."""

    name: str
    arm: str  # the first that trains on it
    made: str
    reader: Reader


def sections(found: Found, first: Compared, thumbnails: int) -> list[Section]:
    """Half of the thumbnails are queries, the others are shared by the sets."""
    place = found.described["data"]
    try:
        dataset = read_data(found.path(place))
    except (ValueError, OSError) as error:
        return [Section("Images", (Prose(f"No images are shown, because the data cannot be read: {error}"),))]
    sets, missing = _sets(found)
    queries = thumbnails // 2 if sets else thumbnails
    shown = [Section("Queries", (_queries(found, first, dataset, queries),))]
    if sets or missing:
        parts = [*missing, *_poses(dataset, sets), *_galleries(sets, dataset, thumbnails - queries)]
        shown.append(Section("Generated images", tuple(parts)))
    return shown


def _queries(found: Found, first: Compared, dataset: DataSet, count: int) -> Part:
    if not first.seeds:
        return Prose(f"There is no seed yet for which both {first.arm} and {first.against} are done.")
    try:
        return report_galleries.of_queries(found, first, dataset, count)
    except (ValueError, OSError) as error:
        return Prose(f"No queries are shown: {error}")


def _sets(found: Found) -> tuple[list[_Set], list[Part]]:
    """The sets that are there, and what is wrong with the others."""
    sets: list[_Set] = []
    missing: list[Part] = []
    for place, arms in found.sets().items():
        arms = [arm for arm in arms if found.trains(arm)] or arms
        name = ", ".join(arms[:NAMED]) + (f" and {len(arms) - NAMED} more" if len(arms) > NAMED else "")
        arm = arms[0]
        if any(each.name == name or each.arm == arm for each in sets):  # of an arm that trains on several
            name, arm = f"{name} ({place})", f"{arm} ({PurePosixPath(place).parts[0]})"
        try:
            sets.append(_Set(name, arm, found.made_by(place), Reader(found.path(place))))
        except (ValueError, OSError) as error:
            missing.append(Prose(f"No images of the set of {name} are shown: {error}"))
    return sets, missing


def _poses(dataset: DataSet, sets: Sequence[_Set]) -> list[Part]:
    if not sets:
        return []
    try:
        return [Plots((report_poses.plot(dataset, [(f"set of {each.arm}", each.reader) for each in sets]),))]
    except ValueError as error:
        return [Prose(f"Poses are not compared: {error}")]


def _galleries(sets: Sequence[_Set], dataset: DataSet, count: int) -> list[Part]:
    parts: list[Part] = []
    for number, each in enumerate(sets):
        share = count // len(sets) + (number < count % len(sets))
        if not share:
            continue
        title, about = f"The synthetic set of {each.name}", f"Made by: {each.made}."
        try:
            parts.append(report_galleries.of_set(title, about, each.reader, dataset, share))
        except (ValueError, OSError) as error:
            parts.append(Prose(f"No images of the set of {each.name} are shown: {error}"))
    if count < len(sets):
        parts.append(Prose(f"{count} thumbnails for {len(sets)} synthetic sets: give --thumbnails more to see all."))
    return parts
