"""The axes of the curves: scales, ranges, zoom, labels and epochs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QMouseEvent, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel

from nfkd_gui.panels.curves import CurvesPanel
from tests.gui.panels.curve_steps import LOSS, line, plot_also


def drag(plot: Any, across: int) -> None:
    """Drag the content of a plot to the right by some pixels."""
    view, middle = plot.viewport(), plot.viewport().rect().center()
    QTest.mousePress(view, Qt.MouseButton.LeftButton, pos=middle)
    for part in (2, 1):
        QTest.mouseMove(view, middle + QPoint(across // part, 0))
        move = QMouseEvent(
            QMouseEvent.Type.MouseMove, middle + QPoint(across // part, 0), view.mapToGlobal(middle),
            Qt.MouseButton.LeftButton, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier,
        )  # fmt: skip
        QApplication.sendEvent(view, move)
    QTest.mouseRelease(view, Qt.MouseButton.LeftButton, pos=middle + QPoint(across, 0))


def turn_wheel(plot: Any, notches: int) -> None:
    """Turn the mouse wheel above the middle of a plot."""
    view = plot.viewport()
    middle = QPointF(view.rect().center())
    wheel = QWheelEvent(
        middle, view.mapToGlobal(middle), QPoint(), QPoint(0, 120 * notches), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(view, wheel)


def test_a_low_plot_has_a_short_centred_label(show: Any, fake_run: Any, qapp: Any) -> None:
    run = fake_run()
    run.begin("student")
    run.points("student", "validation/nll", [3, 2, 1])
    panel = show(CurvesPanel, run, (345, 500))
    axis = panel.plots["likelihood"].canvas.getAxis("left")
    assert axis.labelText == "Negative log-likelihood (bits/dim)"
    panel.resize(345, 230)
    qapp.processEvents()
    assert axis.labelText == "NLL (bits/dim)"
    shown = axis.label.mapRectToParent(axis.label.boundingRect())
    assert shown.center().y() == pytest.approx(axis.size().height() / 2, abs=2)


def test_several_plots_share_the_height_evenly(show: Any, fake_run: Any, qapp: Any) -> None:
    run = fake_run()
    run.begin("student")
    for name in ("train/total", "validation/nll", "learning_rate"):
        run.points("student", name, [3, 2, 1])
    panel = show(CurvesPanel, run, (700, 600))
    plot_also(panel, "train/total", "learning_rate")
    qapp.processEvents()
    heights = [plot.height() for plot in panel.plots.values()]
    assert len(heights) == 3
    assert max(heights) - min(heights) <= 2


def test_another_run_and_a_double_click_show_the_whole_curves_after_a_zoom(show: Any, fake_run: Any) -> None:
    first, second = fake_run(), fake_run()
    for run, offset in ((first, 0.0), (second, 50.0)):
        run.begin("student")
        run.points("student", "validation/nll", offset + LOSS)
    panel = show(CurvesPanel, first)
    plot = panel.plots["likelihood"]
    box = plot.canvas.getViewBox()

    def shown() -> Any:
        QApplication.processEvents()
        return [tuple(each) for each in box.viewRange()]

    whole = shown()
    turn_wheel(plot, 8)
    drag(plot, 40)
    zoomed = shown()
    assert zoomed[1][1] - zoomed[1][0] < 0.9 * (whole[1][1] - whole[1][0])
    first.points("student", "validation/nll", 9 + LOSS, start=len(LOSS) + 1)
    first.finish("student", steps=400, best_step=400)
    panel.refresh()
    assert shown() == zoomed  # updates do not move it
    panel.show_run(second.view)
    panel.refresh()
    assert shown()[1][0] > 50
    assert box.viewRange()[0] == pytest.approx([0, 1000], rel=0.02)
    panel.show_run(first.view)
    panel.refresh()
    whole = shown()
    turn_wheel(plot, 8)
    assert shown() != whole
    QTest.mouseDClick(plot.viewport(), Qt.MouseButton.LeftButton, pos=plot.viewport().rect().center())
    panel.refresh()
    assert shown() == whole


def test_a_log_axis_warns_about_hidden_values(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("student")
    run.points("student", "validation/nll", [2, 1, -1])
    panel = show(CurvesPanel, run)
    caution = panel.findChild(QLabel, "curves.caution")
    assert not caution.isVisible()
    panel.choices.values["log"].trigger()
    panel.refresh()
    assert caution.isVisible()
    panel.choices.roles["student"].setChecked(False)
    panel.refresh()
    assert not caution.isVisible()


def test_a_symlog_axis_shows_values_of_both_signs(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("student")
    values = [-2000.0, -20, -0.5, 0, 3, 400]
    run.points("student", "validation/nll", values)
    panel = show(CurvesPanel, run)
    panel.choices.values["symlog"].trigger()
    panel.refresh()
    plot = panel.plots["likelihood"]
    drawn = line(panel, "student").getData()[1]
    assert np.isfinite(drawn).all()
    assert (np.diff(drawn) > 0).all()
    np.testing.assert_allclose([plot.value_scale.invert(position) for position in drawn], values, atol=1e-9)
    assert not panel.findChild(QLabel, "curves.caution").isVisible()
    axis, (low, high) = plot.canvas.getAxis("left"), plot.canvas.getViewBox().viewRange()[1]
    [(_, positions)] = axis.tickValues(low, high, plot.height())
    ticks = axis.tickStrings(positions, 1.0, 1.0)
    assert "0" in ticks
    assert any(text.startswith("−") for text in ticks)
    assert len(ticks) >= 4
    plot.pointed.emit(2)
    assert plot.readout.readings[0].value == "−20"


def test_outliers_can_be_ignored(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("student")
    run.points("student", "validation/nll", [1000.0, *np.linspace(3, 2, 200)])
    panel = show(CurvesPanel, run)
    box = panel.plots["likelihood"].canvas.getViewBox()
    assert box.viewRange()[1][1] > 1000
    panel.choices.outliers.trigger()
    panel.refresh()
    assert 2.9 < box.viewRange()[1][1] < 3.2


def test_epochs_are_offered_where_the_run_tells_them(show: Any, fake_run: Any) -> None:
    old, new = fake_run(), fake_run(epoch=4)
    for run in (old, new):
        run.begin("student")
        run.points("student", "validation/nll", [3, 2, 1, 1])
    panel = show(CurvesPanel, new)
    panel.choices.axis["epoch"].trigger()
    panel.refresh()
    np.testing.assert_allclose(line(panel, "student").getData()[0], [0.25, 0.5, 0.75, 1])
    assert panel.plots["likelihood"].canvas.getAxis("bottom").labelText == "Epoch"
    assert panel.plots["likelihood"].canvas.getViewBox().viewRange()[0] == pytest.approx([0, 250], rel=0.02)
    panel.show_run(old.view)
    panel.refresh()
    assert not panel.choices.axis["epoch"].isEnabled()
    assert panel.choices.settings.axis == "step"
