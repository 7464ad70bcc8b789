"""The contact sheet of a set: full, half of it with true images, its rows named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augment import sheets, store, synthesize
from augment.synthesize import SynthesizeConfig, run
from tests.synthesizing import CONFIG


def test_the_sheet(pedestrians, generator, whole, tmp_path):
    run(CONFIG, pedestrians, generator, whole, device="cpu", sheet=tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        rows, groups = min(synthesize.SHEET_ROWS, len(store.Reader(whole))), 3
        assert sheet.width == groups * (4 * (2 * 64 + 4) + 8)
        assert sheet.height > -(-rows // groups) * 2 * 128
        assert len(np.unique(np.asarray(sheet))) > 50


@pytest.mark.parametrize(("poses", "true"), [("self", True), ("same-identity", True), ("other-identity", False)])
def test_the_sheet_is_full_whatever_the_policy(pedestrians, tmp_path, poses, true):
    config = SynthesizeConfig(poses, per_image=1)
    reader = store.Reader(run(config, pedestrians, Path("copy"), tmp_path / "x.h5", device="cpu"))
    split = synthesize.prepare(config, pedestrians, Path("copy"), device="cpu").split
    count = len(reader) - 3
    rows = synthesize.sheet_rows(reader, split, count)
    assert [row[3] is not None for row in rows] == [true] * count


def test_the_sheet_has_half_with_a_true_image_where_there_are_as_many(pedestrians, tmp_path):
    config = SynthesizeConfig("random", per_image=4)
    reader = store.Reader(run(config, pedestrians, Path("copy"), tmp_path / "x.h5", device="cpu"))
    split = synthesize.prepare(config, pedestrians, Path("copy"), device="cpu").split
    people = [record.pid for record in split.records]
    same = sum(people[target] == pid for target, pid in zip(reader.target_index, reader.pid, strict=True))
    for count in (4, len(reader), len(reader) + 5):
        there = [row[3] is not None for row in synthesize.sheet_rows(reader, split, count)]
        assert len(there) == min(count, len(reader))
        assert sum(there) == (count // 2 if count == 4 else same)


def test_the_sheet_names_its_rows(pedestrians, generator, whole, tmp_path, monkeypatch):
    given = {}
    monkeypatch.setattr(sheets, "write_sheet", lambda path, rows, titles, **more: given.update(more, rows=rows))
    reader = store.Reader(whole)
    split = synthesize.prepare(CONFIG, pedestrians, generator, device="cpu").split
    synthesize.write_sheet(tmp_path / "sheet.png", reader, split)
    assert given["head"] == f"x.h5: {len(reader)} of {len(reader)} images, poses: random, generator: dptn"
    for label, cells in zip(given["labels"], given["rows"], strict=True):
        _, row, _, pid, _, camera = label.split()
        assert np.array_equal(cells[2], reader.image(int(row)))
        assert (int(pid), int(camera)) == (reader.identity(int(row)), reader.camera(int(row)))
