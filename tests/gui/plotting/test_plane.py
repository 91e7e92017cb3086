"""The plane: paths stay visible over a density, points are drawn without lines."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6.QtCore import QPointF
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QApplication

from nfkd.protocol.events import DensityDrawn
from nfkd_gui.plotting.plane import Plane
from nfkd_gui.theme import apply_theme, role_colour


def test_a_halo_separates_a_path_from_the_density(qtbot: Any, qapp: QApplication) -> None:
    density = DensityDrawn(
        run="", seed=1, stage="baseline", step=1, extent=(-1.0, 1.0, -1.0, 1.0), log_prob=np.zeros((8, 8))
    )
    for theme in ("dark", "light"):
        apply_theme(qapp, theme)
        plane = Plane()
        qtbot.addWidget(plane)
        plane.resize(400, 300)
        plane.show_density(density, "baseline")
        plane.show_paths(np.array([[[-0.9, 0.0], [0.9, 0.0]]]), role_colour("baseline"))
        with qtbot.waitExposed(plane):
            plane.show()
        image = plane.grab().toImage()
        ratio = image.devicePixelRatio()
        point = plane.mapFromScene(plane.canvas.getViewBox().mapViewToScene(QPointF(0, 0)))
        column = [image.pixelColor(int(point.x() * ratio), int(y * ratio)) for y in range(point.y() - 6, point.y() + 7)]
        assert QColor(role_colour("baseline")).name() in [colour.name() for colour in column]
        lightness = [colour.lightness() for colour in column]
        assert (max(lightness) > 230) if theme == "light" else (min(lightness) < 60)


def test_points_are_not_connected_and_replace_a_histogram(qtbot: Any) -> None:
    plane = Plane()
    qtbot.addWidget(plane)
    plane.resize(400, 300)
    plane.show_histogram(np.linspace(-1, 1, 50), role_colour("data"), (-1.0, 1.0))
    plane.show_points(np.array([[-0.9, -0.9], [0.9, 0.9]]), role_colour("data"))
    plane.frame((-1.0, 1.5, -1.0, 1.0))
    with qtbot.waitExposed(plane):
        plane.show()
    image = plane.grab().toImage()
    seen = set()
    for x in np.linspace(-0.5, 1.2, 40):
        point = plane.mapFromScene(plane.canvas.getViewBox().mapViewToScene(QPointF(x, 0)))
        seen |= {image.pixelColor(point.x(), point.y() + shift).name() for shift in (-1, 0, 1)}
    assert len(seen) == 1  # the background
