"""Decimation and smoothing of curves."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from nfkd_gui.plotting.axes import Scale
from nfkd_gui.plotting.lines import Line, Smoother, decimate, position


@settings(max_examples=50)
@given(stn.arrays(np.float64, st.integers(1, 4000), elements=st.floats(-1e6, 1e6)), st.integers(2, 200))
def test_decimation_keeps_the_extremes(values: np.ndarray, bins: int) -> None:
    x, y = decimate(np.arange(len(values), dtype=float), values, bins)
    assert len(x) == len(y) <= max(2 * bins, 1) or len(values) <= 2 * bins
    assert y.min() == values.min()
    assert y.max() == values.max()
    assert np.all(np.diff(x) >= 0)
    np.testing.assert_array_equal(y, values[x.astype(int)])  # only existing points are drawn


def test_decimation_leaves_a_gap_only_for_a_bin_without_finite_values() -> None:
    values = np.arange(1000.0)
    values[::2] = np.nan
    values[400:500] = np.inf
    x, y = decimate(np.arange(1000.0), values, 10)
    np.testing.assert_array_equal(x[np.isnan(y)] // 100, [4, 4])
    assert np.nanmin(y) == 1
    assert np.nanmax(y) == 999


@settings(max_examples=50)
@given(
    stn.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e3, 1e3)), st.integers(0, 60), st.floats(0, 0.99)
)
def test_incremental_smoothing_is_the_weighted_average(values: np.ndarray, cut: int, weight: float) -> None:
    smoother = Smoother()
    smoother(values[:cut], weight)
    expected = []
    for n in range(1, len(values) + 1):
        weights = weight ** np.arange(n - 1, -1, -1)
        expected.append(np.average(values[:n], weights=weights))
    np.testing.assert_allclose(smoother(values, weight), expected, rtol=1e-6, atol=1e-6)


@settings(max_examples=60)
@given(st.integers(1, 6000), st.integers(0, 6000), st.floats(0, 1), st.floats(0, 1), st.integers(2, 40))
def test_a_part_of_a_growing_line_keeps_its_extremes(
    count: int, cut: int, first: float, last: float, bins: int
) -> None:
    values = np.random.default_rng(count).standard_normal(count).cumsum()
    steps = np.arange(1, count + 1) * 3
    line = Line()
    for end in sorted({min(cut, count), count}):
        line.update(values[:end], 0.0, Scale())
    low, high = sorted((first * 3 * count, last * 3 * count))
    x, y = line.part(steps, low, high, bins)
    inside = (steps >= low) & (steps <= high)
    assert len(x) <= 2 * bins + 1
    np.testing.assert_array_equal(y, values[x // 3 - 1])  # only existing points are drawn
    if inside.any():
        assert y.min() <= values[inside].min()
        assert y.max() >= values[inside].max()
        assert np.all((x >= low - 3) & (x <= high + 3))
    assert (line.low, line.high) == (values.min(), values.max())


def test_a_long_line_has_the_extremes_of_every_pixel() -> None:
    values = np.random.default_rng(0).standard_normal(200_000)
    line = Line()
    line.update(values, 0.0, Scale())
    _, y = line.part(np.arange(200_000), 1000, 190_000, 300)
    edges = np.linspace(1000, 190_000, 31).astype(int)
    for start, end in itertools.pairwise(edges):  # ten pixels each
        assert values[start:end].max() in y
        assert values[start:end].min() in y


def test_smoothing_of_many_values_is_the_recursion_and_leaves_gaps_out() -> None:
    values = np.random.default_rng(1).standard_normal(3000)
    values[[0, 5, 700, 701]] = np.nan
    total = norm = 0.0
    expected = []
    for value in values:
        if np.isfinite(value):
            total, norm = 0.95 * total + 0.05 * value, 0.95 * norm + 0.05
        expected.append(total / norm if norm else np.nan)
    np.testing.assert_allclose(Smoother()(values, 0.95), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [np.int64, np.float64])
def test_positions_are_those_of_searchsorted(kind: type) -> None:
    x = np.array([1, 3, 3, 7], kind)
    for value in (-1e9, 0.5, 1, 2.5, 3, 3.5, 7, 8, 1e9):
        for side in ("left", "right"):
            assert position(x, value, side) == np.searchsorted(x.astype(float), value, side)  # type: ignore[arg-type]
