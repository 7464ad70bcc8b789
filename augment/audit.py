"""Leakage and integrity checks, shared by every stage: a failed check is a hard error, never a warning."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from augment import files
from augment.data.records import DISTRACTOR, DataSet, Record

DIGEST = re.compile(r"[0-9a-f]{64}")
TEST_IDENTITIES = "test_identities"  # the stamp of sets that may show people of query or gallery


@dataclass(frozen=True)
class Check:
    """Something that must hold: whether it does, and what was found, in a sentence."""

    name: str
    passed: bool
    detail: str


def checked(name: str, look: Callable[[], str]) -> Check:
    """The check that `look` makes, which says what it found or raises what is wrong."""
    try:
        return Check(name, True, look())
    except (ValueError, OSError) as error:
        return Check(name, False, " ".join(str(error).split()))


def identity_overlap(dataset: DataSet) -> list[int]:
    """Identities that occur both in training and in query or gallery."""
    train = {record.pid for record in dataset.train}
    test = {record.pid for record in (*dataset.query, *dataset.gallery)} - {DISTRACTOR}
    return sorted(train & test)


def require_disjoint(dataset: DataSet) -> None:
    """Refuse a data set whose test identities are also trained on.

    Raises:
        ValueError: naming the identities.
    """
    shared = identity_overlap(dataset)
    if shared:
        example = next(record for record in dataset.train if record.pid in set(shared))
        raise ValueError(
            f"{dataset.root}: {len(shared)} identities are both in training and in query or gallery ({_some(shared)}; "
            f"for example {example.name}); results would be leaked: remove them from one of the splits"
        )


def copied_images(dataset: DataSet) -> list[tuple[Record, Record]]:
    """Training images that are also in query or gallery, byte for byte, under any name, each with its copy."""
    train = [(record.path.stat().st_size, record) for record in dataset.train]
    test = [(record.path.stat().st_size, record) for record in (*dataset.query, *dataset.gallery)]
    common = {size for size, _ in train} & {size for size, _ in test}
    known = {files.sha256(record.path): record for size, record in train if size in common}
    digests = ((files.sha256(record.path), record) for size, record in test if size in common)
    return [(known[found], record) for found, record in digests if found in known]


def require_training_only(records: Sequence[Record], dataset: DataSet, role: str) -> None:
    """Refuse test identities among the sources or target poses of a synthetic set.

    Raises:
        ValueError: naming the identities.
    """
    test = {record.pid for record in (*dataset.query, *dataset.gallery)} - {DISTRACTOR}
    leaked = sorted({record.pid for record in records} & test)
    if leaked:
        raise ValueError(
            f"{role}: {len(leaked)} identities of query or gallery ({_some(leaked)}); use training images only"
        )


def require_no_test_identities(what: str, attributes: Mapping[str, Any]) -> None:
    """Refuse a synthetic set that says of itself that it may show test identities.

    Raises:
        ValueError: it was made with --allow-test-identities.
    """
    if attributes.get(TEST_IDENTITIES):
        raise ValueError(
            f"{what}: made with --allow-test-identities, so it may show people or poses of query and gallery; it is "
            "for studies of image quality only: synthesize one without"
        )


def require_no_test_images(names: Iterable[str], dataset: DataSet, role: str) -> None:
    """Refuse names of query and gallery images, distractors' too, among poses that are given by name.

    Raises:
        ValueError: with the number of names and the first one.
    """
    test = {record.name for record in (*dataset.query, *dataset.gallery)}
    leaked = sorted(test.intersection(names))
    if leaked:
        raise ValueError(
            f"{role}: {len(leaked)} poses are of query or gallery images (for example {leaked[0]}); leave them out, or "
            "say --allow-test-identities for a study of image quality"
        )


def require_same(
    what: str,
    found: Mapping[str, Any],
    expected: Mapping[str, Any],
    remedy: str,
    *,
    problem: str = "its provenance contradicts this data",
) -> None:
    """Refuse an input whose provenance contradicts this run's, naming the keys.

    Raises:
        ValueError: a key of `expected` has another value in `found`.
    """
    found, expected = flat(found), flat(expected)
    differing = [key for key in expected if found.get(key) != expected[key]]
    if differing:
        changes = ", ".join(
            f"{key} ({_short(found.get(key))} there, {_short(expected[key])} here)" for key in differing
        )
        raise ValueError(f"{what}: {problem}: {changes}; {remedy}")


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with keys such as `config.seed`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def _some(pids: Iterable[int], most: int = 5) -> str:
    pids = list(pids)
    return ", ".join(map(str, pids[:most])) + (", ..." if len(pids) > most else "")


def _short(value: Any) -> str:
    text = str(value)
    if DIGEST.fullmatch(text):
        return text[:12] + "..."
    return text if len(text) <= 60 else text[:57] + "..."
