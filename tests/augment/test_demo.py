"""The demo at its smallest: every stage, the report, and what happens when it is started again."""

from contextlib import contextmanager
from dataclasses import replace

import pytest

from augment import weights
from augment.demo import DemoConfig, run
from augment.files import read_json, sha256
from generators.checkpoint import load_generator, read_metadata

SMALLEST = DemoConfig(
    identities=4, test_identities=3, per_camera=2, generator_images=8, per_image=2, ratio=0.5, epochs=1, seeds=1
)


@contextmanager
def no_bar(description, unit):
    yield lambda done, total: None


def test_demo_ends_in_a_report_and_says_already_done(tmp_path):
    page, table = run(SMALLEST, tmp_path / "demo", device="cpu", bar=no_bar)
    text = page.read_text()
    assert "real + synthetic - real only, mAP" in table
    assert "same number of updates" in text
    assert "500 other procedural identities" in text
    assert (text.count("data:image/png;base64,"), text.count("data:image/jpeg;base64,")) == (2, 1)
    assert "for this picture alone those of the synthetic set" in text
    real, mixed = (read_json(tmp_path / "demo" / "reid" / f"{arm}-seed0" / "results.json") for arm in ("real", "mixed"))
    assert real["iterations"] == mixed["iterations"]
    assert mixed["provenance"]["synthetic"][0]["generator"]["initialised_from"]["weights_sha256"] == sha256(
        weights.TINY
    )

    before = page.stat().st_mtime_ns
    said = []
    again, same_table = run(SMALLEST, tmp_path / "demo", device="cpu", bar=no_bar, log=said.append)
    assert (again, same_table, again.stat().st_mtime_ns) == (page, table, before)
    assert said == ["already done"]
    with pytest.raises(ValueError, match=r"another configuration: epochs \(1 there, 2 asked\)"):
        run(replace(SMALLEST, epochs=2), tmp_path / "demo", device="cpu", bar=no_bar)


def test_shipped_weights_are_the_documented_ones():
    from pathlib import Path

    assert weights.TINY.stat().st_size <= 3_000_000
    header = read_metadata(weights.TINY)
    assert (header["model"], header["preset"], header["images_seen"]) == ("dptn", "tiny", 80_000)
    assert sum(parameter.numel() for parameter in load_generator(weights.TINY).parameters()) == 1_393_851
    page = (Path(__file__).parents[2] / "docs" / "weights.md").read_text(encoding="utf-8")
    assert sha256(weights.TINY) in page
