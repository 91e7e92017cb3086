"""Places for labels beside points, without overlap. No widgets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

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
    taken, others, found = _array(obstacles), _array(lines), list[Box | None]()
    for label in labels:
        boxes = _array(_around(label, gap))
        free = boxes[_inside(boxes, room) & ~_hits(boxes, taken)]
        best = free[~_hits(free, others)] if len(free) else free
        chosen = best[:1] if len(best) else free[:1]
        taken = np.concatenate([taken, chosen])
        found.append(_box(chosen[0]) if len(chosen) else None)
    return found


def _array(boxes: Iterable[Box]) -> np.ndarray:
    return np.array(list(boxes), np.float64).reshape(-1, 4)


def _box(values: np.ndarray) -> Box:
    left, top, right, bottom = values.tolist()
    return left, top, right, bottom


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


def _inside(boxes: np.ndarray, room: Box) -> np.ndarray:
    return np.all(boxes[:, :2] >= room[:2], axis=1) & np.all(boxes[:, 2:] <= room[2:], axis=1)


def _hits(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return which boxes have more than an edge in common with one of the others, (boxes,)."""
    first, second = boxes[:, None], others[None]
    apart = (first[..., :2] >= second[..., 2:]) | (second[..., :2] >= first[..., 2:])
    return np.any(~np.any(apart, axis=2), axis=1)
