"""Paths over a density: seen wherever the map is bright or dark."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6.QtCore import QPointF
from PySide6.QtGui import QColor

from nfkd.protocol.events import DensityDrawn
from nfkd_gui.plotting.plane import Plane
from nfkd_gui.theme import role_colour


def test_a_path_is_parted_from_the_map_by_a_halo(qtbot: Any, theme: str) -> None:
    plane = Plane()
    qtbot.addWidget(plane)
    plane.resize(400, 300)
    density = DensityDrawn(
        run="", seed=1, stage="baseline", step=1, extent=(-1.0, 1.0, -1.0, 1.0), log_prob=np.zeros((8, 8))
    )
    plane.show_density(density)
    plane.show_paths(np.array([[[-0.9, 0.0], [0.9, 0.0]]]), role_colour("baseline"))
    with qtbot.waitExposed(plane):
        plane.show()
    image = plane.grab().toImage()
    ratio = image.devicePixelRatio()
    place = plane.mapFromScene(plane.canvas.getViewBox().mapViewToScene(QPointF(0, 0)))
    column = [image.pixelColor(int(place.x() * ratio), int(y * ratio)) for y in range(place.y() - 6, place.y() + 7)]
    names = [colour.name() for colour in column]
    assert QColor(role_colour("baseline")).name() in names
    lightness = [colour.lightness() for colour in column]
    assert (max(lightness) > 230) if theme == "light" else (min(lightness) < 60)


def test_between_points_there_is_nothing_and_no_histogram_is_left(qtbot: Any) -> None:
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
        place = plane.mapFromScene(plane.canvas.getViewBox().mapViewToScene(QPointF(x, 0)))
        seen |= {image.pixelColor(place.x(), place.y() + shift).name() for shift in (-1, 0, 1)}
    assert len(seen) == 1  # the background's colour
