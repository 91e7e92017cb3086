"""The grid of planes: all cells are equally large, so that planes with equal limits have equal ticks."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtWidgets import QVBoxLayout, QWidget

from nfkd_gui.panels.plane_grid import PlaneGrid

ROLES = ("data", "teacher", "student", "baseline")


def ticks(plane: Any, side: str) -> list[float]:
    """Return the ticks that the plane draws."""
    axis = plane.canvas.getAxis(side)
    low, high = axis.range
    [(_, values)] = axis.tickValues(low, high, axis.width() if side == "bottom" else axis.height())
    return [round(value, 9) for value in values if low <= value <= high]


@pytest.mark.parametrize("extent", [(-4.5, 4.3, -4.5, 4.6), (11.2, 14.6, 0.6, 4.4)])
def test_planes_with_equal_limits_have_equal_sizes_and_ticks(qtbot: Any, extent: Any) -> None:
    parent = QWidget()
    qtbot.addWidget(parent)
    grid = PlaneGrid(parent)
    QVBoxLayout(parent).addWidget(grid)
    captions = (
        ["validation examples"],
        ["final weights, temperature 1.00", "step 1,100"],
        [""],
        ["step 9"],
    )
    for role, texts in zip(ROLES, captions, strict=True):
        grid.cells[role].show_plane(texts)
    grid.cells["data"].show_reason("The data has many more features than can be shown in a small plane")
    grid.cells["data"].show_plane(captions[0])
    parent.show()
    qtbot.waitExposed(parent)
    for width, height in ((425, 245), (731, 260), (830, 261), (831, 420), (833, 423), (900, 777)):
        parent.resize(width, height)
        grid.show_roles(ROLES, extent)
        planes = [grid.cells[role].plane for role in ROLES]
        for plane in planes:
            plane.frame(extent)
        qtbot.waitUntil(lambda shown=planes: len({(plane.width(), plane.height()) for plane in shown}) == 1)
        parent.grab()
        for side in ("bottom", "left"):
            found = [ticks(plane, side) for plane in planes]
            assert found == [found[0]] * 4, (width, height, side)


@pytest.mark.parametrize(
    ("size", "count", "rows"), [((740, 400), 4, 2), ((740, 400), 3, 1), ((740, 250), 4, 1), ((300, 900), 4, 4)]
)
def test_planes_stand_in_full_rows_that_use_the_room(qtbot: Any, size: tuple[int, int], count: int, rows: int) -> None:
    parent = QWidget()
    qtbot.addWidget(parent)
    grid = PlaneGrid(parent)
    QVBoxLayout(parent).addWidget(grid)
    parent.resize(*size)
    parent.show()
    qtbot.waitExposed(parent)
    for role in ROLES[:count]:
        grid.cells[role].show_plane(["step 9"])
    grid.show_roles(ROLES[:count], (-4.0, 4.0, -4.0, 4.0))
    qtbot.waitUntil(lambda: len({grid.cells[role].y() for role in ROLES[:count]}) == rows)
