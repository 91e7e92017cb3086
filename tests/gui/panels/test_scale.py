"""Margins and smallest sizes of the panels follow the scale of the interface."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PySide6.QtWidgets import QApplication, QLayout, QWidget

from nfkd_gui.plotting.flow_grid import FlowGrid
from nfkd_gui.plotting.plane import Plane
from nfkd_gui.plotting.plots import Plot
from nfkd_gui.theme import apply_theme
from nfkd_gui.window.train import PANELS


@pytest.fixture
def scale(qapp: QApplication, fake_studio: Any) -> Any:
    def apply(percent: int) -> None:
        apply_theme(qapp, "light", percent)
        fake_studio.theme_changed.emit()
        qapp.processEvents()

    return apply


def sizes_of(panel: QWidget) -> list[int]:
    """Return the margins and spacings of all layouts, and the smallest sizes of plots and grids."""
    found: list[int] = []
    for layout in panel.findChildren(QLayout):
        if layout.property("space"):
            margins = layout.contentsMargins()
            found += [layout.spacing(), margins.left(), margins.top(), margins.right(), margins.bottom()]
    for plot in panel.findChildren(Plot):
        found += [plot.minimumWidth(), plot.minimumHeight()]
        if not isinstance(plot, Plane):  # the axes of a plane depend on its room, too
            found.append(plot.canvas.getAxis("left").fixedWidth)
    for grid in panel.findChildren(FlowGrid):
        found += [grid.minimumSizeHint().width(), grid.minimumSizeHint().height()]
    return found


@pytest.mark.parametrize("kind", PANELS)
def test_sizes_follow_the_scale(kind: type, show: Any, fake_run: Any, scale: Any) -> None:
    run = fake_run()
    run.begin("student")
    run.points("student", "validation/nll", [3.0, 2.0])
    panel = show(kind, run)
    before = np.array(sizes_of(panel))
    assert before.max() >= 32
    spaced = [layout for layout in panel.findChildren(QLayout) if layout.contentsMargins().left() >= 8]
    assert all(layout.property("space") for layout in spaced if not layout.inherits("QStackedLayout"))
    for percent in (200, 75):
        scale(percent)
        np.testing.assert_allclose(sizes_of(panel), before * percent / 100, atol=0.5)
