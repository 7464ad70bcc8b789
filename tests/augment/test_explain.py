"""What is drawn of a generator: columns of its kind, heat where the attention is."""

import numpy as np
import pytest
import torch
from PIL import Image

from augment import explain
from generators import checkpoint
from generators.registry import create_generator
from tests.command_line import caller

NETWORKS = {
    "pg2": {"channels": 4, "refine_channels": 4},
    "patn": {"width": 4, "blocks": 2},
    "dptn": {"width": 8, "max_width": 16},
}
COLUMNS = {"pg2": 2, "patn": 2, "dptn": len(explain.JOINTS)}  # beside source, target pose, generated and true


def save(path, model, **network):
    torch.manual_seed(0)
    generator = create_generator(model, "tiny", **network)
    path.write_bytes(checkpoint.generator_to_bytes(model, "tiny", generator, {}))
    return path


@pytest.mark.parametrize("model", NETWORKS)
def test_a_sheet_has_the_columns_of_its_kind(pedestrians, tmp_path, model, monkeypatch, capsys):
    weights = save(tmp_path / "x.safetensors", model, **NETWORKS[model])
    out = tmp_path / "sheet.png"
    augment = caller(monkeypatch, capsys)
    found = augment("explain", pedestrians, "--generator", weights, "--sheet", out, "--pairs", 3, "--device", "cpu")
    assert (found.code, found.out.strip()) == (0, str(out))
    with Image.open(out) as sheet:
        columns, rows = COLUMNS[model] + 4, 3
        titles = sheet.height - rows * (256 + 4) - 4
        assert sheet.width == columns * (128 + 4) + 8
        assert 12 <= titles <= 40


def test_what_attends_to_nothing_is_refused(pedestrians, tmp_path):
    with pytest.raises(ValueError, match="Warp attends to nothing"):
        explain.run(pedestrians, "warp", tmp_path / "sheet.png", device="cpu")
    one = save(tmp_path / "one.safetensors", "pg2", **NETWORKS["pg2"], stages=1)
    with pytest.raises(ValueError, match="a PG2 of one stage attends to nothing"):
        explain.run(pedestrians, one, tmp_path / "sheet.png", device="cpu")
    assert not (tmp_path / "sheet.png").exists()


def test_heat_is_bright_where_it_is_high():
    image = np.full((32, 16, 3), 100, np.uint8)
    heat = np.zeros((8, 4), np.float32)
    heat[2, 1] = 1
    drawn = explain.overlay(image, heat, 0.0, 1.0).astype(int)
    centre, corner = drawn[10, 6], drawn[30, 14]
    assert centre.sum() > corner.sum() + 100
    assert centre[0] > centre[2], "yellow"
    assert corner[2] > corner[0], "blue"
    even = explain.overlay(image, np.full((8, 4), 0.3, np.float32), 0.3, 0.3)
    assert len(np.unique(even.reshape(-1, 3), axis=0)) == 1


def test_dptns_columns_show_the_sources_of_each_joint(pedestrians, tmp_path):
    """A correspondence that looks straight back lights up the joint's own place."""
    from augment.data import keypoints
    from augment.data.read import read_data
    from augment.validation import hold_out

    dataset = read_data(pedestrians)
    points = keypoints.dataset_points(dataset)
    held_out = hold_out(keypoints.usable(dataset.train, points), points, same_camera=False, count=2)
    assert held_out is not None
    split, (source, target) = held_out.split, held_out.pairs.T
    height, width = 16, 8
    weights = np.eye(height * width, dtype=np.float32).reshape(1, height, width, height, width).repeat(2, 0)
    title, cells = explain._sources_of("neck", weights, split, source, target, 8)
    assert title == "neck"
    for cell, second in zip(cells, target, strict=True):
        row, column = split.points[second, 1]
        assert cell is not None
        green = cell[..., 1].astype(float) - 0.35 * split.pixels[source[0]].mean()
        found = np.unravel_index(green.argmax(), green.shape)
        assert abs(found[0] - row) <= 10
        assert abs(found[1] - column) <= 10
