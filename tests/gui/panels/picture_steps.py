"""What tests of the samples and interpolation panels share."""

from __future__ import annotations

from typing import Any

import numpy as np

RUN = "/runs/fake"
WITH_ASSISTANTS = ("teacher", "assistant-1", "assistant-2", "student", "baseline")


def grey(value: float, count: int = 4) -> np.ndarray:
    return np.full((count, 1, 8, 8), value, np.float32)


def grey_path(value: float, pairs: int = 1) -> np.ndarray:
    return grey(value, 9 * pairs).reshape(pairs, 9, 1, 8, 8)


def level(panel: Any, role: str, number: int = 0) -> float:
    """Return the grey level in the middle of an image in the grid, 0 to 1."""
    grid = panel.grid
    row = -1 if role == "data" else panel.roles().index(role)
    group, column = divmod(number, grid.shape.columns)
    assert group < grid.shape.groups, "there is no room for this image"
    return grid.grab().toImage().pixelColor(grid.cell_rect(group, row, column).center()).redF()


def shown_roles(panel: Any) -> list[str]:
    """Return the flows whose planes are visible."""
    return [role for role, cell in panel.planes.cells.items() if cell.isVisible()]


def texts_of(axis: Any) -> list[str]:
    """Return the numbers at an axis."""
    low, high = axis.range
    length = axis.height() if axis.orientation == "left" else axis.width()
    return [text for _, values in axis.tickValues(low, high, length) for text in axis.tickStrings(values, 1.0, 0.0)]
