"""Results of `evaluate-reid` as text: a line a way of ranking, then the breakdowns that were asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

from augment.searched import PLAIN
from reid.results import RANKS

CAMERA, CAMERA_PAIR, VIEW = BREAKDOWNS = ("camera", "camera-pair", "view")
KEYS = {CAMERA: "by_query_camera", CAMERA_PAIR: "by_camera_pair", VIEW: "by_view"}
FIRST, WIDTH = 28, 8  # characters of the first column and of the others


def table(found: Mapping[str, Any], by: Sequence[str] = ()) -> str:
    """Percent, and what a reader must know of the data; `by` are some of BREAKDOWNS."""
    lines = [
        _line(f"ranked by {found['config']['metric']} distance", ["mAP", "mINP", *(f"R-{rank}" for rank in RANKS)])
    ]
    for column, scores in found["columns"].items():
        values = [scores["mAP"], scores["mINP"], *(scores["cmc"][str(rank)] for rank in RANKS)]
        lines.append(_line(column, [_percent(value) for value in values]))
    valid = sum(ap is not None for ap in found["per_query"][PLAIN]["ap"])
    lines.append(f"{valid} of {found['num_query']} queries have a match among {found['num_gallery']} gallery images")
    if neighbours := found["synthetic_neighbours"]:
        images = sum(held["images"] for held in neighbours["sets"])
        lines.append(
            f"{neighbours['mean']:.2f} of the first {neighbours['first']} would be synthetic on average, were the "
            f"{images} images of {', '.join(held['name'] for held in neighbours['sets'])} in the gallery; no score "
            "counts them"
        )
    lines += found["notes"]
    for kind in dict.fromkeys(by):
        lines += ["", *(_pairs if kind == CAMERA_PAIR else _entries)(kind, found[KEYS[kind]])]
    return "\n".join(lines)


def _entries(kind: str, entries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    title = {CAMERA: "camera of the query", VIEW: "view of the query"}[kind]
    lines = [_line(title, ["queries", "mAP", "R-1"])]
    for label, entry in entries.items():
        values = [f"{entry['queries']}", _percent(entry["mAP"]), _percent(entry["rank1"])]
        lines.append(_line(label, values))
    return lines


def _pairs(kind: str, rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """mAP alone; the other scores are in the JSON."""
    cameras = list(dict.fromkeys(there for row in rows.values() for there in row))
    cameras.sort(key=lambda camera: (not camera.isdigit(), int(camera) if camera.isdigit() else 0))
    lines = ["mAP of the queries of one camera among the images of one other", _line("query from, found in", cameras)]
    for here, row in rows.items():
        lines.append(_line(here, [_percent(row[there]["mAP"]) if there in row else "" for there in cameras]))
    return lines


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _line(first: str, rest: Sequence[str]) -> str:
    return f"{first:<{FIRST}}" + "".join(f"{value:>{WIDTH}}" for value in rest).rstrip()
