"""The Pareto front and its line, against the definition."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nfkd_gui.model.pareto import front_line, pareto_front

COORDINATES = st.one_of(st.integers(-3, 3).map(float), st.floats(-1e6, 1e6), st.just(float("nan")))
POINTS = st.lists(st.tuples(COORDINATES, COORDINATES), max_size=25)


def beats(first: tuple[float, float], second: tuple[float, float], *, larger: tuple[bool, bool]) -> bool:
    """Return whether a point is at least as good as another in both figures, and better in one."""
    gains = [(a - b) if up else (b - a) for a, b, up in zip(first, second, larger, strict=True)]
    return all(gain >= 0 for gain in gains) and any(gain > 0 for gain in gains)


@given(points=POINTS, larger_x=st.booleans(), larger_y=st.booleans())
def test_the_front_has_the_points_that_nothing_beats(
    points: list[tuple[float, float]], larger_x: bool, larger_y: bool
) -> None:
    x, y = np.array([a for a, _ in points], np.float64), np.array([b for _, b in points], np.float64)
    found = pareto_front(x, y, larger_x=larger_x, larger_y=larger_y)
    known = [number for number, point in enumerate(points) if np.isfinite(point).all()]
    unbeaten = [
        number
        for number in known
        if not any(beats(points[other], points[number], larger=(larger_x, larger_y)) for other in known)
    ]
    assert sorted(found) == unbeaten
    assert list(x[found]) == sorted(x[found]), "by x"


@given(points=POINTS, larger_x=st.booleans(), larger_y=st.booleans())
def test_the_line_runs_through_the_front_and_along_the_axes(
    points: list[tuple[float, float]], larger_x: bool, larger_y: bool
) -> None:
    x, y = np.array([a for a, _ in points], np.float64), np.array([b for _, b in points], np.float64)
    front = pareto_front(x, y, larger_x=larger_x, larger_y=larger_y)
    worst = (-1e7 if larger_x else 1e7, -1e7 if larger_y else 1e7)
    across, up = front_line(x[front], y[front], worst, larger_x=larger_x)
    corners = list(zip(across.tolist(), up.tolist(), strict=True))
    assert bool(corners) == bool(front)
    assert {(x[index], y[index]) for index in front} <= set(corners)
    for before, after in pairwise(corners):
        assert before[0] == after[0] or before[1] == after[1]
    if corners:
        assert (corners[0][1], corners[-1][0]) == (worst[1], worst[0])
