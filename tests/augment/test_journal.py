"""The journal never runs ahead of its checkpoint."""

import pytest

from augment.journal import Journal


@pytest.fixture
def path(tmp_path):
    journal = Journal(tmp_path / "losses.csv", "images", 0)
    for images in (8, 16, 24):
        journal.add({"images": images, "loss": 1 / images})
    journal.write()
    return tmp_path / "losses.csv"


def test_written_rows(path):
    assert path.read_text() == f"images,loss\n8,{1 / 8}\n16,{1 / 16}\n24,{1 / 24}\n"


def test_rows_past_the_checkpoint_are_dropped_and_others_kept_to_the_letter(path):
    before = path.read_text().splitlines()
    journal = Journal(path, "images", 16)
    journal.add({"images": 24, "loss": 0.5})
    journal.write()
    assert path.read_text().splitlines() == [*before[:3], "24,0.5"]


def test_nothing_is_written_before_there_is_a_row(tmp_path):
    Journal(tmp_path / "losses.csv", "images", 0).write()
    assert not (tmp_path / "losses.csv").exists()
