"""Distances between samples agree with closed forms, SciPy and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics.pairwise import rbf_kernel

from nfkd.evaluation.distances import frechet_distance, mmd, precision_recall, sliced_wasserstein

RNG = np.random.default_rng(0)


def test_frechet_distance_of_gaussians_is_the_closed_form() -> None:
    scale, shift = np.array([1.0, 2.0, 0.5]), np.array([0.3, -1.0, 2.0])
    first, second = RNG.normal(size=(200_000, 3)), shift + scale * RNG.normal(size=(200_000, 3))
    assert frechet_distance(first, second) == pytest.approx((shift**2).sum() + ((scale - 1) ** 2).sum(), rel=0.02)


def test_frechet_distance_of_correlated_features() -> None:
    mixing = np.array([[1.0, 0.8], [0.0, 0.6]])
    first = RNG.normal(size=(500, 2))
    first = (first - first.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(first, rowvar=False))).T
    covariance = mixing.T @ mixing  # of first @ mixing, whose partner has the identity
    expected = np.trace(covariance) + 2 - 2 * np.sqrt(np.linalg.eigvalsh(covariance)).sum()
    assert frechet_distance(first, first @ mixing) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)


def test_sliced_wasserstein_in_one_dimension_is_scipys() -> None:
    first, second = RNG.normal(size=(4000, 1)), RNG.gamma(2.0, size=(3000, 1))
    expected = stats.wasserstein_distance(first[:, 0], second[:, 0])
    assert sliced_wasserstein(first, second, np.random.default_rng(1), 4) == pytest.approx(expected, rel=0.01)


def test_sliced_wasserstein_of_a_shift_is_its_mean_projection() -> None:
    first, shift = RNG.normal(size=(500, 2)), np.array([3.0, 0.0])
    expected = 3 * 2 / np.pi  # E |cos| of a direction in the plane
    assert sliced_wasserstein(first, first + shift, np.random.default_rng(1), 20_000) == pytest.approx(
        expected, rel=0.02
    )


def test_mmd_is_a_plain_loop_over_pairs() -> None:
    first, second = RNG.normal(size=(30, 4)), RNG.normal(0.5, size=(20, 4))
    squares = [((a - b) ** 2).sum() for i, a in enumerate(first) for b in first[:i]]
    gamma = 1 / np.median(squares)
    same = [np.exp(-gamma * square) for square in squares]
    other = [np.exp(-gamma * ((a - b) ** 2).sum()) for i, a in enumerate(second) for b in second[:i]]
    expected = np.mean(same) + np.mean(other) - 2 * rbf_kernel(first, second, gamma=gamma).mean()
    assert mmd(first, second) == pytest.approx(expected, abs=1e-12)
    halves = RNG.normal(size=(2, 400, 4))
    assert abs(mmd(*halves)) < 0.01


def test_precision_and_recall_count_points_in_balls() -> None:
    real = np.arange(10.0)[:, None]  # each ball reaches 3 (at the ends) or 2 (inside)
    generated = np.array([[0.5], [4.2], [-2.5], [30.0]])
    precision, _ = precision_recall(real, generated)
    assert precision == 0.75
    precision, recall = precision_recall(real, real[:5] + 0.01)
    assert (precision, recall) == (1.0, 0.8)  # the last sample is at 4.01, and its ball reaches to 7.01
    assert precision_recall(real, real + 1000) == (0.0, 0.0)
