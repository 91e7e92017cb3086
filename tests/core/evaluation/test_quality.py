"""The classifier two-sample test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from nfkd.evaluation.quality import c2st


def test_equal_distributions_have_one_half() -> None:
    rng = np.random.default_rng(0)
    assert c2st(rng.normal(size=(1500, 2)), rng.normal(size=(1500, 2))) == pytest.approx(0.5, abs=0.05)


def test_c2st_is_the_area_under_the_curve_of_scores() -> None:
    # Two Gaussians at distance d have the area Φ(d/√2) for the best scores; hard predictions would give Φ(d/2).
    rng = np.random.default_rng(0)
    d = 2.0
    value = c2st(rng.normal(size=(2000, 1)), rng.normal(d, size=(2000, 1)))
    assert value == pytest.approx(norm.cdf(d / math.sqrt(2)), abs=0.02)
    assert abs(value - norm.cdf(d / 2)) > 0.04


def test_different_images_are_recognised_and_invalid_samples_give_nan() -> None:
    rng = np.random.default_rng(0)
    real, dark = rng.random((100, 1, 8, 8)), 0.5 * rng.random((100, 1, 8, 8))
    assert c2st(real, dark) > 0.95
    assert math.isnan(c2st(real, np.full_like(real, np.nan)))
    assert math.isnan(c2st(real, dark[:3]))
