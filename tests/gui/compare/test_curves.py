"""Curves and matching profiles of the chosen runs over each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PySide6.QtWidgets import QLabel

from nfkd.protocol.comparing import ReadMatchingProfiles, ReadRunCurves
from nfkd_gui.model.chosen_runs import ChosenRuns
from nfkd_gui.model.compare import CompareModel
from nfkd_gui.panels.compare_base import ComparePanel
from nfkd_gui.panels.compare_curves import RunCurvesPanel
from nfkd_gui.panels.compare_matching import RunMatchingPanel
from nfkd_gui.theme import tokens
from tests.gui.compare.compare_driver import key
from tests.gui.compare_script import CompareScript
from tests.gui.pixels import count_of


def sentence(panel: ComparePanel) -> str:
    label = panel.findChild(QLabel, f"{panel.name}.sentence")
    assert isinstance(label, QLabel)
    return label.text() if label.isVisible() else ""


@pytest.fixture
def curves(show: Callable[..., Any]) -> RunCurvesPanel:
    return show(RunCurvesPanel)


def test_nothing_is_asked_before_a_run_is_chosen(curves: RunCurvesPanel, script: CompareScript) -> None:
    assert sentence(curves) == "Choose runs in the table to see their curves over each other."
    assert not any(isinstance(request, ReadRunCurves) for request in script.asked)


def test_each_group_has_a_line_in_its_colour_with_its_name_at_the_end(
    curves: RunCurvesPanel, model: CompareModel, chosen: ChosenRuns, answered: Any
) -> None:
    model.choose([key("K = 4, blocks + pool"), key("SKD at 1")])
    answered(curves, chosen.curves)
    assert sentence(curves) == ""
    picture = curves.plot.grab().toImage()
    for colour in tokens().run[:2]:
        assert count_of(picture, colour) > 100, colour
    names = [name.text for _, name in curves.plot.names.placed()]
    assert names == ["SKD at 1", "K = 4, blocks + pool"], "by the height of the ends"
    assert curves.note.text() == "Band: lowest to highest seed."
    rows = list(curves.numbers()["Curves"].rows)
    assert len(rows) == 1000
    assert rows[0][:2] == ["K = 4, blocks + pool", 1]


def test_one_run_is_enough(curves: RunCurvesPanel, model: CompareModel, chosen: ChosenRuns, answered: Any) -> None:
    model.choose([key("pool")])
    answered(curves, chosen.curves)
    assert [line.name for line in curves.plot.lines] == ["pool"]


def test_another_curve_is_asked_for_and_runs_without_it_are_named(
    curves: RunCurvesPanel, model: CompareModel, chosen: ChosenRuns, script: CompareScript, answered: Any
) -> None:
    model.choose([key("pool + LKD + ILKD"), key("pool")])
    answered(curves, chosen.curves)
    names = [curves.curve.itemData(index) for index in range(curves.curve.count())]
    assert names[:2] == ["validation/nll", "train/total"]
    assert "train/lkd" in names, "a term that one of them has"
    curves.curve.addItem("Training: SKD", "train/skd")
    curves.curve.setCurrentIndex(names.index("train/lkd"))
    answered(curves, chosen.curves)
    last = [request for request in script.asked if isinstance(request, ReadRunCurves)][-1]
    assert last.curve == "train/lkd"


def test_the_logarithmic_scale_moves_the_lines(
    curves: RunCurvesPanel, model: CompareModel, chosen: ChosenRuns, answered: Any
) -> None:
    model.choose([key("pool")])
    answered(curves, chosen.curves)
    (line,) = curves.plot.lines
    low = curves.plot.canvas.getViewBox().viewRange()[1]
    curves.log.click()
    curves.refresh()
    high = curves.plot.canvas.getViewBox().viewRange()[1]
    assert low[0] < line.mean[-1] < low[1]
    assert high[0] < np.log10(line.mean[-1]) < high[1] < 1


def test_runs_that_differ_by_seeds_are_asked_for_together(
    curves: RunCurvesPanel, model: CompareModel, chosen: ChosenRuns, script: CompareScript, answered: Any
) -> None:
    model.choose([key("pool")])
    answered(curves, chosen.curves)
    assert [request.runs for request in script.asked if isinstance(request, ReadRunCurves)] == [[key("pool")]]
    model.choose([key("pool"), key("SKD at 1")])
    model.choose([key("pool"), key("mixing only")])
    answered(curves, chosen.curves)
    asked = [request.runs for request in script.asked if isinstance(request, ReadRunCurves)]
    assert asked == [[key("pool")], [key("pool"), key("mixing only")]], "once for the changes that follow each other"


def test_matching_profiles_have_a_line_for_each_group(
    show: Callable[..., Any], model: CompareModel, chosen: ChosenRuns, script: CompareScript, answered: Any
) -> None:
    panel = show(RunMatchingPanel)
    assert sentence(panel) == "Choose runs in the table to see how well their layers match their teachers'."
    runs = [key("pool + LKD + ILKD"), key("blocks + pool"), key("pool")]
    model.choose(runs)
    answered(panel, chosen.profiles)
    assert [request.runs for request in script.asked if isinstance(request, ReadMatchingProfiles)] == [runs]
    assert [line.name for line in panel.plot.lines] == ["pool + LKD + ILKD", "blocks + pool"]
    assert panel.note.text().endswith("Without matched layers: pool.")
    picture = panel.plot.grab().toImage()
    for colour in tokens().run[:2]:
        assert count_of(picture, colour) > 50, colour
    rows = list(panel.numbers()["Errors"].rows)
    assert rows[0][:2] == ["pool + LKD + ILKD", "level 1 step 1"]
    assert rows[0][2:] == pytest.approx([0.02, 0.016, 0.026])


def test_runs_without_matched_layers_are_told(
    show: Callable[..., Any], model: CompareModel, chosen: ChosenRuns, script: CompareScript, answered: Any
) -> None:
    panel = show(RunMatchingPanel)
    script.unmatched = True
    model.choose([key("pool")])
    answered(panel, chosen.profiles)
    assert sentence(panel) == "The chosen runs have no matched layers."
