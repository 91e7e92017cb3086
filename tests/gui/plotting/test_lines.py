"""Decimation and smoothing of curves."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from nfkd_gui.plotting.lines import Smoother, decimate


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
