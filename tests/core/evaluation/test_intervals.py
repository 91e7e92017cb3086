"""Intervals: against SciPy and closed forms, and how often they cover the true value."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from nfkd.evaluation.intervals import jackknife, mean_estimate, quantile_estimate

ANY = [(-math.inf, math.inf)]


def share(covers: Callable[[np.random.Generator], bool], times: int) -> float:
    return float(np.mean([covers(np.random.default_rng(1000 + number)) for number in range(times)]))


def test_the_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    values = np.random.default_rng(1).exponential(size=50)
    found = mean_estimate(values)
    half = 1.959963984540054 * stats.sem(values)
    assert (found.value, found.count) == (pytest.approx(values.mean()), 50)
    assert (found.low, found.high) == (pytest.approx(values.mean() - half), pytest.approx(values.mean() + half))


def test_weights_that_are_all_equal_change_nothing() -> None:
    values = np.random.default_rng(2).normal(size=30)
    weighted, plain = mean_estimate(values, np.full(30, 3.5)), mean_estimate(values)
    assert (weighted.value, weighted.low) == (pytest.approx(plain.value), pytest.approx(plain.low))


def test_the_interval_of_a_weighted_mean_covers_the_mean_about_as_often_as_it_says() -> None:
    def covers(rng: np.random.Generator) -> bool:
        weights = rng.uniform(0.2, 2, size=80)
        found = mean_estimate(rng.normal(3.0, 1.0, size=80), weights)
        return found.low <= 3.0 <= found.high

    assert 0.92 <= share(covers, 500) <= 0.98


def test_a_mean_without_an_interval_or_without_a_value() -> None:
    one, broken, none = mean_estimate(np.ones(1)), mean_estimate(np.array([1.0, np.inf])), mean_estimate(np.empty(0))
    assert (one.value, one.count) == (1.0, 1)
    assert math.isnan(one.low)
    assert math.isnan(broken.value)
    assert math.isnan(none.value)


def test_the_interval_of_a_mean_of_distances_does_not_go_below_zero() -> None:
    values = np.array([0.0] * 30 + [1e31])
    found, free = mean_estimate(values, least=0.0), mean_estimate(values)
    assert free.low < 0 == found.low
    assert (found.value, found.high) == (free.value, free.high)


@pytest.mark.parametrize(("count", "level"), [(200, 0.5), (200, 0.95), (31, 0.5), (6, 0.5)])
def test_the_interval_of_a_quantile_is_scipys(count: int, level: float) -> None:
    values = np.random.default_rng(3).lognormal(size=count)
    found = quantile_estimate(values, level)
    expected = stats.quantile_test(values, p=level, q=1).confidence_interval(0.95)
    assert (found.low, found.high) == (expected.low, expected.high)
    assert found.low <= found.value <= found.high


def test_a_quantile_of_too_few_values_has_no_upper_end() -> None:
    found = quantile_estimate(np.arange(20.0), 0.95)
    assert math.isnan(found.high)
    assert found.low <= found.value


def test_an_infinite_value_does_not_change_the_median() -> None:
    values = np.append(np.arange(20.0), np.inf)
    assert quantile_estimate(values, 0.5).value == 10.0
    assert quantile_estimate(np.append(np.zeros(10), np.full(10, np.inf)), 0.95).value == math.inf


def test_the_jackknife_that_leaves_out_single_examples_has_the_standard_error_of_the_mean() -> None:
    values = np.random.default_rng(4).exponential(size=25)
    found = jackknife(lambda kept: [values[kept].mean()], [25], ANY, groups=25)[0]
    half = stats.t.ppf(0.975, 24) * stats.sem(values)
    assert (found.value, found.high - found.value) == (pytest.approx(values.mean()), pytest.approx(half))
    assert found.count == 25


def test_the_jackknife_covers_a_difference_of_two_means() -> None:
    def covers(rng: np.random.Generator) -> bool:
        first, second = rng.normal(1, 1, 60), rng.normal(0, 2, 90)
        found = jackknife(lambda i, j: [first[i].mean() - second[j].mean()], [60, 90], ANY)[0]
        return found.low <= 1 <= found.high

    assert 0.91 <= share(covers, 300) <= 0.99


def test_the_interval_stays_in_the_range_of_the_statistic() -> None:
    values = np.array([0.0] * 18 + [1.0] * 2)
    found = jackknife(lambda kept: [values[kept].mean()], [20], [(0, 1)])[0]
    assert found.low == 0.0
    assert found.high < 1.0


def test_a_statistic_that_is_not_finite_has_no_interval() -> None:
    found = jackknife(lambda kept: [math.nan * kept[0], 1.0], [20], ANY * 2)
    assert math.isnan(found[0].value)
    assert math.isnan(found[1].low)
