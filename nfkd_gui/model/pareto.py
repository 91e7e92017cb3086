"""The Pareto front: the points that no other point beats in both of two figures. No widgets."""

from __future__ import annotations

import numpy as np


def pareto_front(x: np.ndarray, y: np.ndarray, *, larger_x: bool = False, larger_y: bool = False) -> list[int]:
    """Return the points that no other one dominates, by x.

    A point dominates another if it is at least as good in both figures, and better in one. Equal points are all kept;
    points that are not finite never are.

    Parameters
    ----------
    x, y
        (n,) figures.
    larger_x, larger_y
        Whether larger is better; otherwise smaller is.
    """
    cost_x, cost_y = -x if larger_x else x, -y if larger_y else y
    finite = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    kept: list[int] = []
    for index in finite[np.lexsort((cost_y[finite], cost_x[finite]))].tolist():
        last = kept[-1] if kept else None
        better = last is None or cost_y[index] < cost_y[last]
        if better or (last is not None and (cost_x[index], cost_y[index]) == (cost_x[last], cost_y[last])):
            kept.append(index)
    return kept[::-1] if larger_x else kept


def front_line(
    x: np.ndarray, y: np.ndarray, worst: tuple[float, float], *, larger_x: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the border of what a front dominates, as a line of horizontal and vertical pieces.

    Parameters
    ----------
    x, y
        (n,) the points of `pareto_front`, in its order.
    worst
        The x and the y where the line ends: those of the worst corner.
    larger_x
        As in `pareto_front`.
    """
    if not len(x):
        return np.empty(0), np.empty(0)
    if larger_x:
        x, y = x[::-1], y[::-1]  # from the best x to the worst
    corners_x = np.concatenate([np.repeat(x, 2), [worst[0]]])
    corners_y = np.concatenate([[worst[1]], np.repeat(y, 2)])
    return corners_x, corners_y
