"""The curves panel: the right numbers in the right lines."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QPushButton, QToolButton

from nfkd.protocol.roles import COLOURS
from nfkd_gui.panels.curves import CurvesPanel
from nfkd_gui.plotting.lines import Smoother, decimate

LOSS = np.linspace(4, 2, 300) + np.sin(np.arange(300))


@given(stn.arrays(np.float64, st.integers(1, 4000), elements=st.floats(-1e6, 1e6)), st.integers(2, 200))
def test_an_decimate_loses_no_extreme_and_stays_small(values: np.ndarray, bins: int) -> None:
    x, y = decimate(np.arange(len(values), dtype=float), values, bins)
    assert len(x) == len(y) <= max(2 * bins, 1) or len(values) <= 2 * bins
    assert y.min() == values.min()
    assert y.max() == values.max()
    assert np.all(np.diff(x) >= 0)
    np.testing.assert_array_equal(y, values[x.astype(int)])  # no point is drawn where there was none


def test_an_decimate_shows_a_gap_only_where_nothing_is_finite() -> None:
    values = np.arange(1000.0)
    values[::2] = np.nan
    values[400:500] = np.inf
    x, y = decimate(np.arange(1000.0), values, 10)
    np.testing.assert_array_equal(x[np.isnan(y)] // 100, [4, 4])
    assert np.nanmin(y) == 1
    assert np.nanmax(y) == 999


@given(
    stn.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e3, 1e3)), st.integers(0, 60), st.floats(0, 0.99)
)
def test_smoothing_in_pieces_is_smoothing_at_once(values: np.ndarray, cut: int, weight: float) -> None:
    pieces = Smoother()
    pieces(values[:cut], weight)
    expected = []
    for n in range(1, len(values) + 1):
        weights = weight ** np.arange(n - 1, -1, -1)
        expected.append(np.average(values[:n], weights=weights))
    np.testing.assert_allclose(pieces(values, weight), expected, rtol=1e-6, atol=1e-6)


def line(panel: CurvesPanel, role: str, name: str = "validation/nll", seed: int = 1) -> Any:
    return panel.plots["likelihood"].lines[seed, role, name]  # type: ignore[index]


def test_an_empty_panel_says_what_will_come_and_offers_a_start(show: Any, fake_studio: Any, qtbot: Any) -> None:
    panel = show(CurvesPanel)
    button = panel.findChild(QPushButton, "curves.start")
    assert button.isVisible()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert fake_studio.started == ["digits"]


def test_the_likelihood_of_every_flow_is_seen_first_in_its_colour(show: Any, fake_run: Any) -> None:
    run = fake_run()
    for stage in ("teacher", "student", "baseline"):
        run.begin(stage)
        run.points(stage, "validation/nll", [3, 2, 1])
    panel = show(CurvesPanel, run)
    assert list(panel.plots) == ["likelihood"]
    for role in ("teacher", "student", "baseline"):
        np.testing.assert_array_equal(line(panel, role).getOriginalDataset()[1], [3, 2, 1])
        assert line(panel, role).opts["pen"].color().name() == COLOURS[role].lower()
    assert "bits/dim" in panel.plots["likelihood"].canvas.getAxis("left").labelText


def test_new_points_reach_the_same_line(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("student")
    run.points("student", "train/nll", LOSS[:100])
    panel = show(CurvesPanel, run)
    before = line(panel, "student", "train/nll")
    run.points("student", "train/nll", LOSS[100:], start=101)
    panel.refresh()
    assert line(panel, "student", "train/nll") is before
    x, y = before.getOriginalDataset()
    np.testing.assert_array_equal(x, np.arange(1, 301))
    np.testing.assert_allclose(y, LOSS)


def test_a_point_or_two_are_marks_until_there_is_a_line(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    run.points("teacher", "train/nll", [1.8, math.nan])
    panel = show(CurvesPanel, run)
    points = line(panel, "teacher", "train/nll")
    assert points.scatter.isVisible()
    assert points.scatter.getData()[1][0] == 1.8
    run.points("teacher", "train/nll", [1.7, 1.6], start=3)
    panel.refresh()
    assert not points.scatter.isVisible()


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


def test_the_pointer_reads_the_figures(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    run.points("teacher", "validation/nll", [3, 2, 1])
    panel = show(CurvesPanel, run)
    panel.plots["likelihood"].pointed.emit(2.2)
    assert "step 2" in panel._readout.text()
    assert "teacher 2" in panel._readout.text()
    panel.plots["likelihood"].pointed.emit(float("nan"))
    assert panel._readout.text() == ""


def test_another_run_leaves_nothing_of_the_one_before(show: Any, fake_run: Any, fake_studio: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    run.points("teacher", "validation/nll", [3, 2, 1])
    panel = show(CurvesPanel, run)
    panel.show_run(None)
    panel.refresh()
    assert panel.plots["likelihood"].lines == {}
    assert panel.findChild(QPushButton, "curves.start").isVisible()


@pytest.mark.parametrize("size", [(420, 300), (1400, 900)])
def test_repainting_its_axes_again_and_again_is_survived(
    show: Any, fake_run: Any, size: tuple[int, int], qapp: Any
) -> None:
    # PySide6 6.12.0 with pyqtgraph 0.14.0 dies in this within seconds.
    run = fake_run()
    run.begin("student")
    panel = show(CurvesPanel, run, size)
    for step in range(300):
        run.points("student", "train/nll", [1000 * np.sin(step)], start=step + 1)
        panel.refresh()
        panel.repaint()
        qapp.processEvents()
    image = panel.grab().toImage()
    colours = {image.pixelColor(x, y).name() for x in range(70, 300, 2) for y in range(10, 250, 2)}
    assert len(colours) > 2


def test_a_low_plot_has_a_short_name_in_its_middle(show: Any, fake_run: Any, qapp: Any) -> None:
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


def test_a_narrow_panel_names_the_flows_and_lends_its_choices(show: Any, fake_run: Any, qtbot: Any) -> None:
    run = fake_run()
    run.begin("student")
    run.points("student", "validation/nll", [3, 2, 1])
    panel = show(CurvesPanel, run, (345, 400))
    names, more = panel.findChild(QLabel, "curves.names"), panel.findChild(QToolButton, "curves.more")
    assert names.isVisible()
    assert all(colour in names.text() for colour in (COLOURS["student"], COLOURS["teacher"]))
    assert not panel._smoothing.isVisible()
    qtbot.mouseClick(more, Qt.MouseButton.LeftButton)
    assert panel._smoothing.isVisible()
    panel.resize(900, 400)
    assert panel._smoothing.isVisible()
    assert not names.isVisible()


def test_what_a_log_axis_leaves_out_is_said(show: Any, fake_run: Any) -> None:
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


def test_an_empty_panel_fits_where_its_content_would_not(show: Any, fake_run: Any) -> None:
    panel = show(CurvesPanel, size=(300, 400))
    assert panel.minimumSizeHint().width() <= 300
    run = fake_run()
    run.begin("student")
    run.points("student", "train/nll", LOSS)
    run.panel = panel
    panel.show_run(run.view)
    panel.refresh()
    assert panel.minimumSizeHint().width() >= panel.content.minimumSizeHint().width()


def test_a_run_without_a_baseline_offers_none(show: Any, fake_run: Any, fake_studio: Any) -> None:
    alone = fake_run(roles=("teacher", "student"))
    alone.begin("student")
    alone.points("student", "validation/nll", [3, 2, 1])
    panel = show(CurvesPanel, alone)
    assert not panel._roles["baseline"].isVisible()
    assert panel._roles["student"].isVisible()
    assert "Baseline" not in panel._names.text()
    usual = fake_run()
    usual.begin("student")
    usual.points("student", "validation/nll", [3, 2, 1])
    fake_studio.view = usual.view
    panel.show_run(usual.view)
    panel.refresh()
    assert panel._roles["baseline"].isVisible()
    assert "Baseline" in panel._names.text()


def test_assistants_have_curves_and_colours_of_their_own(show: Any, fake_run: Any) -> None:
    roles = ("teacher", "assistant-1", "assistant-2", "assistant-3", "student", "baseline")
    run = fake_run(roles=roles, seeds=2)
    for role in roles:
        run.begin(role)
        run.points(role, "validation/nll", [3, 2, 1])
    panel = show(CurvesPanel, run)
    colours = {line(panel, role).opts["pen"].color().name() for role in roles}
    assert colours == {COLOURS[role].lower() for role in roles}
    assert len(colours) == len(roles)
    assert panel._roles["assistant-2"].isVisible()
    assert panel._roles["assistant-2"].text() == "Assistant 2"
    panel._roles["assistant-2"].setChecked(False)
    panel.refresh()
    x, _ = line(panel, "assistant-2").getOriginalDataset()
    assert x is None or len(x) == 0
    assert "assistant 1 2" in panel._read(2.0)
