"""Positions on the axes of parallel coordinates, and brushes, against their definitions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfkd_gui.plotting.parallel_axes import (
    AxisSource,
    Brush,
    ParallelAxis,
    make_axis,
    nearest_line,
    passing,
    spread,
)
from nfkd_gui.plotting.parallel_drag import BrushDrag


def axis_of(values: list[Any], *, flipped: bool = False) -> ParallelAxis:
    return make_axis(AxisSource("name", "Title", values, str, flipped))


@given(st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9)), min_size=1, max_size=12), st.booleans())
def test_numbers_keep_their_order(values: list[float | None], flipped: bool) -> None:
    axis = axis_of(values, flipped=flipped)
    positions = axis.positions if not flipped else -axis.positions
    for first, at in zip(values, positions.tolist(), strict=True):
        assert (first is None) == math.isnan(at)
        for second, other in zip(values, positions.tolist(), strict=True):
            if first is not None and second is not None and first < second:
                assert at <= other
    known = axis.positions[np.isfinite(axis.positions)]
    assert ((known >= 0) & (known <= 1)).all()


def test_the_ends_are_named_with_the_lowest_and_the_highest_value() -> None:
    assert [text for _, text in axis_of([3.0, 1.0, 2.0]).labels] == ["1.0", "3.0"]
    assert [text for _, text in axis_of([3.0, 1.0, 2.0], flipped=True).labels] == ["3.0", "1.0"]
    assert axis_of([2.0, 2.0]).labels == ((0.5, "2.0"),)


def test_values_over_a_decade_are_on_a_logarithmic_axis() -> None:
    axis = axis_of([1.0, 10.0, 100.0])
    assert axis.logarithmic
    assert np.diff(axis.positions) == pytest.approx([axis.positions[1] - axis.positions[0]] * 2)
    assert not axis_of([1.0, 9.9]).logarithmic
    assert not axis_of([0.0, 100.0]).logarithmic


def test_texts_and_switches_are_categories_with_what_means_nothing_below() -> None:
    axis = axis_of(["none", "blocks", "mixing", "none"])
    assert axis.categories
    assert [text for _, text in sorted(axis.labels)] == ["none", "blocks", "mixing"]
    assert axis.positions[0] == axis.positions[3] == min(axis.positions)
    assert axis_of([True, False]).categories


AXES = st.lists(st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), min_size=6, max_size=6), min_size=1, max_size=3)
BRUSHES = st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1), st.floats(0, 1)), max_size=5)


@given(AXES, BRUSHES)
def test_lines_pass_one_brush_of_each_axis_that_has_some(
    columns: list[list[float]], ranges: list[tuple[int, float, float]]
) -> None:
    axes = [ParallelAxis(str(number), "", np.array(column), ()) for number, column in enumerate(columns)]
    brushes = [Brush(str(number), min(a, b), max(a, b)) for number, a, b in ranges]
    expected = []
    for line in range(6):
        good = True
        for number, column in enumerate(columns):
            mine = [brush for brush in brushes if brush.axis == str(number)]
            good &= not mine or any(brush.low <= column[line] <= brush.high for brush in mine)
        expected.append(good)
    assert passing(axes, brushes, 6).tolist() == expected


@given(st.floats(0, 1), st.floats(0, 1), st.floats(-2, 2))
def test_a_moved_brush_keeps_its_size_and_stays_on_the_axis(first: float, second: float, by: float) -> None:
    brush = Brush("a", min(first, second), max(first, second))
    moved = brush.moved(by)
    assert moved.high - moved.low == pytest.approx(brush.high - brush.low)
    assert moved.low >= -1e-9
    assert moved.high <= 1 + 1e-9


def test_a_drag_makes_moves_and_resizes_a_brush() -> None:
    made = BrushDrag.begin("a", [], 0.2, 0.01).to(0.6)
    assert made == [Brush("a", 0.2, 0.6)]
    moved = BrushDrag.begin("a", made, 0.4, 0.01).to(0.5)
    assert (moved[0].low, moved[0].high) == pytest.approx((0.3, 0.7))
    assert BrushDrag.begin("a", made, 0.6, 0.01).to(0.9) == [Brush("a", 0.2, 0.9)]
    assert BrushDrag.begin("a", made, 0.2, 0.01).to(0.8) == [Brush("a", 0.6, 0.8)], "past the other end"
    assert BrushDrag.begin("b", made, 0.4, 0.01).to(0.5) == [*made, Brush("b", 0.4, 0.5)]


def test_the_nearest_line_is_found_between_axes() -> None:
    lines = np.array([[0.0, 100.0], [100.0, 0.0], [math.nan, 50.0]])
    places = np.array([0.0, 10.0])
    assert nearest_line(lines, places, 2.5, 30.0) == (0, pytest.approx(5.0))
    assert nearest_line(lines, places, 2.5, 80.0) == (1, pytest.approx(5.0))
    assert nearest_line(np.empty((0, 2)), places, 2.5, 80.0)[0] == -1


@given(st.lists(st.integers(0, 4).map(lambda value: 10.0 * value), max_size=8))
def test_lines_at_the_same_height_are_drawn_side_by_side(heights: list[float]) -> None:
    shifted = np.array(heights) + spread(np.array(heights), 2.0)
    assert len(set(shifted.tolist())) == len(heights)
    for height in set(heights):
        mine = [value for value, before in zip(shifted, heights, strict=True) if before == height]
        assert np.mean(mine) == pytest.approx(height)
