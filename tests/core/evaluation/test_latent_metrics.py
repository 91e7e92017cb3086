"""Calibration of latents against SciPy and a closed form; errors of inverse and log-determinant."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from nfkd.config import TwoMoonsConfig
from nfkd.config.flows import Glow1DConfig
from nfkd.data import Batch, load_dataset
from nfkd.evaluation.evaluated_flows import Material
from nfkd.evaluation.latent_metrics import calibration, inverse_errors, latent_noise, log_determinant_errors
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow


def material() -> Material:
    dataset = load_dataset(TwoMoonsConfig(count=400))
    return Material(dataset, dataset, 60, torch.device("cpu"))


def flow(bound: float = 0.05) -> Flow:
    generator = torch.Generator().manual_seed(1)
    built = build_flow(Glow1DConfig(steps=2, hidden=4), (2,), generator=generator)
    built.initialize(torch.randn(64, 2, generator=generator))
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(bound * torch.randn(parameter.shape, generator=generator))
    return built.eval().requires_grad_(requires_grad=False)


def test_calibration_is_scipys_distance() -> None:
    noise = np.random.default_rng(1).normal(0.2, 1.3, size=(150, 5))
    found = calibration(noise)
    assert found["pit"].value == pytest.approx(stats.kstest(noise.ravel(), "norm").statistic)
    squares = np.square(noise).sum(axis=1)
    assert found["chi2"].value == pytest.approx(stats.kstest(squares, stats.chi2(5).cdf).statistic)
    assert (found["pit"].count, found["chi2"].count) == (150, 150)


def test_latents_that_are_too_wide_have_the_distance_of_two_gaussians() -> None:
    noise = np.random.default_rng(2).normal(0, 1.5, size=(40_000, 1))
    x = np.linspace(-6, 6, 100_001)
    expected = np.abs(stats.norm.cdf(x / 1.5) - stats.norm.cdf(x)).max()
    assert calibration(noise)["pit"].value == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("width", [1.0, 1.3])
def test_the_intervals_cover_the_distances_of_other_latents(width: float) -> None:
    inside = dict.fromkeys(("pit", "chi2"), 0)
    values: dict[str, list[tuple[float, float]]] = {"pit": [], "chi2": []}
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found, other = (calibration(rng.normal(0, width, size=(150, 3))) for _ in range(2))
        for name in inside:
            inside[name] += found[name].low <= other[name].value <= found[name].high
            values[name].append((found[name].value, found[name].high - found[name].value))
    assert all(count >= 48 for count in inside.values()), inside  # both vary, so fewer than 95 %
    for name, pairs in values.items():
        half = stats.t.ppf(0.975, 19) * np.std([value for value, _ in pairs], ddof=1)
        assert 0.7 <= np.mean([width for _, width in pairs]) / half <= 2.3, name


def test_latents_that_are_not_finite_have_no_distance() -> None:
    assert math.isnan(calibration(np.full((10, 2), np.inf))["chi2"].value)


def test_the_noise_of_examples_is_what_the_flow_gives() -> None:
    examples, evaluated = material(), flow()
    expected = torch.cat(evaluated.noise_of(examples.test.x), dim=1)
    np.testing.assert_allclose(latent_noise(evaluated, examples.test, examples), expected, rtol=1e-5, atol=1e-6)


def test_the_inverse_is_exact_and_a_value_that_overflows_is_an_infinite_error() -> None:
    examples, evaluated = material(), flow()
    assert inverse_errors(evaluated, examples.test, examples).max() < 1e-5
    far = Batch(torch.full((1, 2), 3e38))
    assert inverse_errors(flow(0.3), far, examples)[0] == math.inf


def test_the_log_determinant_is_autograds() -> None:
    examples = material()
    errors = log_determinant_errors(flow(), examples.test, examples)
    assert len(errors) == 16
    assert errors.max() < 1e-12
