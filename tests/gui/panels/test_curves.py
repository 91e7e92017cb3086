"""The curves panel: every line shows the right values."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pyqtgraph as pg
import pytest
from PySide6.QtCore import QPoint
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QGraphicsTextItem, QLabel, QPushButton, QToolButton

from nfkd.protocol import events
from nfkd.protocol.roles import COLOURS
from nfkd.protocol.view import Curve
from nfkd_gui.panels.curve_traces import mean_curve
from nfkd_gui.panels.curves import CurvesPanel
from tests.gui.panels.curve_steps import LOSS, line, plot_also
from tests.gui.pixels import pixels


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
        np.testing.assert_array_equal(line(panel, role).getData()[1], [3, 2, 1])
        assert line(panel, role).opts["pen"].color().name() == COLOURS[role].lower()
    assert len({COLOURS[role] for role in roles}) == len(roles)
    readout = panel.plots["likelihood"].readout
    panel.plots["likelihood"].pointed.emit(2.2)
    assert readout.heading == "Step 2"
    assert {(reading.role, reading.value) for reading in readout.readings} == {(role, "2") for role in roles}
    panel.plots["likelihood"].pointed.emit(float("nan"))
    assert not readout.isVisible()
    assert panel.choices.roles["assistant-2"].isVisible()
    assert panel.choices.roles["assistant-2"].text() == "Assistant 2"
    panel.choices.roles["assistant-2"].setChecked(False)
    panel.refresh()
    assert not len(line(panel, "assistant-2").getData()[0])


def test_new_points_extend_the_same_line_and_short_lines_have_marks(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("student")
    run.points("student", "train/nll", [1.8, math.nan])
    panel = show(CurvesPanel, run)
    before = line(panel, "student", "train/nll")
    dots = [item for item in panel.plots["likelihood"].canvas.items if isinstance(item, pg.ScatterPlotItem)]
    assert [(point.pos().x(), point.pos().y()) for each in dots for point in each.points()] == [(1, 1.8)]
    run.points("student", "train/nll", LOSS, start=3)
    panel.refresh()
    assert line(panel, "student", "train/nll") is before
    assert not any(len(each.points()) for each in dots)
    x, y = before.getData()
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
            each.choices.smoothing.setValue(smoothing)
            each.refresh()
        # All events between two repaints, as in a hidden panel.
        resumed.add(events.StageStarted(run=resumed.view.row.run, seed=1, stage="student", step=50))
        resumed.points("student", "validation/nll", np.full(again, 9.0), start=51)
        panel.refresh()
        drawn, expected = (line(each, "student").getData()[1] for each in (panel, other))
        np.testing.assert_allclose(drawn, expected)


def test_the_panel_shows_the_flows_of_the_present_run_only(show: Any, fake_run: Any) -> None:
    alone, usual = fake_run(roles=("teacher", "student")), fake_run()
    for run in (alone, usual):
        run.begin("student")
        run.points("student", "validation/nll", [3, 2, 1])
    panel = show(CurvesPanel, alone)
    assert not panel.choices.roles["baseline"].isVisible()
    assert panel.choices.roles["student"].isVisible()
    panel.show_run(usual.view)
    panel.refresh()
    assert panel.choices.roles["baseline"].isVisible()
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
        shown = pixels(panel.grab().toImage())[10:250:2, 70:300:2]
        assert len(np.unique(shown)) > 2


def test_smoothing_keeps_the_raw_line_behind(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("student")
    run.points("student", "train/nll", LOSS)
    panel = show(CurvesPanel, run)
    panel.choices.smoothing.setValue(80)
    panel.refresh()
    key = (1, "student", "train/nll")
    np.testing.assert_allclose(panel.plots["likelihood"].raw[key].getData()[1], LOSS)
    smooth = line(panel, "student", "train/nll").getData()[1]
    assert np.abs(np.diff(smooth)).mean() < 0.2 * np.abs(np.diff(LOSS)).mean()
    assert panel.plots["likelihood"].raw[key].zValue() < line(panel, "student", "train/nll").zValue()


def test_axes_flows_and_plots_can_be_chosen(show: Any, fake_run: Any) -> None:
    run = fake_run()
    for stage in ("teacher", "student"):
        run.begin(stage)
        run.points(stage, "validation/nll", [3, 2, 1])
        run.points(stage, "learning_rate", [1e-3, 1e-3, 1e-4])
    panel = show(CurvesPanel, run)
    panel.choices.axis["time"].trigger()
    panel.choices.roles["teacher"].setChecked(False)
    plot_also(panel, "learning_rate")
    assert list(panel.plots) == ["likelihood", "learning_rate"]
    np.testing.assert_allclose(line(panel, "student").getData()[0], [0.1, 0.2, 0.3])
    assert (1, "teacher", "validation/nll") not in panel.plots["learning_rate"].lines
    assert not len(line(panel, "teacher").getData()[0])
    panel.choices.values["log"].trigger()
    panel.refresh()
    np.testing.assert_allclose(line(panel, "student").getData()[1], np.log10([3, 2, 1]))


def test_seeds_are_shown_together_or_alone(show: Any, fake_run: Any) -> None:
    run = fake_run(seeds=2)
    for seed in (1, 2):
        run.begin("student", seed)
        run.points("student", "validation/nll", [3, 2, seed], seed=seed)
    panel = show(CurvesPanel, run)
    assert line(panel, "student", seed=1).opts["pen"].color().alpha() == 255
    assert line(panel, "student", seed=2).opts["pen"].color().alpha() < 120
    assert "Faint: other seeds." in legend(panel)
    panel.choices.seeds["shown"].trigger()
    panel.refresh()
    assert len(line(panel, "student", seed=1).getData()[0])
    assert not len(line(panel, "student", seed=2).getData()[0])


def legend(panel: CurvesPanel) -> str:
    label = panel.findChild(QLabel, "curves.legend")
    assert isinstance(label, QLabel)
    return label.text()


def test_a_thinned_run_says_so(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("student")
    run.points("student", "train/nll", LOSS)
    panel = show(CurvesPanel, run)
    assert "points" not in legend(panel)
    run.view.stride = 16
    panel.mark_dirty()
    panel.refresh()
    assert "Long curves: 1 of 16 points; run.h5 has all." in legend(panel)


@pytest.mark.parametrize("band", ["range", "deviation"])
def test_ended_seeds_have_a_mean_and_a_band(show: Any, fake_run: Any, band: str) -> None:
    values = np.array([[4, 3, 2.5], [3, 2, 1], [5, 2.5, 1]])
    run = fake_run(seeds=4)
    for seed, points in enumerate(values, start=1):
        run.begin("student", seed)
        run.points("student", "validation/nll", points, seed=seed)
        run.finish("student", steps=3, best_step=3, seed=seed)
    run.begin("student", 4)
    run.points("student", "validation/nll", [9, 8], seed=4)
    panel = show(CurvesPanel, run)
    panel.choices.band[band].trigger()
    panel.refresh()
    np.testing.assert_allclose(line(panel, "student", seed=0).getData()[1], values.mean(0))
    np.testing.assert_array_equal(line(panel, "student", seed=4).getData()[1], [9, 8])
    x, outline = panel.plots["likelihood"].bands[0, "student", "validation/nll"].getData()
    np.testing.assert_array_equal(x, [1, 2, 3, 3, 2, 1])
    spread = values.std(0, ddof=1)
    low, high = {
        "range": (values.min(0), values.max(0)), "deviation": (values.mean(0) - spread, values.mean(0) + spread)
    }[band]  # fmt: skip
    np.testing.assert_allclose(outline, [*low, *high[::-1]])
    said = {"range": "minimum to maximum", "deviation": "± one standard deviation"}[band]
    assert legend(panel).startswith(f"Line and band: mean and {said} of 3 seeds.")
    colour = panel.plots["likelihood"].bands[0, "student", "validation/nll"].opts["brush"].color()
    assert (colour.name(), colour.alpha()) == (COLOURS["student"].lower(), 51)
    panel.plots["likelihood"].pointed.emit(2)
    assert ("Student, mean of 3", "2.5") in [(r.name, r.value) for r in panel.plots["likelihood"].readout.readings]


def test_the_mean_over_seeds_of_different_lengths_is_of_those_that_reach_the_step() -> None:
    curves = [Curve(), Curve()]
    for curve, points in zip(curves, ([4.0, 2.0, 6.0], [2.0, math.nan]), strict=True):
        steps = np.arange(1, len(points) + 1)
        curve.extend(events.CurveBatch(steps=steps, values=np.array(points), times=steps / 10))
    mean = mean_curve(curves, 0.0, "range")
    np.testing.assert_array_equal(mean.steps, [1, 2, 3])
    np.testing.assert_array_equal(mean.values, [3, 2, 6])
    np.testing.assert_array_equal(mean.low, [2, math.nan, math.nan])
    np.testing.assert_array_equal(mean.high, [4, math.nan, math.nan])


def texts_in(panel: CurvesPanel) -> list[str]:
    """Return the texts that are drawn into the plot."""
    items = panel.plots["likelihood"].scene().items()
    return [item.toPlainText() for item in items if isinstance(item, QGraphicsTextItem) and item.isVisible()]


def names_at(panel: CurvesPanel) -> dict[str, float]:
    """Return the heights of the names beside the lines."""
    return {name.text.lower(): centre for centre, name in panel.plots["likelihood"].marks.names.placed()}


def test_lines_are_named_beside_their_ends_without_touching(show: Any, fake_run: Any) -> None:
    run = fake_run()
    for role, values in (("student", [3, 2, 1]), ("teacher", [3, 2, 1.0001])):
        run.begin(role)
        run.points(role, "validation/nll", values)
    panel = show(CurvesPanel, run, (345, 400))
    found = names_at(panel)
    assert set(found) == {"student", "teacher"}
    assert found["student"] - found["teacher"] >= 12  # the lines end at the same height
    names, box = panel.plots["likelihood"].marks.names, panel.plots["likelihood"].canvas.getViewBox()
    assert names.sceneBoundingRect().left() >= box.sceneBoundingRect().right() - 1  # not over the lines
    assert max(found.values()) <= names.size().height()
    image = panel.plots["likelihood"].grab().toImage()
    place = panel.plots["likelihood"].mapFromScene(names.sceneBoundingRect()).boundingRect()
    across, down = range(place.left(), place.right()), range(place.top(), place.bottom())
    colours = {image.pixelColor(x, y).name() for x in across for y in down}
    assert COLOURS["student"].lower() in colours


def test_a_narrow_panel_has_one_button_with_all_choices(show: Any, fake_run: Any) -> None:
    panel = show(CurvesPanel, fake_run(), (616, 400))
    tools = panel.choices.tools
    tools.show()

    def shown(width: int) -> set[str]:
        tools.resize(width, 36)
        QApplication.processEvents()
        return {button.objectName() for button in tools.findChildren(QToolButton) if button.isVisible()}

    assert tools.minimumSizeHint().width() < 60
    assert len(shown(480)) == 4
    assert shown(120) == {"curves.more"}
    panel.choices.axis["time"].trigger()
    assert "curves.axis.button" in shown(480)
    assert tools.findChild(QToolButton, "curves.axis.button").text().startswith("by time")


def test_smoothing_never_bends_a_validation_line(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("student")
    run.points("student", "validation/nll", LOSS)
    run.points("student", "train/nll", LOSS)
    panel = show(CurvesPanel, run)
    panel.choices.smoothing.setValue(80)
    panel.refresh()
    np.testing.assert_allclose(line(panel, "student").getData()[1], LOSS)
    assert np.abs(line(panel, "student", "train/nll").getData()[1] - LOSS).max() > 0.5


def test_a_teacher_that_stopped_early_is_marked_and_the_axis_ends_with_the_curves(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    run.points("teacher", "validation/nll", np.linspace(4, 2, 40))
    panel = show(CurvesPanel, run)
    planned = run.view.plan(1, "teacher").steps
    assert panel.plots["likelihood"].canvas.getViewBox().viewRange()[0][1] == pytest.approx(planned, rel=0.02)
    for role, steps in (("teacher", 40), ("student", 30), ("baseline", 30)):
        run.finish(role, steps=steps, best_step=25, ended="early" if role == "teacher" else "")
    panel.refresh()
    assert f"teacher stopped early, 40 of {planned:,}" in texts_in(panel)
    assert panel.plots["likelihood"].canvas.getViewBox().viewRange()[0][1] < 50
    rings = [item for item in panel.plots["likelihood"].canvas.items if isinstance(item, pg.ScatterPlotItem)]
    assert "best, step 25" in texts_in(panel)
    assert [(point.pos().x(), point.pos().y()) for ring in rings for point in ring.points()] == [
        (25, pytest.approx(np.linspace(4, 2, 40)[24]))
    ]


def test_the_box_of_values_is_where_the_pointer_is_not(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("student")
    run.points("student", "validation/nll", np.linspace(3, 1, 1000))
    panel = show(CurvesPanel, run)
    plot = panel.plots["likelihood"]
    area = plot.mapFromScene(plot.canvas.getViewBox().sceneBoundingRect()).boundingRect()
    for step in (100, 900):
        x = area.left() + round(step / plot.canvas.getViewBox().viewRange()[0][1] * area.width())
        QTest.mouseMove(plot.viewport(), QPoint(x, area.center().y()))
        plot.canvas.scene().sigMouseMoved.emit(plot.mapToScene(QPoint(x, area.center().y())))
        assert plot.readout.isVisible()
        assert area.contains(plot.readout.geometry())
        assert not plot.readout.geometry().left() <= x <= plot.readout.geometry().right()
        [reading] = plot.readout.readings
        assert float(reading.value) == pytest.approx(3 - 2 * step / 1000, abs=0.03)
