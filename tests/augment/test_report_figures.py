"""Figures of a study: a drawing that one wide interval does not squeeze, curves that can be told apart; logs."""

import pytest

from augment import report_learning, report_plots
from augment.comparison import Difference
from augment.report_figures import TOGETHER, _panels, learning
from augment.report_results import arms
from augment.report_study import comparisons, read
from tests import studying


def gain(reach):
    return Difference(0.01, -reach, reach, (0.01, 0.02), 0.01)


def test_an_axis_is_cut_where_few_gains_need_much_more():
    usual = [gain(0.05) for _ in range(9)]
    assert report_plots._edge(usual) == 0.05
    assert report_plots._edge([*usual, gain(0.06)]) == 0.06
    assert report_plots._edge([*usual, gain(1.0)]) == pytest.approx(1.3 * 0.05)
    means = {f"{place}": each for place, each in enumerate([*usual, gain(1.0)])}
    assert "An arrow" in report_plots.gains(means, "name", "alt", "caption.").caption
    assert report_plots.gains(dict(list(means.items())[:9]), "name", "alt", "caption.").caption == "caption."


def test_many_learning_curves_are_drawn_with_and_without_erasing_apart(tmp_path, pedestrians):
    studying.make(tmp_path, pedestrians)
    found = read(tmp_path)
    assert [plot.svg.count("training images seen") for plot in learning(found)] == [1, 1]
    bands = {arm["name"]: None for arm in found.arms}
    assert [list(panel) for panel in _panels(found, bands)] == [list(bands)]
    bands |= dict.fromkeys(map(str, range(TOGETHER)))
    panels = [list(panel) for panel in _panels(found, bands)]
    assert panels == [["real", "mixed", *"012345"], ["6", "7"], ["real+erasing", "mixed+erasing"]]


def test_arms_that_have_not_learned_their_images_are_named(tmp_path, pedestrians):
    layout = studying.make(tmp_path, pedestrians)
    reached = {"real": 0.99, "real+erasing": 0.95, "mixed": 0.91, "mixed+erasing": 0.5}
    for (arm, seed), name in layout.trials.items():
        path = tmp_path / "units" / name / "run" / "epochs.csv"
        path.write_text(f"epoch,images_seen,loss,accuracy\n1,5,1,0.1\n2,9,1,{reached[arm] + 0.01 * (seed - 1)}\n")
    found = read(tmp_path)
    assert report_learning.last_accuracies(found, "mixed") == pytest.approx([0.90, 0.91, 0.92])
    said = report_learning.warning(found, comparisons(found))
    assert "below 90 %: mixed+erasing (50 %);" in said
    assert "more than 10 points apart: mixed+erasing and real+erasing. These" in said
    place = arms(found).titles.index("training accuracy, %")
    assert [row[place] for row in arms(found).texts] == ["99.0 ± 1.0", "95.0 ± 1.0", "91.0 ± 1.0", "50.0 ± 1.0"]
    for path in (tmp_path / "units").glob("*/run/epochs.csv"):
        path.unlink()
    found = read(tmp_path)
    assert report_learning.warning(found, comparisons(found)) == ""
    assert {row[place] for row in arms(found).texts} == {"–"}
