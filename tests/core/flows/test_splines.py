"""The rational-quadratic spline against the paper's formulas, SciPy's root finder and autograd."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import softmax
from torch import Tensor

from nfkd.config.flows import NSFConfig
from nfkd.flows.architectures import build_flow
from nfkd.flows.coupling import Coupling
from nfkd.flows.flow import Latents
from nfkd.flows.networks import ResidualNetwork
from nfkd.flows.splines import Spline
from tests.core.flows.flow_cases import batch, generator, perturbed
from tests.core.flows.flow_cases import given as context_of

Transform = Literal["coupling", "autoregressive"]
BOUNDS = st.sampled_from([0.5, 3.0, 20.0])
ORDINARY = st.floats(-4, 4)
FLAT_THEN_STEEP = [*[0.0] * 5, 1e30, *[0.0] * 5, 1e30, *[0.0] * 11, 1e30, *[0.0] * 4, 1.0, 30.0, *[0.0] * 5]
EXTREME = st.one_of(st.floats(-1e4, 1e4), st.sampled_from([0.0, 1e30, -1e30]))


def raw(numbers: list[float], bins: int) -> Tensor:
    return torch.tensor(numbers[: 3 * bins - 1], dtype=torch.float64)


def many(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[list[float]]:
    return st.lists(numbers, min_size=35, max_size=35)


def knots(parameters: np.ndarray, bins: int, bound: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The knots as the paper's code has them: smallest bin and slope 10⁻³, slope one at both ends."""
    across, up = (
        bound * (2 * np.concatenate([[0.0], np.cumsum(1e-3 + (1 - 1e-3 * bins) * softmax(part))]) - 1)
        for part in (parameters[:bins], parameters[bins : 2 * bins])
    )
    at_zero = math.log(math.exp(1 - 1e-3) - 1)
    inner = np.minimum(1e-3 + np.logaddexp(0.0, parameters[2 * bins :] + at_zero), 1e3)
    return across, up, np.concatenate([[1.0], inner, [1.0]])


def by_formula(x: float, parameters: np.ndarray, bins: int, bound: float) -> float:
    """Equation 4 of Durkan et al. 2019 for one number."""
    if abs(x) >= bound:
        return x
    across, up, slopes = knots(parameters, bins, bound)
    k = min(max(int(np.searchsorted(across, x, side="right")) - 1, 0), bins - 1)
    width, height = across[k + 1] - across[k], up[k + 1] - up[k]
    s, xi = height / width, (x - across[k]) / width
    above = height * (s * xi**2 + slopes[k] * xi * (1 - xi))
    return up[k] + above / (s + (slopes[k + 1] + slopes[k] - 2 * s) * xi * (1 - xi))


def grid(bound: float, count: int = 101, beyond: float = 1.3) -> Tensor:
    return torch.linspace(-beyond * bound, beyond * bound, count, dtype=torch.float64)


@settings(deadline=None, max_examples=60)
@given(many(ORDINARY), st.integers(2, 12), BOUNDS)
def test_it_is_what_the_paper_s_formula_says(numbers: list[float], bins: int, bound: float) -> None:
    parameters, x = raw(numbers, bins), grid(bound)
    y, _ = Spline(bins, bound).forward(x, parameters.expand(len(x), -1))
    expected = [by_formula(value, parameters.numpy(), bins, bound) for value in x.tolist()]
    np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-10 * bound)


@settings(deadline=None, max_examples=60)
@given(many(ORDINARY), st.integers(2, 12), BOUNDS)
def test_its_slope_is_autograd_s_and_it_rises(numbers: list[float], bins: int, bound: float) -> None:
    parameters, x = raw(numbers, bins), grid(bound).requires_grad_()
    y, log_slope = Spline(bins, bound).forward(x, parameters.expand(len(x), -1))
    [slope] = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(log_slope.exp(), slope, rtol=1e-8, atol=1e-10)
    assert (slope > 0).all()
    assert (y.diff() > 0).all()


@settings(deadline=None, max_examples=25)
@given(many(ORDINARY), st.integers(2, 12), BOUNDS)
def test_its_inverse_is_what_bisection_finds(numbers: list[float], bins: int, bound: float) -> None:
    parameters, y = raw(numbers, bins), grid(bound, 9, beyond=0.99)
    found = Spline(bins, bound).inverse(y, parameters.expand(len(y), -1))
    for value, place in zip(y.tolist(), found.tolist(), strict=True):
        root = brentq(lambda x, value=value: by_formula(x, parameters.numpy(), bins, bound) - value, -bound, bound)
        assert place == pytest.approx(root, rel=1e-7, abs=1e-7 * bound)


@settings(deadline=None, max_examples=200)
@given(many(EXTREME), st.integers(2, 12), BOUNDS, st.sampled_from([torch.float32, torch.float64]))
@example([1e30, -1e30] * 17 + [1e30], 8, 3.0, torch.float32)
@example([-1e30] * 35, 12, 3.0, torch.float32)
@example([1e30] * 35, 12, 3.0, torch.float64)
@example(FLAT_THEN_STEEP, 12, 0.5, torch.float64)
def test_extreme_parameters_leave_it_finite_rising_and_invertible(
    numbers: list[float], bins: int, bound: float, dtype: torch.dtype
) -> None:
    spline = Spline(bins, bound)
    x = grid(bound).to(dtype).requires_grad_()
    parameters = raw(numbers, bins).to(dtype).expand(len(x), -1).clone().requires_grad_()
    y, log_slope = spline.forward(x, parameters)
    back = spline.inverse(y, parameters)
    epsilon = torch.finfo(dtype).eps
    assert torch.isfinite(y).all()
    assert torch.isfinite(log_slope).all()
    assert torch.isfinite(back).all()
    assert (y.diff() >= -8 * epsilon * bound).all()
    # A slope of s makes an error of rounding 1/s as large on the way back; knots are rounded to ε·B themselves.
    again, steepest = spline.forward(back, parameters)
    allowed = 1e3 * epsilon * bound * (1 + steepest.exp().clamp(min=1) + log_slope.exp().clamp(min=1))
    assert ((again - y).abs() <= allowed).all()
    for gradient in torch.autograd.grad((y + log_slope + back).sum(), [x, parameters]):
        assert torch.isfinite(gradient).all()


@settings(deadline=None, max_examples=60)
@given(many(EXTREME), st.integers(2, 12), BOUNDS)
def test_outside_the_bound_it_is_the_identity(numbers: list[float], bins: int, bound: float) -> None:
    spline, x = Spline(bins, bound), bound * torch.tensor([-1e6, -2.0, -1.0, 1.0, 1.5, 1e6], dtype=torch.float64)
    parameters = raw(numbers, bins).expand(len(x), -1)
    y, log_slope = spline.forward(x, parameters)
    assert torch.equal(y, x)
    assert torch.equal(log_slope, torch.zeros_like(x))
    assert torch.equal(spline.inverse(x, parameters), x)


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


@pytest.mark.parametrize("features", [0, 3])
def test_a_coupling_bends_its_first_half_alike_for_all_and_the_rest_given_it(features: int) -> None:
    """Durkan et al. 2019, section 3: parameters of its own for the first half, the network's for the second."""
    network = ResidualNetwork(2 + features, 16, 3 * 11, blocks=1, generator=generator())
    layer = Coupling(5, network, Spline(4, 3.0), transforms_first=True).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator(3), dtype=torch.float64)
    x, c = batch((5,), 7), context_of(features, 7)
    y, _ = layer(x, c)
    assert layer.first is not None
    own, found = layer.first.detach(), network(x[:, :2] if c is None else torch.cat([x[:, :2], c], 1)).detach()
    for n in range(7):
        parameters = [*own, *found[n].view(3, 11)]
        expected = [by_formula(v.item(), p.numpy(), 4, 3.0) for v, p in zip(x[n], parameters, strict=True)]
        np.testing.assert_allclose(y[n].detach(), expected, rtol=1e-9)
    torch.testing.assert_close(layer.inverse(y, c), x)


@pytest.mark.parametrize("transform", ["coupling", "autoregressive"])
def test_examples_far_from_the_splines_keep_an_exact_inverse_and_a_finite_density(transform: Transform) -> None:
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
