"""Galleries of a report: what was generated, best and worst, and the queries that augmentation fixed and broke."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from augment import sheets
from augment.data.images import read_image
from augment.data.records import DataSet
from augment.data.sharpness import sharpness
from augment.report_page import Card, Gallery
from augment.report_study import Compared, Found
from augment.store import Reader

HEIGHT, QUALITY = 112, 80  # pixels of a thumbnail, and its JPEG quality
GAP = 2  # pixels between source, pose and image
CANDIDATES = 2_000  # images of a set without scores whose sharpness is measured, at most
# By which of its scores a set is ranked: the first that it has; each is better the higher it is.
RANKED_BY = ("identity_margin", "identity_similarity", "pose_agreement", "discriminator", "sharpness")
Pixels = UInt8[np.ndarray, "h w 3"]
Scaled = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class _Ranking:
    """Rows of a set from the best to the worst, their values, and what they are."""

    rows: Int[np.ndarray, " n"]
    values: Float[np.ndarray, " n"]
    name: str
    note: str


def of_set(title: str, about: str, reader: Reader, dataset: DataSet, count: int) -> Gallery:
    """Source, target pose and generated image of the best and the worst `count` of a set, half of each.

    Raises:
        ValueError: an image that cannot be read.
    """
    ranking = _ranking(reader)
    total = len(ranking.rows)
    best = min(total, (count + 1) // 2)
    worst = min(total - best, count - best)
    places = [*range(best), *range(total - worst, total)]
    paths = {record.name: record.path for record in dataset.train}
    rows = ranking.rows[places].tolist()
    poses = dict(zip(sorted(rows), reader.poses(np.asarray(sorted(rows), dtype=np.int64)), strict=True))
    cards = []
    for place, row in zip(places, rows, strict=True):
        which = "best" if place < best else "worst"
        value = float(ranking.values[place])
        person, camera = str(reader.identity(row)), str(reader.camera(row))
        jpeg, size = _strip(reader, row, poses[row], paths.get(reader.source_name(row)))
        alt = f"Source, target pose and generated image of person {person}, {which} by {ranking.name}"
        lines = (f"person {person}, camera {camera}", f"{value:.3f} ({place + 1:,} of {total:,})")
        cards.append(Card(jpeg, size, alt, lines, (which, person, camera), value))
    caption = (
        f"{about} Source, target pose, generated image: {best:,} best and {worst:,} worst of {total:,}. {ranking.note}"
    )
    orders = ("best, then worst", f"highest {ranking.name}", f"lowest {ranking.name}")
    return Gallery(title, caption, ("shown as", "person", "camera"), orders, tuple(cards))


def of_queries(found: Found, compared: Compared, dataset: DataSet, count: int) -> Gallery:
    """The queries whose AP a comparison changes the most, mean over the seeds.

    Raises:
        ValueError: the data are not those of the results, or an image cannot be read.
    """
    before, after = (_mean_ap(found, arm, compared.seeds) for arm in (compared.against, compared.arm))
    asked = found.results[compared.arm, compared.seeds[0]]["per_query"]["pid"]
    if [record.pid for record in dataset.query] != asked:
        raise ValueError(f"{dataset.root}: its queries are not those of the results; the data have changed")
    gain = after - before
    ranked = np.argsort(-gain, kind="stable")
    ranked = ranked[np.isfinite(gain[ranked])]
    gained, lost = ranked[gain[ranked] > 0], ranked[gain[ranked] < 0][::-1]
    room = _split(count, len(gained), len(lost))
    chosen = [*gained[: room[0]].tolist(), *lost[: room[1]].tolist()]
    chosen.sort(key=lambda query: (-abs(gain[query]), query))
    cards = []
    for query in chosen:
        record, change = dataset.query[query], 100 * float(gain[query])
        jpeg, size = _thumbnail(read_image(record.path))
        turned = "gained" if change > 0 else "lost"
        ap = f"AP {100 * before[query]:.0f} → {100 * after[query]:.0f} % ({change:+.1f})"
        alt = f"Query of person {record.pid}, camera {record.camid}: {turned} {abs(change):.1f} points of AP"
        lines = (f"person {record.pid}, camera {record.camid}", ap)
        cards.append(Card(jpeg, size, alt, lines, (turned, str(record.pid), str(record.camid)), change))
    caption = (
        f"AP with {compared.against} → with {compared.arm}, {_over(len(compared.seeds))}. {len(gained):,} "
        f"queries gained, {len(lost):,} lost, {len(ranked) - len(gained) - len(lost):,} did not change; shown are the "
        f"{len(chosen):,} that changed the most. One query's AP moves by chance as well: what moves together says more."
    )
    orders = ("largest change first", "largest gain first", "largest loss first")
    title = "Queries that were fixed and broken"
    return Gallery(title, caption, ("outcome", "person", "camera"), orders, tuple(cards))


def _mean_ap(found: Found, arm: str, seeds: Sequence[int]) -> Float[np.ndarray, " queries"]:
    """NaN where a query has no match."""
    values = [found.results[arm, seed]["per_query"]["ap"] for seed in seeds]
    return np.asarray([[np.nan if ap is None else ap for ap in row] for row in values]).mean(axis=0)


def _over(seeds: int) -> str:
    return "of one seed" if seeds == 1 else f"mean over {seeds} seeds"


def _split(count: int, first: int, second: int) -> tuple[int, int]:
    """How many of each are shown: half, and what one side leaves the other may take."""
    half = count // 2
    return min(first, max(count - half, count - second)), min(second, max(half, count - first))


def _ranking(reader: Reader) -> _Ranking:
    name = next((name for name in RANKED_BY if name in reader.scores), None)
    rows = np.arange(len(reader))
    if name is None:
        name, rows = "sharpness", rows[:CANDIDATES]
        values = np.asarray([sharpness(reader.image(row)) for row in rows.tolist()], dtype=np.float64)
        whole = "" if len(rows) == len(reader) else f" of its first {len(rows):,} images"
        note = f"The set has no scores (`augment score` adds them), so it is ranked by the sharpness{whole}."
    else:
        values = reader.scores[name].values.astype(np.float64)
        note = f"Ranked by the score {name}."
    there = np.flatnonzero(np.isfinite(values))
    if len(there) < len(values):
        note += f" {len(values) - len(there):,} images have none."
    order = there[np.argsort(-values[there], kind="stable")]
    return _Ranking(rows[order], values[order], name, note)


def _strip(
    reader: Reader, row: int, pose: Float[np.ndarray, "18 2"], source: Path | None
) -> tuple[bytes, tuple[int, int]]:
    """Source, pose and generated image side by side; without a source that is still there, the other two."""
    images = [sheets.draw_skeleton(pose, reader.size), reader.image(row)]
    if source is not None:
        images.insert(0, read_image(source))
    scaled = [_scaled(image) for image in images]
    gap = np.full((HEIGHT, GAP, 3), 255, np.uint8)
    parts = [part for image in scaled for part in (image, gap)][:-1]
    return _encoded(np.concatenate(parts, axis=1))


def _thumbnail(image: Pixels) -> tuple[bytes, tuple[int, int]]:
    return _encoded(_scaled(image))


def _scaled(image: Pixels) -> Scaled:
    height, width = image.shape[:2]
    size = (max(1, round(HEIGHT * width / height)), HEIGHT)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def _encoded(image: Scaled) -> tuple[bytes, tuple[int, int]]:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue(), (image.shape[0], image.shape[1])
