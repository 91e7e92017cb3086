"""The matching panel: a line and a row of the heat map for each matched pair of layers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QFontMetrics
from PySide6.QtWidgets import QApplication, QComboBox, QLabel

from nfkd.protocol.pictures import ListPictures, PictureList, ReadPictures, StagePictures, StagePictureSteps
from nfkd_gui.panels.matching import MatchingPanel
from nfkd_gui.theme import apply_theme, is_dark, plot_colours, tokens
from tests.gui.pixels import pixels

WITH_ASSISTANTS = ("teacher", "assistant-1", "assistant-2", "student", "baseline")


def row_names(panel: MatchingPanel) -> list[str]:
    ticks = panel.heat.canvas.getAxis("left")._tickLevels
    assert ticks is not None
    return [name for _, name in ticks[0]]


def test_a_pair_without_weight_has_a_dashed_line(show: Any, fake_run: Any) -> None:
    run = fake_run(weights=(2.0, 0.0))
    run.begin("student")
    run.matching(1, [2.0, 1.0])
    panel = show(MatchingPanel, run)
    styles = [line.opts["pen"].style() for line in panel.lines]
    assert styles == [Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine]  # the second pair has weight 0
    assert "student level 2 step 2 ↔ teacher level 2 step 8" in panel._legend.text()


def test_rows_are_named_where_the_names_fit_and_numbered_elsewhere(show: Any, fake_run: Any, qapp: Any) -> None:
    run = fake_run()
    run.begin("student")
    run.matching(1, [2.0, 1.0])
    run.matching(50, [1.0, 0.5])
    panel = show(MatchingPanel, run, (640, 500))
    names = ["level 1 step 2 ↔ level 1 step 8", "level 2 step 2 ↔ level 2 step 8"]
    for width, expected in ((900, names), (360, ["1", "2"])):
        panel.resize(width, 500)
        qapp.processEvents()
        panel.refresh()
        assert row_names(panel) == expected


def test_the_legend_has_one_line_in_a_narrow_tile(show: Any, fake_run: Any, qapp: Any) -> None:
    run = fake_run()
    run.begin("student")
    for step in (1, 10):
        run.matching(step, [0.5, 0.25])
    panel = show(MatchingPanel, run)
    for width, named in ((900, True), (500, True), (200, False)):
        panel.resize(width, 400)
        qapp.processEvents()
        panel.refresh()
        qapp.processEvents()
        legend = panel.findChild(QLabel, "matching.legend")
        assert legend.height() < 2 * legend.fontMetrics().height(), width
        assert ("step" in legend.text()) == named, width
        assert legend.toolTip().count("↔") == 2


def test_numbers_at_the_colour_scale_do_not_overlap(show: Any, fake_run: Any) -> None:
    for height, (high, low) in itertools.product((280, 320, 500), ((2.8, 1.8), (2.9, 1.8), (20.0, 0.01))):
        run = fake_run()
        run.begin("student")
        run.matching(1, [high, low])
        run.matching(50, [low, high])
        panel = show(MatchingPanel, run, (436, height))
        axis, (low, high) = panel.bar.axis, panel.bar.levels()
        ticks = [value for value, _text in axis._tickLevels[0]]
        assert ticks
        assert low <= min(ticks) <= max(ticks) <= high
        apart = np.diff(ticks) * axis.height() / (high - low)
        assert (apart >= QFontMetrics(panel.font()).height()).all()


def test_zero_and_non_finite_errors_are_drawn(show: Any, fake_run: Any) -> None:
    for errors, levels in (
        ([[2.0, 1.0], [np.inf, 1.0]], (0.0, np.log10(2.0))),
        ([[2.0, 1.0], [np.nan, np.nan]], (0.0, np.log10(2.0))),
        ([[2.0, np.nan], [1.0, np.inf]], (0.0, np.log10(2.0))),
        ([[np.nan, np.inf]], (0.0, 0.1)),
        ([[0.0, 0.0]], (-12.0, -11.9)),
    ):
        run = fake_run()
        run.begin("student")
        for step, error in enumerate(errors, start=1):
            run.matching(step, error)
        panel = show(MatchingPanel, run)
        assert not panel.grab().isNull()
        assert panel.bar.levels() == pytest.approx(levels)
        finite = np.repeat(np.isfinite(np.array(errors)).T, 4, axis=1)
        np.testing.assert_array_equal(np.isfinite(panel.image.image), finite)


def test_the_flow_whose_matching_is_shown_can_be_chosen(show: Any, fake_run: Any) -> None:
    run = fake_run(roles=WITH_ASSISTANTS)
    run.begin("assistant-1")
    run.matching(10, [4.0, 5.0], "assistant-1")
    panel = show(MatchingPanel, run)
    choice = panel.findChild(QComboBox, "matching.stage")
    assert not choice.isVisible()
    assert panel.plot.canvas.getAxis("bottom").labelText == "Step of assistant 1"
    run.begin("student")
    run.matching(20, [1.0, 2.0])
    panel.refresh()
    assert [choice.itemText(index) for index in range(choice.count())] == ["Assistant 1", "Student"]
    assert choice.isVisible()
    assert panel.lines[0].getOriginalDataset()[1].tolist() == [1.0]  # without a choice, the newest
    choice.setCurrentIndex(0)
    choice.activated.emit(0)
    panel.refresh()
    assert panel.lines[1].getOriginalDataset()[1].tolist() == [5.0]
    run.matching(30, [0.5, 0.5])
    panel.refresh()
    assert panel.lines[0].getOriginalDataset()[1].tolist() == [4.0]


def test_the_dark_theme_works_without_a_desktop_theme(
    show: Any, fake_run: Any, qapp: QApplication, fake_studio: Any
) -> None:
    run = fake_run()
    run.begin("student")
    run.matching(1, [2.0, 1.0])
    panel = show(MatchingPanel, run)
    apply_theme(qapp, "dark")
    fake_studio.theme_changed.emit()
    qapp.processEvents()
    assert is_dark()
    panel.refresh()
    corner = panel.plot.grab().toImage().pixelColor(3, 3)
    assert corner == QColor(plot_colours().background)
    assert corner.lightness() < 80


def test_an_axis_that_becomes_wider_shows_its_whole_names(show: Any, fake_run: Any, qapp: Any) -> None:
    run = fake_run()
    run.begin("student")
    for step in range(0, 1000, 100):
        run.matching(step, [2 - step / 1000, 1.0])
    panel = show(MatchingPanel, run, (590, 350))
    qapp.processEvents()
    for _ in range(2):  # the width of the plot is known only after the first drawing
        panel.mark_dirty()
        panel.refresh()
        qapp.processEvents()
    axis = panel.heat.canvas.getAxis("left")
    assert axis.width() > 150
    image, ground = panel.heat.grab().toImage(), panel.heat.grab().toImage().pixelColor(2, 2).lightness()
    inked = {x for x in range(200) for y in range(10, 70) if abs(image.pixelColor(x, y).lightness() - ground) > 40}
    assert min(inked) < 60  # not cut where the narrower axis ended


def test_the_step_of_the_time_slider_is_marked_with_its_errors(show: Any, fake_run: Any, fake_studio: Any) -> None:
    run = fake_run()
    for role in ("teacher", "student"):
        run.begin(role)
    for step, error in ((1, [2.0, 1.0]), (100, [0.5, 0.01]), (200, [0.25, 0.001])):
        run.matching(step, error)
    panel, timeline = show(MatchingPanel, run), fake_studio.timeline
    fake_studio.view_changed.emit()
    request, reply, _, _ = next(each for each in fake_studio.asked if isinstance(each[0], ListPictures))
    stages = [StagePictureSteps(stage="teacher", steps=[50]), StagePictureSteps(stage="student", steps=[150, 200])]
    reply(PictureList(run=request.run, seed=1, stages=stages))

    def go_to(index: int) -> None:
        timeline.choose(index)
        request, reply, _, key = fake_studio.asked[-1]
        assert isinstance(request, ReadPictures), key
        reply(StagePictures(run=request.run, seed=1, stage=request.stage))
        panel.refresh()

    assert not any(marker.isVisible() for marker in panel.markers)
    assert panel.shown_step() == 200
    go_to(1)
    assert [marker.value() for marker in panel.markers] == [100, 100], "the last measurement up to step 150"
    assert all(marker.isVisible() for marker in panel.markers)
    for plot in (panel.plot, panel.heat):  # above the grid, which has a line at step 100, too
        columns = (pixels(plot.grab().toImage()) == QColor(tokens().text).rgba()).sum(axis=0)
        box = plot.canvas.getViewBox()
        place = box.mapToScene(box.mapFromView(QPointF(100, 0))).x()
        assert columns.max() > 30
        assert abs(columns.argmax() - place) <= 2
    assert "Step 100" in panel._legend.text()
    assert panel._legend.text().index("0.5<") < panel._legend.text().index("0.01<")
    assert panel.shown_step() == 100
    go_to(0)
    assert not any(marker.isVisible() for marker in panel.markers), "the student came after the teacher"
    assert "Not trained yet" in panel._legend.text()
    timeline.live()
    panel.refresh()
    assert "Step" not in panel._legend.text()
    assert "Not" not in panel._legend.text()
    assert not any(marker.isVisible() for marker in panel.markers)
