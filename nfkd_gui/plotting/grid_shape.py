"""How many images stand in a line, and how large, so that a grid of flows fills its room. No widgets."""

from __future__ import annotations

import math
from dataclasses import dataclass

CELL = 44
"""Preferred width of an image in pixels."""
GAP, ROW_GAP, GROUP_GAP = 3, 3, 14
"""Pixels between images, between the rows of a group, and between groups."""
_SMALLEST, _READABLE, _COMFORTABLE = 8, 32, 40
_PREFERENCE = 0.15
"""How much of the room may stay empty for images of the preferred width."""


@dataclass(frozen=True)
class GridShape:
    """A grid of groups, each with a row for every flow.

    Attributes
    ----------
    columns
        Images in a row.
    width, height
        Of an image, in pixels.
    groups
        Groups that are shown.
    """

    columns: int
    width: int
    height: int
    groups: int

    def used(self, rows: int, *, head: bool) -> int:
        """Return the height of the grid."""
        group = rows * (self.height + ROW_GAP) - ROW_GAP
        return head * (self.height + GROUP_GAP) + self.groups * (group + GROUP_GAP) - GROUP_GAP


def fit_samples(
    count: int, rows: int, room: tuple[int, int], aspect: float, *, head: bool = False, cell: int = CELL
) -> GridShape:
    """Return the grid of `count` samples of each flow that fills its room best with images of about `cell` pixels.

    Parameters
    ----------
    count
        Samples of each flow; those for which there is no room are left out.
    rows
        Flows.
    room
        Width and height in pixels.
    aspect
        Height of an image divided by its width.
    head
        Whether there is one row more, above all groups.
    """

    def rate(shape: GridShape) -> float:
        area = (shape.columns * (shape.width + GAP) - GAP) * shape.used(rows, head=head)
        return area / (room[0] * room[1]) - _PREFERENCE * abs(math.log(shape.width / cell))

    widths = range(_SMALLEST, max(room[0], _SMALLEST) + 1)
    shapes = [shape for width in widths if (shape := _samples_at(width, count, rows, room, aspect, head=head))]
    smallest = GridShape(min(count, max(1, room[0] // (_SMALLEST + GAP))), _SMALLEST, round(_SMALLEST * aspect), 1)
    return max(shapes, key=rate, default=smallest)


def _samples_at(
    width: int, count: int, rows: int, room: tuple[int, int], aspect: float, *, head: bool
) -> GridShape | None:
    columns = min(count, (room[0] + GAP) // (width + GAP))
    height = max(1, round(width * aspect))
    group = rows * (height + ROW_GAP) - ROW_GAP + GROUP_GAP
    fitting = (room[1] - head * (height + GROUP_GAP) + GROUP_GAP) // group
    if columns < 1 or fitting < 1:
        return None
    return GridShape(columns, width, height, min(fitting, math.ceil(count / columns)))


def fit_paths(length: int, paths: int, rows: int, room: tuple[int, int], aspect: float) -> GridShape:
    """Return the grid of paths of `length` frames: each path has a group, or several if its frames were too small.

    One path is always shown whole; there are as many as fill the room best with frames that are large enough.
    Parameters are as in `fit_samples`.
    """

    def area(shape: GridShape) -> int:
        return shape.columns * (shape.width + GAP) * shape.used(rows, head=False)

    shapes = [_paths_at(length, shown, rows, room, aspect) for shown in range(paths, 0, -1)]
    return max((shape for shape in shapes if shape.width >= _COMFORTABLE), key=area, default=shapes[-1])


def _paths_at(length: int, paths: int, rows: int, room: tuple[int, int], aspect: float) -> GridShape:
    """Return the grid of so many paths, with frames in as few lines as keep them readable."""
    best = GridShape(length, 0, 0, paths)
    for columns in range(length, 0, -1):
        groups = paths * math.ceil(length / columns)
        group = (room[1] + GROUP_GAP) // groups - GROUP_GAP
        height = (group + ROW_GAP) // rows - ROW_GAP
        width = max(_SMALLEST, min((room[0] + GAP) // columns - GAP, int(height / aspect)))
        if width > best.width:
            best = GridShape(columns, width, max(1, round(width * aspect)), groups)
        if best.width >= _READABLE:
            break
    return best
