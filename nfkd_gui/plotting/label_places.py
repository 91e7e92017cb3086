"""Places for labels beside points, without overlap. No widgets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class PointLabel:
    """A label of a point.

    Attributes
    ----------
    x, y
        The point.
    width, height
        Of the text.
    """

    x: float
    y: float
    width: float
    height: float


def overlaps(first: Box, second: Box) -> bool:
    """Return whether two boxes have more than an edge in common."""
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def place_labels(
    labels: Sequence[PointLabel],
    room: Box,
    obstacles: Iterable[Box] = (),
    *,
    lines: Sequence[Box] = (),
    gap: float = 6.0,
) -> list[Box | None]:
    """Return the place of each label; None for one that fits nowhere.

    Earlier labels are placed first. A label may stand at eight places around its point, and twice as far away; it lies
    inside the room and overlaps neither an obstacle nor another label.

    Parameters
    ----------
    obstacles
        Boxes that stay free, such as those of the points.
    lines
        Boxes that stay free where this is possible, such as those of lines.
    gap
        Distance of a label from its point.
    """
    taken, found = list(obstacles), list[Box | None]()
    for label in labels:
        free = [box for box in _around(label, gap) if _inside(box, room) and not _hits(box, taken)]
        place = next((box for box in free if not _hits(box, lines)), free[0] if free else None)
        if place is not None:
            taken.append(place)
        found.append(place)
    return found


def _around(label: PointLabel, gap: float) -> Iterable[Box]:
    for away in (gap, 2 * gap):
        right, left = label.x + away, label.x - away - label.width
        below, above = label.y + away, label.y - away - label.height
        across, up = label.x - label.width / 2, label.y - label.height / 2
        for x, y in (
            (right, up), (left, up), (across, above), (across, below),
            (right, above), (left, above), (right, below), (left, below),
        ):  # fmt: skip
            yield x, y, x + label.width, y + label.height


def _inside(box: Box, room: Box) -> bool:
    return box[0] >= room[0] and box[1] >= room[1] and box[2] <= room[2] and box[3] <= room[3]


def _hits(box: Box, taken: Iterable[Box]) -> bool:
    return any(overlaps(box, other) for other in taken)
