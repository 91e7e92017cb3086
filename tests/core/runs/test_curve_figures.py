"""Curves over seeds: mean, lowest and highest value at common steps, and what the figure shows of them."""

from __future__ import annotations

import numpy as np
import pytest

from nfkd.protocol.records import CurveBatch
from nfkd.runs.curve_figures import SeedBand


def curve(steps: list[int], values: list[float]) -> CurveBatch:
    return CurveBatch(steps=np.array(steps), values=np.array(values), times=np.arange(len(steps), dtype=float))


def test_a_band_has_the_steps_that_all_seeds_have() -> None:
    band = SeedBand.of([curve([1, 2, 3, 5], [1.0, 2.0, 3.0, 9.0]), curve([2, 3, 4], [4.0, 7.0, 8.0]), curve([], [])])
    assert band is not None
    assert band.seeds == 2
    np.testing.assert_array_equal(band.steps, [2, 3])
    np.testing.assert_allclose(band.mean, [3.0, 5.0])
    np.testing.assert_allclose(band.low, [2.0, 3.0])
    np.testing.assert_allclose(band.high, [4.0, 7.0])


def test_one_seed_is_its_own_mean() -> None:
    band = SeedBand.of([curve([1, 4, 4, 6], [1.0, 2.0, 5.0, 3.0])])  # a step twice: the first value counts
    assert band is not None
    np.testing.assert_array_equal(band.steps, [1, 4, 6])
    for values in (band.mean, band.low, band.high):
        np.testing.assert_allclose(values, [1.0, 2.0, 3.0])


@pytest.mark.parametrize("curves", [[], [curve([], [])], [curve([1], [1.0]), curve([2], [1.0])]])
def test_without_a_common_step_there_is_no_band(curves: list[CurveBatch]) -> None:
    assert SeedBand.of(curves) is None


def test_a_value_that_is_not_finite_is_a_gap() -> None:
    band = SeedBand.of([curve([1, 2], [1.0, np.nan]), curve([1, 2], [3.0, 1.0])])
    assert band is not None
    np.testing.assert_array_equal(np.isnan(band.mean), [False, True])
