"""The probe of the flow panel: it is dragged in any state, and its terms add up to log p."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QDoubleSpinBox, QLabel, QPushButton

import nfkd.inspect
from nfkd.protocol.inspection import Origin
from nfkd_gui.plotting.flow_plane import FlowPlane
from tests.gui.panels.flow_driver import Driven, recorded
from tests.gui.panels.test_flow_plane import child, settle


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded("pinwheel", tmp_path_factory.mktemp("flow"))


@pytest.fixture
def driven(show: Any, fake_studio: Any, run: Path) -> Driven:
    return Driven(show, fake_studio, run)


def at(plane: FlowPlane, x: float, y: float) -> QPoint:
    """Return where a position of the plane is in its viewport."""
    return plane.mapFromScene(plane.canvas.getViewBox().mapViewToScene(QPointF(x, y)))


def ring(plane: FlowPlane) -> np.ndarray:
    x, y = plane.probe.getData()
    return np.array([x[0], y[0]])


def log_prob(run: Path, seed: int, role: Any, x: list[float]) -> float:
    flow = nfkd.inspect.open_run(run, seed).flows[role]
    with torch.no_grad():
        return float(flow.log_prob(torch.tensor([x], dtype=torch.float32))[0])


def test_the_terms_add_up_to_log_p_and_the_difference_is_shown(driven: Driven, run: Path) -> None:
    panel, point = driven.panel, [0.4, -1.25]
    for name, value in zip(("flow.x1", "flow.x2"), point, strict=True):
        field = child(panel, QDoubleSpinBox, name)
        field.setFocus()
        field.selectAll()
        QTest.keyClicks(field, f"{value}")
        QTest.keyClick(field, Qt.Key.Key_Return)
        driven.answer()
    terms: list[Any] = [block.chart.terms for block in panel.planes.probe.blocks]
    expected = [log_prob(run, driven.studio.seed, role, point) for role in ("teacher", "student")]
    for shown, value, layers in zip(terms, expected, (6, 2), strict=True):
        assert len(shown.layers) == layers
        assert shown.base + sum(shown.layers) == pytest.approx(value, rel=1e-5)
        assert shown.bars()[-1] == pytest.approx((0.0, value), rel=1e-5)
    text = child(panel, QLabel, "flow.difference").text()
    assert text.endswith(" nats")
    assert float(text.removesuffix(" nats").replace("−", "-")) == pytest.approx(expected[1] - expected[0], abs=6e-4)


@pytest.mark.parametrize(("number", "column"), [(0, 0), (0, 4), (1, 3), (1, 6)])
def test_the_ring_is_dragged_in_any_state_of_either_flow(driven: Driven, qtbot: Any, number: int, column: int) -> None:
    panel = driven.panel
    panel.scrubber.go(column)
    settle(panel, qtbot)
    plane = panel.planes.cells[number].plane
    view, start, goal = plane.viewport(), at(plane, 0.2, 0.1), at(plane, 0.7, -0.6)
    QTest.mousePress(view, Qt.MouseButton.LeftButton, pos=start)
    QTest.mouseMove(view, goal)
    QTest.mouseRelease(view, Qt.MouseButton.LeftButton, pos=goal)
    driven.answer()
    wide, _ = plane.canvas.getViewBox().viewPixelSize()
    np.testing.assert_allclose(ring(plane), [0.7, -0.6], atol=1.1 * wide)
    flows = panel.states.layers.flows  # type: ignore[union-attr]
    np.testing.assert_array_equal(flows["teacher"].state, flows["student"].state)
    fields = [child(panel, QDoubleSpinBox, name).value() for name in ("flow.x1", "flow.x2")]
    np.testing.assert_allclose(fields, flows["teacher"].state, atol=6e-4)
    origin = panel.states.origin
    assert origin is not None
    assert not origin.layer, "with newer weights the point stays where it is in the data"


def test_the_sentence_says_how_much_space_is_spread_up_to_the_marked_layer(driven: Driven, qtbot: Any) -> None:
    panel = driven.panel
    panel.show_example(Origin(kind="validation", index=5))
    driven.answer()
    panel.scrubber.go(3)
    layers = panel.states.layers
    assert layers is not None
    text = child(panel, QLabel, "flow.spread").text()
    factors = [float(found) for found in re.findall(r"<b>([^<]+)</b>", text)]
    expected = [np.exp(layers.flows["teacher"].layers[2].log_det), np.exp(layers.flows["student"].layers[0].log_det)]
    assert factors == pytest.approx(expected, rel=5e-3)
    assert text.startswith("Up to the marked layer the teacher has spread the space around this point by a factor of")
    marked = [block.chart.marked for block in panel.planes.probe.blocks]
    assert marked == [3, 1]
    panel.scrubber.go(0)
    assert child(panel, QLabel, "flow.spread").isHidden()


def test_the_most_likely_and_a_random_point(driven: Driven, run: Path) -> None:
    panel = driven.panel
    QTest.mouseClick(child(panel, QPushButton, "flow.likely"), Qt.MouseButton.LeftButton)
    driven.answer()
    likely = panel.states.layers.flows["teacher"]  # type: ignore[union-attr]
    plane = panel.states.plane
    assert plane is not None
    flow = nfkd.inspect.open_run(run, driven.studio.seed).flows["teacher"]
    with torch.no_grad():
        others = flow.log_prob(torch.from_numpy(plane.flows["teacher"].points[0]))
    assert likely.log_prob > float(others.max()) - 0.1
    QTest.mouseClick(child(panel, QPushButton, "flow.random"), Qt.MouseButton.LeftButton)
    driven.answer()
    state = panel.states.layers.flows["teacher"].state  # type: ignore[union-attr]
    assert np.abs(plane.flows["teacher"].points[0] - state).max(axis=1).min() < 1e-6


def test_the_probe_is_shown_in_the_sample_inspector(driven: Driven, qtbot: Any) -> None:
    panel, chosen = driven.panel, list[Origin]()
    driven.studio.example_chosen.connect(chosen.append)
    plane = panel.planes.cells[0].plane
    settle(panel, qtbot)
    QTest.mouseClick(plane.viewport(), Qt.MouseButton.LeftButton, pos=at(plane, 0.7, -0.6))
    driven.answer()
    assert chosen == [], "a click moves the probe"
    QTest.mouseClick(child(panel, QPushButton, "flow.inspect_probe"), Qt.MouseButton.LeftButton)
    assert [origin.kind for origin in chosen] == ["scaled"]
    wide, _ = plane.canvas.getViewBox().viewPixelSize()
    np.testing.assert_allclose(chosen[0].values, [0.7, -0.6], atol=1.1 * wide)  # type: ignore[arg-type]


def test_bars_are_drawn_where_the_numbers_say(driven: Driven, qtbot: Any) -> None:
    chart = driven.panel.planes.probe.blocks[0].chart
    qtbot.waitUntil(lambda: chart.height() == chart.sizeHint().height())
    terms = chart.terms
    assert terms is not None
    picture = chart.grab().toImage()
    row = chart.height() // (len(terms.layers) + 2)
    for number, (start, end) in enumerate(terms.bars()):
        middle = round((chart.x_of(start) + chart.x_of(end)) / 2)
        outside = round(max(chart.x_of(start), chart.x_of(end))) + 3
        if abs(chart.x_of(end) - chart.x_of(start)) < 4:
            continue
        y = number * row + row // 2
        assert picture.pixelColor(middle, y).lightness() < 200, number
        if outside < chart.x_of(0) - 2:
            assert picture.pixelColor(outside, y).lightness() > 200, number
