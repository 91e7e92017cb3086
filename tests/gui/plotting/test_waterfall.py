"""The bars of log p: terms that are not finite have no bar."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from nfkd.protocol.inspection import FlowStates, LayerState
from nfkd_gui.panels.flow_probe import Probe
from nfkd_gui.plotting.waterfall import Terms, Waterfall, common_range


def flow(base: float, log_dets: tuple[float, ...]) -> FlowStates:
    point = np.zeros(2)
    layers = [LayerState(f"step{n}", f"step {n}", "step", point, so_far, 0) for n, so_far in enumerate(log_dets, 1)]
    return FlowStates(point, point, layers, [point], [point], base, base + log_dets[-1])


def has_bar(chart: Waterfall, row: int, rows: int) -> bool:
    """Return whether the middle of a row differs from its top where bars are drawn."""
    picture, height = chart.grab().toImage(), chart.height() // rows
    top, middle = row * height + 2, row * height + height // 2
    left, right = (round(chart.x_of(end)) for end in chart._range)
    return sum(picture.pixel(x, middle) != picture.pixel(x, top) for x in range(left, right)) > 20


@pytest.mark.parametrize(
    ("base", "log_dets", "bars"),
    [
        (-3.0, (1.0, 2.0), [True, True, True, True]),
        (-math.inf, (1.0, 3.0), [False, False, False, False]),
        (math.nan, (1.0, 3.0), [False, False, False, False]),
        (-3.0, (2.0, math.nan), [True, True, False, False]),
        (-3.0, (math.inf, -math.inf), [True, False, False, False]),
    ],
)
def test_terms_that_are_not_finite_have_no_bar(qtbot: Any, base: float, log_dets: Any, bars: list[bool]) -> None:
    chart, terms = Waterfall(), Terms.of("teacher", flow(base, log_dets))
    qtbot.addWidget(chart)
    chart.show_terms(terms, common_range([terms]))
    chart.mark(1)
    chart.resize(400, chart.sizeHint().height())
    assert [has_bar(chart, row, 4) for row in range(4)] == bars
    assert ("–" in chart.accessibleName()) == (not all(bars))


def test_the_probe_shows_a_dash_for_a_difference_that_is_not_finite(qtbot: Any) -> None:
    probe = Probe()
    qtbot.addWidget(probe)
    flows: Any = {"teacher": flow(-math.inf, (1.0,)), "student": flow(-2.0, (1.0,))}
    probe.show_point(flows, ["teacher", "student"])
    probe.mark({"teacher": 1, "student": 1})
    probe.grab()
    assert probe.difference.text() == "– nats"
