"""Metrics of samples against SciPy and scikit-learn, and null experiments for their intervals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import linalg, stats
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import NearestNeighbors

from nfkd.evaluation.distances import random_directions
from nfkd.evaluation.intervals import Estimate
from nfkd.evaluation.quality import c2st
from nfkd.evaluation.sample_metrics import Compared, sample_estimates, sample_values

PAIRED = ("mmd", "precision", "recall")
NAMES = ("sw", *PAIRED)


def sets(seed: int, count: int = 80, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return real examples, and two sets of samples of one other distribution."""
    rng = np.random.default_rng(seed)
    real, first, second = rng.normal(size=(3, count, 3))
    return real, first * (1 + shift) + shift, second * (1 + shift) + shift


def test_sliced_wasserstein_is_the_mean_of_scipys_distances() -> None:
    real, samples, _ = sets(1, count=400, shift=0.5)
    directions = random_directions(3, np.random.default_rng(0))
    expected = np.mean([stats.wasserstein_distance(real @ row, samples @ row) for row in directions])
    assert sample_values(Compared(real), Compared(samples), ["sw"])["sw"] == pytest.approx(expected, rel=0.01)


def test_mmd_is_the_unbiased_estimate_with_scikit_learns_kernel() -> None:
    real, samples, _ = sets(2, shift=0.4)
    squares = np.square(real[:, None] - real[None]).sum(-1)
    gamma = 1 / np.median(squares[np.triu_indices(len(real), 1)])
    within = [rbf_kernel(each, gamma=gamma)[~np.eye(len(each), dtype=bool)].mean() for each in (real, samples)]
    expected = sum(within) - 2 * rbf_kernel(real, samples, gamma=gamma).mean()
    assert sample_values(Compared(real), Compared(samples), ["mmd"])["mmd"] == pytest.approx(expected)


def test_precision_and_recall_are_those_of_scikit_learns_neighbours() -> None:
    real, samples, _ = sets(3, shift=0.4)

    def covered(balls: np.ndarray, points: np.ndarray) -> float:
        radii = NearestNeighbors(n_neighbors=4).fit(balls).kneighbors(balls)[0][:, -1]
        return float((np.linalg.norm(points[:, None] - balls[None], axis=-1) <= radii).any(1).mean())

    found = sample_values(Compared(real), Compared(samples), ["precision", "recall"])
    assert (found["precision"], found["recall"]) == (covered(real, samples), covered(samples, real))


def test_fd_is_torch_fidelitys_formula_on_the_features() -> None:
    real, samples, _ = sets(4, shift=0.4)
    features = [np.tanh(each @ np.random.default_rng(5).normal(size=(3, 6))) for each in (real, samples)]
    means = [each.mean(0) for each in features]
    covariances = [np.cov(each, rowvar=False) for each in features]
    root: Any = linalg.sqrtm(covariances[0] @ covariances[1])
    expected = np.square(means[0] - means[1]).sum() + np.trace(sum(covariances)) - 2 * np.trace(root.real)
    found = sample_values(Compared(real, features[0]), Compared(samples, features[1]), ["fd"])
    assert found["fd"] == pytest.approx(expected, rel=1e-6)


def test_c2st_tells_apart_what_differs_and_has_an_interval() -> None:
    real, samples, _ = sets(6, count=60, shift=3.0)
    found = sample_estimates(Compared(real), Compared(samples), ["c2st"])["c2st"]
    assert found.value == c2st(real, samples) > 0.95
    assert found.low <= found.value <= found.high <= 1


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_another_set_of_samples_of_the_same_distribution_is_not_called_different(shift: float) -> None:
    inside: dict[str, int] = dict.fromkeys((*PAIRED, "fd"), 0)
    for seed in range(40):
        real, first, second = (Compared(each, each) for each in sets(100 + seed, shift=shift))
        estimates = sample_estimates(real, first, list(inside))
        others = sample_values(real, second, list(inside))
        for name, other in others.items():
            inside[name] += estimates[name].low <= other <= estimates[name].high
    assert all(count >= 33 for count in inside.values()), inside


def test_the_sliced_distance_of_samples_of_the_same_distribution_is_not_called_different() -> None:
    inside = 0
    for seed in range(5):
        real, first, second = map(Compared, sets(100 + seed, count=40))
        found = sample_estimates(real, first, ["sw"])["sw"]
        inside += found.low <= sample_values(real, second, ["sw"])["sw"] <= found.high
    assert inside >= 4


def relative_width(estimates: list[Estimate], quantile: float) -> float:
    """Return the mean half width, relative to that of an interval with the true standard deviation."""
    halves = [(each.high - each.low) / 2 for each in estimates]
    return float(np.mean(halves) / (quantile * np.std([each.value for each in estimates], ddof=1)))


def test_a_classifier_does_not_tell_apart_two_sets_of_one_distribution() -> None:
    found: list[Estimate] = []
    for seed in range(20):
        real, samples, _ = map(Compared, sets(200 + seed, count=50))
        found.append(sample_estimates(real, samples, ["c2st"])["c2st"])
    assert sum(each.low <= 0.5 <= each.high for each in found) >= 17  # of 20; 16 or fewer: 1.6 % at 95 %
    assert 0.65 <= relative_width(found, 1.96) <= 1.6, "a wider interval would cover more, and say nothing"


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_the_intervals_cover_the_mean_over_many_sets_and_are_not_too_wide(shift: float) -> None:
    found: list[dict[str, Estimate]] = []
    for seed in range(40):
        real, samples, _ = (Compared(each, each) for each in sets(300 + seed, shift=shift))
        found.append(sample_estimates(real, samples, (*PAIRED, "fd")))
    for name in (*PAIRED, "fd"):
        mean = np.mean([each[name].value for each in found])
        assert np.mean([each[name].low <= mean <= each[name].high for each in found]) >= 0.85, name
        if (name, shift) != ("fd", 0.0):  # cut off at zero
            width = relative_width([each[name] for each in found], float(stats.t.ppf(0.975, 19)))
            assert 0.7 <= width <= 2.3, (name, width)


def test_too_few_or_broken_samples_have_no_values() -> None:
    real, samples, _ = sets(7)
    few = sample_estimates(Compared(real), Compared(samples[:7]), NAMES)
    samples[3, 1] = np.inf
    broken = sample_estimates(Compared(real), Compared(samples), NAMES)
    assert all(math.isnan(each.value) for each in (*few.values(), *broken.values()))
    assert few["sw"].count == 7
    assert sample_values(Compared(real), Compared(samples), NAMES) == {}
