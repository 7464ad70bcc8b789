"""Contact sheets: where images stand, and that texts fit into the space above them."""

import numpy as np
import pytest

from augment import sheets


def cell(value, size=(16, 8)):
    return np.full((*size, 3), value, np.uint8)


def columns_with_ink(pixels):
    return np.flatnonzero((pixels < 128).any(axis=(0, 2)))


@pytest.mark.parametrize("texts", [{}, {"labels": ["a", "b", "c"]}, {"labels": ["a", "b", "c"], "head": "policy"}])
def test_every_image_is_there_whole_and_once(texts):
    rows = [(cell(10 + row), cell(110 + row) if row else None) for row in range(3)]
    sheet = sheets.drawn(rows, ("x", "y"), groups=2, **texts)
    for row in range(3):
        for value, there in ((10 + row, True), (110 + row, row > 0)):
            places = np.argwhere((sheet == value).all(axis=2))
            solid = [
                place for place in places
                if (sheet[place[0] : place[0] + 32, place[1] : place[1] + 16] == value).all()
                and sheet[place[0] : place[0] + 32, place[1] : place[1] + 16].shape == (32, 16, 3)
            ]  # fmt: skip
            assert len(solid) == there


def test_labels_stand_above_their_rows_and_the_head_above_all():
    rows = [(cell(255, (64, 64)),), (cell(255, (64, 64)),)]
    bare, labelled, headed = (
        sheets.drawn(rows, [""], **texts)
        for texts in ({}, {"labels": ["", "second"]}, {"labels": ["", "second"], "head": "policy"})
    )
    assert not (bare < 128).any(), "white on white"
    lines = np.flatnonzero((labelled < 128).any(axis=(1, 2)))
    added = (labelled.shape[0] - bare.shape[0]) // 2
    assert bare.shape[0] - 2 * (128 + sheets.GAP) + added + 128 < lines[0], "below the first image"
    assert lines[-1] < labelled.shape[0] - 128 - sheets.GAP, "above the second one"
    assert np.flatnonzero((headed < 128).any(axis=(1, 2)))[0] < headed.shape[0] - labelled.shape[0]


@pytest.mark.parametrize("width", [48, 64, 128])
def test_titles_are_as_large_as_their_columns_allow(width):
    rows = [(cell(255, (2 * width, width)),) * 2]
    heights = {}
    for titles in (("i", ""), ("target pose", ""), ("target pose of somebody", "")):
        sheet = sheets.drawn(rows, titles)
        ink = columns_with_ink(sheet)
        assert ink[0] >= sheets.GAP
        assert ink[-1] < sheets.GAP + 2 * width, "into the next column"
        heights[titles[0]] = sheet.shape[0] - 2 * 2 * width
    assert heights["i"] >= heights["target pose"] >= heights["target pose of somebody"]
    assert heights["i"] >= 2 * width // 5, "scales with the images"


def test_as_many_labels_as_rows():
    with pytest.raises(AssertionError, match="1 rows, 2 labels"):
        sheets.drawn([(cell(0),)], ["x"], labels=["a", "b"])
