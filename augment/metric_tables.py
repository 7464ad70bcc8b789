"""Results of `evaluate-generator` as tables: plain text, Markdown, LaTeX; beside them what papers print."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from augment.image_metrics import METRICS
from augment.image_pairs import SOME_KNOWN

Cells = Sequence[Sequence[str]]
HEADER = ("metric", "better", "value", "95 % interval", "n", "real images", "protocol")
MARKET_SIZE = [128, 64]  # of the published rows
LABEL = "published: other pairs, weights and ways of saving; Market-1501, 128x64"
WHOSE = {"identities": "identities", SOME_KNOWN: "identities and unknown images"}
PREAMBLE = r"% needs \usepackage{booktabs}"
ESCAPES = {letter: f"\\{letter}" for letter in "_%&#${}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$",
}  # fmt: skip
DIGITS = {"psnr": 2, "l1": 2, "fid": 2, "fid_gfla": 2, "inception_score": 3, "mask_is": 3, "kid": 5}


@dataclass(frozen=True)
class Published:
    """What a paper (or a re-test) prints of a method; "" where it does not."""

    method: str
    parameters: str = ""  # millions
    ssim: str = ""
    ssim_pg2: str = ""
    lpips: str = ""
    fid_gfla: str = ""
    mask_ssim: str = ""
    inception_score: str = ""
    mask_is: str = ""


COMPARED = ("ssim", "ssim_pg2", "lpips", "fid_gfla", "mask_ssim", "inception_score", "mask_is")
PUBLISHED = (
    Published("PG2, its paper", "437", ssim_pg2="0.253"),
    Published("PG2, re-tested by PATN", "437", "0.261"),
    Published("Deformable GAN", "82", "0.2683", "", "0.2994", "25.36"),
    Published("PATN, its paper", "41.36", "0.311"),
    Published("PATN", "41.36", "0.2821", "", "0.3196", "22.66"),
    Published("PATN, its released weights", "41.36", "0.2815", "", "", "", "0.799", "3.16", "3.74"),
    Published("GFLA", "", "0.2883", "", "0.2817", "19.75"),
    Published("DPTN", "9.79", "0.2854", "", "0.2711", "18.99"),
    Published("PIDM", "", "0.3054", "", "0.2415", "14.45"),
    Published("PCDMs", "", "0.3169", "", "0.2238", "13.90"),
    Published("IMAGPose", "", "0.3282", "", "0.2104", "12.66"),
)


def render(found: Mapping[str, Any], form: str) -> str:
    """Values with their intervals and notes, what was not computed, and beside a generator's the published rows.

    `form`: table, markdown or latex.
    """
    draw = FORMS[form]
    rows = [[name, *_cells(name, entry)] for name, entry in found["metrics"].items()]
    parts = [PREAMBLE] if form == "latex" else []
    parts.append(draw(HEADER, rows) if rows else "nothing was computed")
    if found["provenance"]["notes"]:
        parts.append(_noted(found["provenance"]["notes"], form))
    if found["not_computed"]:
        parts.append(_listed({name: f"not computed: {why}" for name, why in found["not_computed"].items()}, form))
    if _comparable(found["provenance"]) and any(name in found["metrics"] for name in COMPARED):
        model = found["provenance"].get("generator", {}).get("model")
        ours = "this evaluation" if model is None else f"{model}, this evaluation"
        parts.append(beside_published({ours: found}, form))
    return "\n\n".join(parts)


def beside_published(found: Mapping[str, Mapping[str, Any]], form: str) -> str:
    """Evaluations of generators by name under what papers print; the caption says of which images each is."""
    ours = [
        [name, _parameters(results["provenance"]), *(value_of(results, metric) for metric in COMPARED)]
        for name, results in found.items()
    ]
    papers = [[row.method, row.parameters, *(getattr(row, metric) for metric in COMPARED)] for row in PUBLISHED]
    said = "; ".join([LABEL, *(f"{name}: {_images_of(results['provenance'])}" for name, results in found.items())])
    caption = {"table": said, "markdown": f"*{said}*", "latex": _paragraph(said)}[form]
    return f"{caption}\n\n{FORMS[form](('method', 'parameters (M)', *COMPARED), [*papers, *ours])}"


def side_by_side(found: Mapping[str, Mapping[str, Any]], form: str) -> str:
    """Evaluations by name: a row a metric that any of them has, a column each, and what real images have."""
    names = [name for name in METRICS if any(name in results["metrics"] for results in found.values())]
    rows = []
    for name in names:
        entries = [results["metrics"][name] for results in found.values() if name in results["metrics"]]
        floor = next((entry["floor"]["value"] for entry in entries if "floor" in entry), None)
        values = [_with_interval(name, results["metrics"].get(name)) for results in found.values()]
        rows.append([name, entries[0]["better"], *values, _number(name, floor)])
    return FORMS[form](("metric", "better", *found, "real images"), rows)


def value_of(found: Mapping[str, Any], name: str) -> str:
    """The bare value of a metric, or nothing."""
    return _number(name, found["metrics"][name]["value"]) if name in found["metrics"] else ""


def _comparable(provenance: Mapping[str, Any]) -> bool:
    """Whether papers measure the like: images of test pairs, of their size, of a generator or its test script."""
    of_test_pairs = ("generator" in provenance and "set" not in provenance) or "results" in provenance
    return provenance["size"] == MARKET_SIZE and of_test_pairs


def _parameters(provenance: Mapping[str, Any]) -> str:
    """Millions of a generator's numbers, where they are known; those that need no training have none."""
    count = provenance.get("generator", {}).get("parameters")
    return f"{count / 1e6:.2f}" if count else ""


def _images_of(provenance: Mapping[str, Any]) -> str:
    return f"{provenance['compared']['pairs']}, of the data {provenance['data']}"


def _cells(name: str, entry: Mapping[str, Any]) -> list[str]:
    interval = "" if entry["low"] is None else f"{_number(name, entry['low'])} to {_number(name, entry['high'])}"
    people = "".join(f" of {entry[unit]:,} {whose}" for unit, whose in WHOSE.items() if unit in entry)
    floor = entry.get("floor")
    return [
        entry["better"], _number(name, entry["value"]), interval, f"{entry['n']:,}{people}",
        "" if floor is None else f"{_number(name, floor['value'])} (n {floor['n']:,})", entry["protocol"],
    ]  # fmt: skip


def _with_interval(name: str, entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return ""
    value = _number(name, entry["value"])
    return value if entry["low"] is None else f"{value} ({_number(name, entry['low'])}-{_number(name, entry['high'])})"


def _number(name: str, value: float | None) -> str:
    return "" if value is None else f"{value:.{DIGITS.get(name, 4)}f}"


def _plain(header: Sequence[str], rows: Cells) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (header, *rows)]
    return "\n".join(line.rstrip() for line in lines)


def _markdown(header: Sequence[str], rows: Cells) -> str:
    lines = (header, ["---"] * len(header), *rows)
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _latex(header: Sequence[str], rows: Cells) -> str:
    """With the rules of the package booktabs."""
    head, *body = (" & ".join(_escaped(cell) for cell in line) + r" \\" for line in (header, *rows))
    begin = rf"\begin{{tabular}}{{{'l' * len(header)}}}"
    return "\n".join([begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"])


def _paragraph(text: str) -> str:
    """In LaTeX: what must not be lost beside the table."""
    return rf"\par\noindent {_escaped(text)}\par"


def _escaped(text: str) -> str:
    return "".join(ESCAPES.get(letter, letter) for letter in text)


def _listed(texts: Mapping[str, str], form: str) -> str:
    lines = {
        "table": [f"{name:<20}  {text}" for name, text in texts.items()],
        "markdown": [f"- `{name}`: {text}" for name, text in texts.items()],
        "latex": [_paragraph(f"{name}: {text}") for name, text in texts.items()],
    }
    return "\n".join(lines[form])


def _noted(notes: Sequence[str], form: str) -> str:
    lines = {
        "table": [f"note: {note}" for note in notes],
        "markdown": [f"- {note}" for note in notes],
        "latex": [_paragraph(f"Note: {note}") for note in notes],
    }
    return "\n".join(lines[form])


FORMS: Mapping[str, Callable[[Sequence[str], Cells], str]] = {
    "table": _plain,
    "markdown": _markdown,
    "latex": _latex,
}
