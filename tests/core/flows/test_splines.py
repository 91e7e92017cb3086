"""The rational-quadratic spline against the paper's formulas, SciPy's root finder and autograd."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from torch import Tensor

from nfkd.config.flows import NSFConfig
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Latents
from nfkd.flows.splines import Spline
from tests.core.flows.flow_cases import batch, generator, perturbed
from tests.core.flows.formulas import knots, spline

Transform = Literal["coupling", "autoregressive"]
BOUNDS = st.sampled_from([0.5, 3.0, 20.0])
ORDINARY = st.floats(-4, 4)
FLAT_THEN_STEEP = [*[0.0] * 5, 1e30, *[0.0] * 5, 1e30, *[0.0] * 11, 1e30, *[0.0] * 4, 1.0, 30.0, *[0.0] * 5]
EXTREME = st.one_of(st.floats(-1e4, 1e4), st.sampled_from([0.0, 1e30, -1e30]))


def raw(numbers: list[float], bins: int) -> Tensor:
    return torch.tensor(numbers[: 3 * bins - 1], dtype=torch.float64)


def many(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[list[float]]:
    return st.lists(numbers, min_size=35, max_size=35)


def grid(bound: float, count: int = 101, beyond: float = 1.3) -> Tensor:
    return torch.linspace(-beyond * bound, beyond * bound, count, dtype=torch.float64)


@settings(deadline=None, max_examples=25)
@given(many(ORDINARY), st.integers(2, 12), BOUNDS)
def test_it_is_the_papers_formula(numbers: list[float], bins: int, bound: float) -> None:
    parameters, x = raw(numbers, bins), grid(bound)
    y, _ = Spline(bins, bound).forward(x, parameters.expand(len(x), -1))
    expected = [spline(value, parameters.numpy(), bins, bound)[0] for value in x.tolist()]
    np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-10 * bound)


@settings(deadline=None, max_examples=25)
@given(many(ORDINARY), st.integers(2, 12), BOUNDS)
def test_its_slope_is_autograds_and_it_increases(numbers: list[float], bins: int, bound: float) -> None:
    parameters, x = raw(numbers, bins), grid(bound).requires_grad_()
    y, log_slope = Spline(bins, bound).forward(x, parameters.expand(len(x), -1))
    [slope] = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(log_slope.exp(), slope, rtol=1e-8, atol=1e-10)
    assert (slope > 0).all()
    assert (y.diff() > 0).all()


@settings(deadline=None, max_examples=15)
@given(many(ORDINARY), st.integers(2, 12), BOUNDS)
def test_its_inverse_is_the_root_that_bisection_finds(numbers: list[float], bins: int, bound: float) -> None:
    parameters, y = raw(numbers, bins), grid(bound, 9, beyond=0.99)
    found = Spline(bins, bound).inverse(y, parameters.expand(len(y), -1))
    for value, found_root in zip(y.tolist(), found.tolist(), strict=True):
        root = brentq(lambda x, value=value: spline(x, parameters.numpy(), bins, bound)[0] - value, -bound, bound)
        assert found_root == pytest.approx(root, rel=1e-7, abs=1e-7 * bound)


@settings(deadline=None, max_examples=50)
@given(many(EXTREME), st.integers(2, 12), BOUNDS, st.sampled_from([torch.float32, torch.float64]))
@example([1e30, -1e30] * 17 + [1e30], 8, 3.0, torch.float32)
@example([-1e30] * 35, 12, 3.0, torch.float32)
@example([1e30] * 35, 12, 3.0, torch.float64)
@example(FLAT_THEN_STEEP, 12, 0.5, torch.float64)
def test_it_is_finite_increasing_and_invertible_for_extreme_parameters(
    numbers: list[float], bins: int, bound: float, dtype: torch.dtype
) -> None:
    transform = Spline(bins, bound)
    x = grid(bound).to(dtype).requires_grad_()
    parameters = raw(numbers, bins).to(dtype).expand(len(x), -1).clone().requires_grad_()
    y, log_slope = transform.forward(x, parameters)
    back = transform.inverse(y, parameters)
    epsilon = torch.finfo(dtype).eps
    assert torch.isfinite(y).all()
    assert torch.isfinite(log_slope).all()
    assert torch.isfinite(back).all()
    assert (y.diff() >= -8 * epsilon * bound).all()
    # The inverse divides a rounding error by the slope; the knots have errors of ε·B.
    again, steepest = transform.forward(back, parameters)
    allowed = 1e3 * epsilon * bound * (1 + steepest.exp().clamp(min=1) + log_slope.exp().clamp(min=1))
    assert ((again - y).abs() <= allowed).all()
    for gradient in torch.autograd.grad((y + log_slope + back).sum(), [x, parameters]):
        assert torch.isfinite(gradient).all()


@settings(deadline=None, max_examples=25)
@given(many(EXTREME), st.integers(2, 12), BOUNDS)
def test_outside_the_bound_it_is_the_identity(numbers: list[float], bins: int, bound: float) -> None:
    transform, x = Spline(bins, bound), bound * torch.tensor([-1e6, -2.0, -1.0, 1.0, 1.5, 1e6], dtype=torch.float64)
    parameters = raw(numbers, bins).expand(len(x), -1)
    y, log_slope = transform.forward(x, parameters)
    assert torch.equal(y, x)
    assert torch.equal(log_slope, torch.zeros_like(x))
    assert torch.equal(transform.inverse(x, parameters), x)


def test_parameters_of_zero_make_the_identity() -> None:
    x = grid(3.0)
    y, log_slope = Spline(8, 3.0).forward(x, torch.zeros(len(x), 23, dtype=torch.float64))
    torch.testing.assert_close(y, x)
    torch.testing.assert_close(log_slope, torch.zeros_like(x))


def test_it_goes_through_its_knots_with_their_slopes() -> None:
    parameters = torch.randn(23, generator=generator(), dtype=torch.float64)
    across, up, slopes = knots(parameters.numpy(), 8, 3.0)
    y, log_slope = Spline(8, 3.0).forward(torch.from_numpy(across[1:-1]), parameters.expand(7, -1))
    np.testing.assert_allclose(y, up[1:-1], rtol=1e-10)
    np.testing.assert_allclose(log_slope.exp(), slopes[1:-1], rtol=1e-8)


@pytest.mark.parametrize("transform", ["coupling", "autoregressive"])
def test_examples_far_outside_the_bound_have_an_exact_inverse_and_a_finite_density(transform: Transform) -> None:
    flow = perturbed(NSFConfig(steps=2, hidden=8, transform=transform, tail_bound=1.0), (4,))
    x = 1e3 * torch.randn(50, 4, generator=generator(), dtype=torch.float64)
    z = flow.encode(x)
    assert torch.isfinite(flow.log_prob(x)).all()
    torch.testing.assert_close(flow.decode(Latents(z.parts, z.log_det)), x)


@pytest.mark.parametrize("transform", ["coupling", "autoregressive"])
def test_more_bins_and_steps_fit_in_single_precision(transform: Transform) -> None:
    flow = build_flow(NSFConfig(steps=2, hidden=16, transform=transform, bins=128), (6,), generator=generator())
    x = batch((6,), 100).float()
    flow.initialize(x)
    flow.log_prob(x).mean().backward()
    torch.testing.assert_close(flow.decode(flow.encode(x)), x, rtol=1e-3, atol=1e-3)
    assert all(torch.isfinite(parameter.grad).all() for parameter in flow.parameters() if parameter.grad is not None)
