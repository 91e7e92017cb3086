"""The curves panel: every line shows the right values."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pyqtgraph as pg
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QGraphicsTextItem, QLabel, QPushButton

from nfkd.protocol import events
from nfkd.protocol.roles import COLOURS
from nfkd_gui.panels.curves import CurvesPanel

LOSS = np.linspace(4, 2, 300) + np.sin(np.arange(300))


def line(panel: CurvesPanel, role: str, name: str = "validation/nll", seed: int = 1) -> Any:
    return panel.plots["likelihood"].lines[seed, role, name]  # type: ignore[index]


def test_an_empty_panel_offers_a_start_and_is_narrower_than_its_content(show: Any, fake_run: Any) -> None:
    panel = show(CurvesPanel, size=(300, 400))
    button = panel.findChild(QPushButton, "curves.start")
    assert button.isVisible()
    assert panel.minimumSizeHint().width() <= 300
    run = fake_run()
    run.begin("student")
    run.points("student", "train/nll", LOSS)
    panel.show_run(run.view)
    panel.refresh()
    assert panel.minimumSizeHint().width() >= panel.content.minimumSizeHint().width()


def test_every_flow_has_a_line_in_its_colour_a_check_box_and_a_readout(show: Any, fake_run: Any) -> None:
    roles = ("teacher", "assistant-1", "assistant-2", "assistant-3", "student", "baseline")
    run = fake_run(roles=roles, seeds=2)
    for role in roles:
        run.begin(role)
        run.points(role, "validation/nll", [3, 2, 1])
    panel = show(CurvesPanel, run)
    assert list(panel.plots) == ["likelihood"]
    assert "bits/dim" in panel.plots["likelihood"].canvas.getAxis("left").labelText
    for role in roles:
        np.testing.assert_array_equal(line(panel, role).getOriginalDataset()[1], [3, 2, 1])
        assert line(panel, role).opts["pen"].color().name() == COLOURS[role].lower()
    assert len({COLOURS[role] for role in roles}) == len(roles)
    panel.plots["likelihood"].pointed.emit(2.2)
    assert all(text in panel._readout.text() for text in ("step 2", "teacher 2", "assistant 1 2"))
    panel.plots["likelihood"].pointed.emit(float("nan"))
    assert panel._readout.text() == ""
    assert panel._roles["assistant-2"].isVisible()
    assert panel._roles["assistant-2"].text() == "Assistant 2"
    panel._roles["assistant-2"].setChecked(False)
    panel.refresh()
    x, _ = line(panel, "assistant-2").getOriginalDataset()
    assert x is None or len(x) == 0


def test_new_points_extend_the_same_line_and_short_lines_have_marks(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("student")
    run.points("student", "train/nll", [1.8, math.nan])
    panel = show(CurvesPanel, run)
    before = line(panel, "student", "train/nll")
    assert before.scatter.isVisible()
    assert before.scatter.getData()[1][0] == 1.8
    run.points("student", "train/nll", LOSS, start=3)
    panel.refresh()
    assert line(panel, "student", "train/nll") is before
    assert not before.scatter.isVisible()
    x, y = before.getOriginalDataset()
    np.testing.assert_array_equal(x, np.arange(1, 303))
    np.testing.assert_allclose(y[2:], LOSS)


def test_points_of_a_resumed_stage_replace_the_drawn_ones(show: Any, fake_run: Any) -> None:
    before = np.linspace(3, 2, 100)
    for again, smoothing in itertools.product((30, 50, 60), (0, 50)):
        resumed, whole = fake_run(), fake_run()
        for run in (resumed, whole):
            run.begin("student")
        resumed.points("student", "validation/nll", before)
        whole.points("student", "validation/nll", [*before[:50], *np.full(again, 9.0)])
        panel, other = show(CurvesPanel, resumed), show(CurvesPanel, whole)
        for each in (panel, other):
            each._smoothing.setValue(smoothing)
            each.refresh()
        # All events between two repaints, as in a hidden panel.
        resumed.add(events.StageStarted(run=resumed.view.row.run, seed=1, stage="student", step=50))
        resumed.points("student", "validation/nll", np.full(again, 9.0), start=51)
        panel.refresh()
        drawn, expected = (line(each, "student").getOriginalDataset()[1] for each in (panel, other))
        np.testing.assert_allclose(drawn, expected)


def test_the_panel_shows_the_flows_of_the_present_run_only(show: Any, fake_run: Any) -> None:
    alone, usual = fake_run(roles=("teacher", "student")), fake_run()
    for run in (alone, usual):
        run.begin("student")
        run.points("student", "validation/nll", [3, 2, 1])
    panel = show(CurvesPanel, alone)
    assert not panel._roles["baseline"].isVisible()
    assert panel._roles["student"].isVisible()
    panel.show_run(usual.view)
    panel.refresh()
    assert panel._roles["baseline"].isVisible()
    panel.show_run(None)
    panel.refresh()
    assert panel.plots["likelihood"].lines == {}
    assert panel.findChild(QPushButton, "curves.start").isVisible()


def test_many_repaints_of_the_axes_do_not_crash(show: Any, fake_run: Any, qapp: Any) -> None:
    # PySide6 6.12.0 with pyqtgraph 0.14.0 crashes here within seconds.
    for size in ((420, 300), (1400, 900)):
        run = fake_run()
        run.begin("student")
        panel = show(CurvesPanel, run, size)
        for step in range(150):
            run.points("student", "train/nll", [1000 * np.sin(step)], start=step + 1)
            panel.refresh()
            panel.repaint()
            qapp.processEvents()
        image = panel.grab().toImage()
        colours = {image.pixelColor(x, y).name() for x in range(70, 300, 2) for y in range(10, 250, 2)}
        assert len(colours) > 2


def test_smoothing_keeps_the_raw_line_behind(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("student")
    run.points("student", "train/nll", LOSS)
    panel = show(CurvesPanel, run)
    panel._smoothing.setValue(80)
    panel.refresh()
    key = (1, "student", "train/nll")
    np.testing.assert_allclose(panel.plots["likelihood"].raw[key].getOriginalDataset()[1], LOSS)
    smooth = line(panel, "student", "train/nll").getOriginalDataset()[1]
    assert np.abs(np.diff(smooth)).mean() < 0.2 * np.abs(np.diff(LOSS)).mean()
    assert panel.plots["likelihood"].raw[key].zValue() < line(panel, "student", "train/nll").zValue()


def test_axes_flows_and_plots_can_be_chosen(show: Any, fake_run: Any) -> None:
    run = fake_run()
    for stage in ("teacher", "student"):
        run.begin(stage)
        run.points(stage, "validation/nll", [3, 2, 1])
        run.points(stage, "learning_rate", [1e-3, 1e-3, 1e-4])
    panel = show(CurvesPanel, run)
    panel._axis.setCurrentIndex(1)
    panel._roles["teacher"].setChecked(False)
    for row in range(panel._quantities.count()):
        item = panel._quantities.item(row)
        if item.data(Qt.ItemDataRole.UserRole) == "learning_rate":
            item.setCheckState(Qt.CheckState.Checked)
    panel.refresh()
    assert list(panel.plots) == ["likelihood", "learning_rate"]
    np.testing.assert_allclose(line(panel, "student").getOriginalDataset()[0], [0.1, 0.2, 0.3])
    assert (1, "teacher", "validation/nll") not in panel.plots["learning_rate"].lines
    x, _ = line(panel, "teacher").getOriginalDataset()
    assert x is None or len(x) == 0
    panel._log.setChecked(True)
    panel.refresh()
    assert panel.plots["likelihood"].canvas.getAxis("left").logMode


def test_other_seeds_are_faint(show: Any, fake_run: Any) -> None:
    run = fake_run(seeds=2)
    for seed in (1, 2):
        run.begin("student", seed)
        run.points("student", "validation/nll", [3, 2, seed], seed=seed)
    panel = show(CurvesPanel, run)
    assert line(panel, "student", seed=1).opts["pen"].color().alpha() == 255
    assert line(panel, "student", seed=2).opts["pen"].color().alpha() < 100


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
    for row in range(panel._quantities.count()):
        panel._quantities.item(row).setCheckState(Qt.CheckState.Checked)
    panel.refresh()
    qapp.processEvents()
    heights = [plot.height() for plot in panel.plots.values()]
    assert len(heights) == 3
    assert max(heights) - min(heights) <= 2


def texts_in(panel: CurvesPanel) -> list[str]:
    """Return the texts that are drawn into the plot."""
    items = panel.plots["likelihood"].scene().items()
    return [item.toPlainText() for item in items if isinstance(item, QGraphicsTextItem) and item.isVisible()]


def test_lines_are_named_at_their_ends_and_a_narrow_panel_shows_its_choices_on_demand(
    show: Any, fake_run: Any, qtbot: Any
) -> None:
    run = fake_run()
    for role, values in (("student", [3, 2, 1]), ("teacher", [3, 2, 1.0001])):
        run.begin(role)
        run.points(role, "validation/nll", values)
    panel = show(CurvesPanel, run, (345, 400))
    assert {"Student", "Teacher"} <= set(texts_in(panel))
    assert "Baseline" not in texts_in(panel)
    names = [item for item in panel.plots["likelihood"].scene().items() if isinstance(item, pg.TextItem)]
    high, low = sorted(item.mapToScene(0, 0).y() for item in names if item.toPlainText() in {"Student", "Teacher"})
    assert low - high >= 12  # the lines end at the same height
    assert not panel._smoothing.isVisible()
    panel.tools[0].click()
    assert panel._smoothing.isVisible()
    panel.resize(900, 400)
    assert panel._smoothing.isVisible()


def test_another_run_and_a_double_click_show_the_whole_curves_after_a_zoom(show: Any, fake_run: Any) -> None:
    first, second = fake_run(), fake_run()
    for run, offset in ((first, 0.0), (second, 50.0)):
        run.begin("student")
        run.points("student", "validation/nll", offset + LOSS)
    panel = show(CurvesPanel, first)
    plot = panel.plots["likelihood"]
    box = plot.canvas.getViewBox()

    def shown() -> tuple[float, float]:
        QApplication.processEvents()
        return tuple(box.viewRange()[1])

    whole = shown()
    box.setRange(xRange=(3, 4), yRange=(2.9, 3.0))
    assert shown() == pytest.approx((2.9, 3.0), abs=0.05)
    panel.show_run(second.view)
    panel.refresh()
    assert shown()[0] > 50
    assert box.viewRange()[0][1] > 90
    panel.show_run(first.view)
    panel.refresh()
    box.setRange(xRange=(3, 4), yRange=(2.9, 3.0))
    QTest.mouseDClick(plot.viewport(), Qt.MouseButton.LeftButton, pos=plot.viewport().rect().center())
    panel.refresh()
    assert shown() == pytest.approx(whole)


def test_smoothing_never_bends_a_validation_line(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("student")
    run.points("student", "validation/nll", LOSS)
    run.points("student", "train/nll", LOSS)
    panel = show(CurvesPanel, run)
    panel._smoothing.setValue(80)
    panel.refresh()
    np.testing.assert_allclose(line(panel, "student").getOriginalDataset()[1], LOSS)
    assert np.abs(line(panel, "student", "train/nll").getOriginalDataset()[1] - LOSS).max() > 0.5


def test_a_teacher_that_stopped_early_is_marked_and_the_axis_ends_with_the_curves(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    run.points("teacher", "validation/nll", np.linspace(4, 2, 40))
    panel = show(CurvesPanel, run)
    planned = run.view.plan(1, "teacher").steps
    assert panel.plots["likelihood"].canvas.getViewBox().viewRange()[0][1] > planned
    for role, steps in (("teacher", 40), ("student", 30), ("baseline", 30)):
        run.finish(role, steps=steps, best_step=25, ended="early" if role == "teacher" else "")
    panel.refresh()
    assert f"teacher stopped early, 40 of {planned:,}" in texts_in(panel)
    assert panel.plots["likelihood"].canvas.getViewBox().viewRange()[0][1] < 50
    rings = [item for item in panel.plots["likelihood"].canvas.items if isinstance(item, pg.ScatterPlotItem)]
    assert [(point.pos().x(), point.pos().y()) for ring in rings for point in ring.points()] == [
        (25, pytest.approx(np.linspace(4, 2, 40)[24]))
    ]


def test_a_log_axis_warns_about_hidden_values(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("student")
    run.points("student", "validation/nll", [2, 1, -1])
    panel = show(CurvesPanel, run)
    caution = panel.findChild(QLabel, "curves.caution")
    assert not caution.isVisible()
    panel._log.setChecked(True)
    panel.refresh()
    assert caution.isVisible()
    panel._roles["student"].setChecked(False)
    panel.refresh()
    assert not caution.isVisible()
