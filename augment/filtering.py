"""Stage: the images of a synthetic set that are good enough, as a selection, and a random one of equal size beside it.

Y.h5            row numbers of the set, in their order; no pixels are copied
Y.control.h5    as many rows, drawn at random: does the filter help, or the count? (docs/experiments.md)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from augment import audit, expressions, store
from reid.consistency import doubt

SET, IDENTITY = PER = ("set", "identity")
KEPT, CONTROL = "kept", "control"
Log = Callable[[str], None]


@dataclass(frozen=True)
class FilterConfig:
    """What to keep: images for which a condition holds, or the best share by a column, of the set or of each identity.

    The share of n images is rounded half up, but is one image at least. `seed` draws the control.
    """

    keep: str | None = None
    top: float | None = None
    by: str | None = None
    lowest: bool = False
    per: str = SET
    seed: int = 0

    def __post_init__(self) -> None:
        if self.per not in PER:
            raise ValueError(f"--per {self.per}: expected one of {', '.join(PER)}")
        if (self.keep is None) == (self.top is None):
            raise ValueError("give exactly one of --keep EXPR and --top F --by COLUMN")
        for option, given in (("--by", self.by), ("--lowest", self.lowest), ("--per identity", self.per != SET)):
            if self.top is None and given:
                raise ValueError(f"{option}: belongs to --top; leave it or --keep out")
        if self.top is None:
            return
        if self.by is None:
            raise ValueError("--top: by which column? Add --by COLUMN")
        if not 0 < self.top <= 1:
            raise ValueError(f"--top {self.top}: expected a share of the images, above 0 and at most 1, such as 0.7")


@dataclass(frozen=True)
class Choice:
    """What a filter keeps of a set, and its control; `undecided` counts images that NaN kept out."""

    reader: store.Reader
    rows: Int[np.ndarray, " k"]
    control: Int[np.ndarray, " k"]
    undecided: int
    provenance: dict[str, Any]

    @property
    def warnings(self) -> list[str]:
        """A line for each column in use whose judges tell people hardly apart."""
        judged = {name: said["judges"] for name, said in self.provenance["scores"].items() if "judges" in said}
        doubts = {name: why for name, judges in judged.items() if (why := doubt(judges))}
        return [f"warning: {name} is hardly better than a random choice: {why}" for name, why in doubts.items()]

    def __str__(self) -> str:
        total, kept = len(self.reader), len(self.rows)
        _, each = np.unique(self.reader.pid[self.rows], return_counts=True)
        lines = [
            ("kept", f"{kept:,} of {total:,} images ({kept / total:.1%})"),
            ("identities", f"{len(each):,} of {len(np.unique(self.reader.pid)):,}"),
            ("images per identity", f"{each.min()} / {np.median(each):g} / {each.max()} (min / median / max)"),
        ]
        if self.undecided:
            lines.append(("without a value", f"{self.undecided:,} images, not kept"))
        return "\n".join(f"{name:>20}  {value}" for name, value in lines)


def prepare(config: FilterConfig, synthetic: Path) -> Choice:
    """Choose the rows: a pure function of the set, its scores and the configuration.

    Raises:
        ValueError: no synthetic set, a bad condition or column, or nothing is kept.
    """
    reader = store.Reader(synthetic)
    columns = _columns(reader)
    if config.keep is not None:
        kept, undecided, used = _matching(config.keep, columns, reader)
    else:
        kept, undecided, used = _best(config, columns, reader)
    rows = np.flatnonzero(kept)
    if not len(rows):
        raise ValueError(
            f"{_option(config)}: keeps none of the {len(reader):,} images of {synthetic} "
            f"({np.count_nonzero(undecided):,} have no value); ask for less"
        )
    provenance = {
        **{name: value for name, value in vars(config).items() if value is not None},
        "images": len(rows),
        "of_images": len(reader),
        "of_content": reader.content_sha256,
        "scores": {name: reader.scores[name].provenance for name in used if name in reader.scores},
    }
    control = _control(reader.pid, kept, config)
    return Choice(reader, rows, control, int(np.count_nonzero(undecided)), provenance)


def run(
    config: FilterConfig,
    synthetic: Path,
    out: Path,
    *,
    control: bool = True,
    force: bool = False,
    log: Log = lambda line: None,
) -> Path:
    """Write the selection `out` and its control, or find them done; returns `out`.

    Raises:
        ValueError: see `prepare`; or what lies at `out` or beside it is another selection, or none.
    """
    choice = prepare(config, synthetic)
    _require_free(out, choice.reader)
    wanted = {
        out: (choice.rows, choice.provenance | {"role": KEPT}),
        control_path(out): (choice.control, choice.provenance | {"role": CONTROL}),
    }
    if force:
        for path in wanted:
            _require_selection(path)
    missing = [path for path, (rows, said) in wanted.items() if force or not _holds(path, choice.reader, rows, said)]
    missing = [path for path in missing if control or path == out]
    log(str(choice))
    if len(choice.rows) == len(choice.reader):
        log("every image is kept: the selection, and its control, are the whole set")
    for line in choice.warnings:
        log(line)
    if force:
        for path in wanted:  # first of all the selection, which is never to stand beside another one's control
            path.unlink(missing_ok=True)
    if not missing:
        log("already done")
    for path in reversed(missing):
        store.write_selection(path, choice.reader, *wanted[path])
    return out


def control_path(out: Path) -> Path:
    """Where the control of the selection `out` lies: Y.control.h5 beside Y.h5."""
    return out.with_suffix(".control.h5")


def _columns(reader: store.Reader) -> dict[str, np.ndarray]:
    scores = {name: score.values for name, score in reader.scores.items()}
    return scores | {"pid": reader.pid, "camid": reader.camid, "row": np.arange(len(reader))}


def _matching(
    keep: str, columns: dict[str, np.ndarray], reader: store.Reader
) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"], tuple[str, ...]]:
    """Which rows the condition holds for, which it cannot decide, and the columns it is on."""
    try:
        condition = expressions.parse(keep, list(columns))
    except ValueError as error:
        raise ValueError(f"--keep: {error}{_hint(reader)}") from None
    holds, fails = expressions.evaluate(condition, columns)
    return holds, ~(holds | fails), condition.columns


def _best(
    config: FilterConfig, columns: dict[str, np.ndarray], reader: store.Reader
) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"], tuple[str, ...]]:
    """The best share by a column; of equal values the lower rows, and never one without a value."""
    assert config.by is not None
    assert config.top is not None
    if config.by not in columns:
        raise ValueError(f"--by {config.by}: no such column; there are {', '.join(columns)}{_hint(reader)}")
    values = columns[config.by]
    groups = _groups(columns["pid"], config)
    counts = np.asarray([_share(config.top, int(size)) for size in np.bincount(groups)])
    kept = _first(values if config.lowest else -values, groups, counts)
    unknown = np.isnan(values)
    return kept & ~unknown, unknown, (config.by,)


def _control(pid: Int[np.ndarray, " n"], kept: Bool[np.ndarray, " n"], config: FilterConfig) -> Int[np.ndarray, " k"]:
    """As many random rows, of each identity as many as are kept where the filter was for each identity."""
    groups = _groups(pid, config)
    counts = np.bincount(groups[kept], minlength=int(groups.max()) + 1)
    order = np.random.default_rng(config.seed).permutation(len(pid))
    return np.flatnonzero(_first(order, groups, counts))


def _groups(pid: Int[np.ndarray, " n"], config: FilterConfig) -> Int[np.ndarray, " n"]:
    """The group of each row, numbered from 0: its identity, or one for all."""
    return np.unique(pid, return_inverse=True)[1] if config.per == IDENTITY else np.zeros(len(pid), np.int64)


def _first(keys: np.ndarray, groups: Int[np.ndarray, " n"], counts: Int[np.ndarray, " g"]) -> Bool[np.ndarray, " n"]:
    """The `counts` rows of each group with the smallest keys; of equal keys the lower rows, NaN last."""
    order = np.lexsort((keys, groups))
    starts = np.concatenate([[0], np.cumsum(np.bincount(groups))[:-1]])
    rank = np.arange(len(keys)) - starts[groups[order]]
    chosen = np.zeros(len(keys), np.bool_)
    chosen[order[rank < counts[groups[order]]]] = True
    return chosen


def _share(top: float, size: int) -> int:
    """A share of so many images, rounded half up as a decimal number, but one at least."""
    return max(1, math.floor(Fraction(str(top)) * size + Fraction(1, 2)))


def _hint(reader: store.Reader) -> str:
    return "" if reader.scores else f"; `augment score {reader.base} DATA` adds scores"


def _option(config: FilterConfig) -> str:
    return f"--keep {config.keep!r}" if config.keep is not None else f"--top {config.top} --by {config.by}"


def _require_free(out: Path, reader: store.Reader) -> None:
    """Refuse names that mean something else.

    Raises:
        ValueError: no .h5, the name of a file of scores, or the set itself.
    """
    if out.suffix != ".h5" or out.name.endswith(".scores.h5"):
        raise ValueError(f"--out {out}: expected a file name that ends in .h5 (and not in .scores.h5)")
    for path in (out, control_path(out)):
        if path.resolve() in (reader.path.resolve(), reader.base.resolve()):
            raise ValueError(f"--out {out}: would replace the set that it selects from; choose another")


def _require_selection(path: Path) -> None:
    if path.exists() and not store.is_selection(path):
        raise ValueError(f"{path}: is no selection, so --force leaves it; remove it or choose another --out")


def _holds(path: Path, reader: store.Reader, rows: Int[np.ndarray, " k"], said: dict[str, Any]) -> bool:
    """Whether a path holds this very selection; False where it is free.

    Raises:
        ValueError: it holds something else, or another selection, naming the keys.
    """
    if not path.exists():
        return False
    if not store.is_selection(path):
        raise ValueError(f"{path}: is no selection; choose another --out")
    try:
        held = store.Reader(path)
    except ValueError as error:
        raise ValueError(f"{error}; --force replaces it") from None
    remedy = "choose another --out, or --force to replace it"
    audit.require_same(str(path), held.attributes["selection"], said, remedy, problem="holds another selection")
    of_base = rows if reader.rows is None else reader.rows[rows]
    assert held.rows is not None
    if not np.array_equal(held.rows, of_base):
        raise ValueError(f"{path}: holds another selection: other rows, so the scores have changed; {remedy}")
    return True
