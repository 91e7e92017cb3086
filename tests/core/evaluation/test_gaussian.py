"""The Gaussian baseline of given teachers, against SciPy's densities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from nfkd.data import Dataset, DataSplit
from nfkd.data.scaling import AffineScaler
from nfkd.evaluation.gaussian import gaussian_nll
from nfkd.evaluation.likelihood import noisy

RNG = np.random.default_rng(0)


def make(values: np.ndarray, weights: np.ndarray | None = None, **fields: Any) -> Dataset:
    """Return a data set whose first hundred examples are held out."""
    held_out = DataSplit(values[:100], weights=weights)
    return Dataset("x", DataSplit(values[100:]), held_out, held_out, **fields)


def test_correlated_columns_use_their_covariance_and_original_units() -> None:
    values = (RNG.normal(size=(2100, 3)) @ np.array([[1, 0.9, 0], [0, 0.3, 0.5], [0, 0, 2]])).astype(np.float32)
    weights = RNG.uniform(0.5, 1.5, 100).astype(np.float32)
    scaler = AffineScaler(np.zeros(3), np.array([2.0, 3.0, 4.0]))
    dataset = make(values, weights, scaler=scaler)
    covariance = np.cov(values[100:].T.astype(np.float64), bias=True)
    shrunk: Any = covariance + 3 / 2000 * (np.diag(np.diag(covariance)) - covariance)
    density: Any = stats.multivariate_normal(values[100:].mean(axis=0, dtype=np.float64), shrunk)
    figures = -density.logpdf(values[:100].astype(np.float64)) + math.log(24)
    assert gaussian_nll(dataset) == pytest.approx(np.mean(weights * figures), rel=1e-6)


def test_equal_columns_give_a_finite_value() -> None:
    column = RNG.normal(size=(300, 1)).astype(np.float32)
    assert math.isfinite(gaussian_nll(make(np.hstack([column, column]))))


def test_many_dimensions_use_the_diagonal() -> None:
    levels = RNG.integers(0, 256, (300, 3, 16, 16)).astype(np.uint8)
    dataset = make(levels, levels=256)
    x = noisy(dataset, dataset.validation).x.double().numpy().reshape(100, -1)
    nats = -stats.norm.logpdf(x, 0.5, math.sqrt(1 / 12)).sum(axis=1).mean()
    assert gaussian_nll(dataset) == pytest.approx(nats / (768 * math.log(2)) + 8, rel=1e-2)


def test_only_a_part_of_large_data_is_read() -> None:
    class Counted:
        shape, read = (1_000_000, 2), 0

        def __len__(self) -> int:
            return self.shape[0]

        def __getitem__(self, index: np.ndarray) -> np.ndarray:
            self.read += len(index)
            return np.stack([np.sin(index), np.cos(index)], axis=1).astype(np.float32)

    counted = Counted()
    small = DataSplit(RNG.normal(size=(20, 2)).astype(np.float32))
    assert math.isfinite(gaussian_nll(Dataset("x", DataSplit(counted), small, small)))
    assert counted.read <= 10_000
