"""Scales of values, and their ticks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from nfkd_gui.plotting.axes import Scale, ScaleKind, format_ticks, symlog_threshold
from nfkd_gui.plotting.plots import Plot
from nfkd_gui.theme import apply_theme


@given(st.floats(-1e6, 1e6), st.sampled_from(["linear", "log", "symlog"]), st.sampled_from([1e-3, 1.0]))
def test_a_scale_is_inverted(value: float, kind: ScaleKind, threshold: float) -> None:
    scale = Scale(kind, threshold)
    [position] = scale.apply(np.array([value]))
    if kind == "log" and value <= 0:
        assert math.isnan(position)
    else:
        assert scale.invert(float(position)) == pytest.approx(value, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("scale", "low", "high", "texts"),
    [
        (Scale(), 0, 1000, ["0", "200", "400", "600", "800", "1,000"]),
        (Scale(), 2.2, 3.6, ["2.2", "2.4", "2.6", "2.8", "3.0", "3.2", "3.4", "3.6"]),
        (Scale(), -0.5, 0.5, ["−0.4", "−0.2", "0.0", "0.2", "0.4"]),
        (Scale("log"), 0.01, 1000, ["0.01", "0.1", "1", "10", "100", "1,000"]),
        (Scale("log"), 0.5, 40, ["0.5", "1", "2", "5", "10", "20"]),
        (Scale("log"), 2.4, 3.6, ["2.4", "2.6", "2.8", "3.0", "3.2", "3.4", "3.6"]),
        (Scale("symlog", 1.0), -100, 1000, ["−100", "−10", "−1", "0", "1", "10", "100", "1,000"]),
        (Scale("symlog", 1.0), -1e6, 10, ["−100,000", "−1,000", "−10", "0", "10"]),
    ],
)
def test_ticks_are_round_values(scale: Scale, low: float, high: float, texts: list[str]) -> None:
    first, last = scale.apply(np.array([low, high], np.float64))
    assert format_ticks(scale.ticks(float(first), float(last), 8)) == texts


def test_the_threshold_of_symlog_is_below_most_values() -> None:
    sizes = np.geomspace(2e-3, 5, 200) * np.array([1, -1] * 100)
    assert symlog_threshold(sizes) == pytest.approx(1e-3)
    assert symlog_threshold(np.zeros(3)) == 1


def test_an_axis_with_little_room_has_two_ticks_at_least() -> None:
    for half in (1.2, 4.4, 9.9, 30.0, 470.0):
        assert len(Scale().ticks(-half, half, 2)) >= 2
        assert len(Scale().ticks(-half, half, 4)) <= 9


def test_the_text_of_a_tick_at_the_end_is_not_cut(qapp: QApplication, qtbot: QtBot) -> None:
    apply_theme(qapp, "light", shapes=False)
    inks = []
    for end in (10_000.0, 12_000.0):  # the last tick is at the end of the axis, then far from it
        plot = Plot()
        qtbot.addWidget(plot)
        plot.resize(300, 200)
        plot.canvas.getViewBox().setRange(xRange=(0, end), yRange=(0, 1), padding=0)
        with qtbot.waitExposed(plot):
            plot.show()
        image = plot.grab().toImage()
        axis = plot.canvas.getAxis("bottom").sceneBoundingRect()
        place = axis.right() - 20 if end == 10_000.0 else axis.left() + 20 + (axis.width() - 40) * 10 / 12
        columns = range(max(0, round(place) - 45), min(image.width(), round(place) + 45))
        rows = range(round(axis.top()) + 6, image.height())
        panel = image.pixelColor(1, 1)
        inks.append(sum(image.pixelColor(x, y).lightness() < panel.lightness() - 60 for x in columns for y in rows))
    assert inks[0] >= 0.9 * inks[1] > 0
