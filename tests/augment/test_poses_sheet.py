"""The sheet of `poses`: never one of the images that are read, never instead of a file that is none."""

import pytest
from PIL import Image

from tests.annotating import write_folder
from tests.command_line import require_one_line
from tests.rtmpose_network import write_network


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_network(tmp_path_factory.mktemp("weights") / "end2end.onnx", (64, 48))


@pytest.fixture
def folder(pedestrians, tmp_path):
    return write_folder(pedestrians, tmp_path / "images")


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_refused_before_any_work(augment, folder, weights, tmp_path, monkeypatch, more):
    monkeypatch.chdir(folder)
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "notes.png").write_text("notes")
    (folder / "deep").mkdir()
    before = sorted(tmp_path.rglob("*"))
    among = "lies among the images that are read; write it to another folder"
    for sheet, said, options in (
        (folder / "poses.png", among, ()),
        ("poses.png", among, ()),
        (tmp_path / "link" / "poses.png", among, ()),
        (folder / "deep" / "poses.png", among, ("--recursive",)),
        (folder / "new" / "poses.png", among, ("--recursive",)),
        (tmp_path / "x.bmp", "ends with '.bmp'; name it .png", ()),
        (tmp_path / "notes.png", "is there, and no PNG that a sheet may replace; give it another name", ()),
    ):
        given = ("poses", folder, "--out", tmp_path / "poses.csv", "--weights", weights, "--sheet", sheet)
        require_one_line(augment(*given, *options, *more), f"Error: --sheet {sheet}: {said}")
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "notes.png").read_text() == "notes"


def test_a_sheet_elsewhere_is_drawn_again_by_the_same_command(augment, folder, weights, tmp_path):
    sheet = tmp_path / "new" / "poses.PNG"
    given = ("poses", folder, "--out", tmp_path / "poses.csv", "--weights", weights, "--sheet", sheet)
    assert augment(*given).code == 0
    drawn = sheet.read_bytes()
    Image.new("L", (2, 2)).save(sheet)
    found = augment(*given)
    assert found.code == 0, found.err
    assert "already done" in found.err
    assert sheet.read_bytes() == drawn
