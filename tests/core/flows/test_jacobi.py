"""Jacobi iteration of autoregressive layers, against exact sampling, SciPy's roots and autograd's log-determinants."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import astuple
from scipy.optimize import root
from torch import Tensor, nn

from nfkd.config import Glow1DConfig
from nfkd.config.flows import IAFConfig, MAFConfig, NSFConfig
from nfkd.flows.flow import Entry, Flow
from nfkd.flows.jacobi import SequentialLayer
from nfkd.protocol.records import BlockSolve
from tests.core.flows.flow_cases import CASES, Case, batch, context_of, generator, shared


def _sequential(case: Case) -> bool:
    return any(isinstance(part, SequentialLayer) for part in shared(*case).modules())


_CASES = [case for case in CASES if _sequential(case)]
_NAMES = [f"{case[0].kind}-{index}" for index, case in enumerate(_CASES)]
every_case = pytest.mark.parametrize("case", _CASES, ids=_NAMES)


@every_case
def test_at_tolerance_zero_samples_are_those_of_exact_sampling(case: Case) -> None:
    flow, context = shared(*case), context_of(case[2], 20)
    exact = flow.sample(20, generator=generator(), context=context)
    for segment in {None, 1, _length(flow)}:
        found = flow.sample(20, generator=generator(), context=context, method="jacobi", tolerance=0.0, segment=segment)
        assert torch.allclose(found, exact, rtol=0, atol=1e-9)


@every_case
def test_densities_and_log_determinants_are_those_of_the_exact_pass(case: Case) -> None:
    config, shape, features = case
    flow, context = shared(*case), context_of(features)
    x = batch(shape)
    with torch.no_grad():
        exact = flow(x, context)
    with flow.jacobi(tolerance=0.0) as report:
        found = flow(x, context)
    assert torch.allclose(found.log_prob, exact.log_prob, rtol=0, atol=1e-9)
    assert torch.allclose(found.latents.log_det, exact.latents.log_det, rtol=0, atol=1e-9)
    assert bool(report.solves) == (config.kind == "iaf")  # only its density is slow


def test_the_log_determinant_of_an_iterated_density_is_that_of_autograd() -> None:
    flow, x = shared(IAFConfig(steps=2, hidden=6), (4,)), batch((4,), 1)
    jacobian: Any = torch.autograd.functional.jacobian(lambda value: flow.encode(value).flat()[0], x)
    with flow.jacobi(tolerance=0.0):
        found = flow.encode(x).log_det
    assert float(found) == pytest.approx(float(torch.linalg.slogdet(jacobian[:, 0])[1]), abs=1e-9)


@pytest.mark.parametrize(
    "config", [MAFConfig(steps=2, hidden=9), NSFConfig(transform="autoregressive", hidden=6, steps=2)]
)
def test_samples_solve_the_equation_that_scipy_solves(config: MAFConfig | NSFConfig) -> None:
    flow = shared(config, (5,))
    noise = flow.draw_noise(1, generator())

    def residual(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return (flow.encode(torch.from_numpy(x)[None]).flat() - noise[0]).numpy()[0]

    solved: Any = root(residual, np.zeros(5), tol=1e-13)
    found = flow.sample(1, generator=generator(), method="jacobi", tolerance=0.0).numpy()[0]
    assert np.allclose(found, solved.x, rtol=0, atol=1e-8)


def test_blocks_need_at_most_as_many_iterations_as_tokens() -> None:
    flow = shared(MAFConfig(steps=3, hidden=24), (12,))
    with flow.jacobi(tolerance=0.0) as report:
        flow.sample(8)
    assert [block.name for block in report.blocks()] == ["step 3", "step 2", "step 1"]
    assert all(1 <= block.iterations <= block.tokens == 12 and not block.exactly for block in report.blocks())


def test_a_larger_tolerance_needs_fewer_iterations_and_bounds_the_error() -> None:
    flow = shared(MAFConfig(steps=3, hidden=24), (12,))
    exact, counts, errors = flow.sample(64, generator=generator()), [], []
    for tolerance in (0.0, 1e-6, 1e-2):
        with flow.jacobi(tolerance) as report:
            errors.append(float((flow.sample(64, generator=generator()) - exact).abs().max()))
        counts.append(sum(block.iterations for block in report.blocks()))
    assert counts[0] > counts[1] > counts[2]
    assert errors[0] < 1e-12 < errors[1] < 1e-5
    assert errors[2] < 0.05


def test_an_example_has_the_same_sample_in_every_batch() -> None:
    flow = shared(MAFConfig(steps=3, hidden=24), (12,))
    noise = flow.draw_noise(16, generator())[0]
    with flow.jacobi(1e-3) as report:
        together = flow.synthesize([noise])
        alone = torch.cat([flow.synthesize([row[None]]) for row in noise])
    assert torch.allclose(together, alone, rtol=0, atol=1e-12)
    assert report.blocks()[0].examples == 32


class _Chain(SequentialLayer):
    """x_i = y_i + Σ_j<i w_ij·g(x_j), with a masked matrix as in MADE."""

    def __init__(self, weight: Tensor, function: Any) -> None:
        super().__init__()
        self.weight, self._function = nn.Parameter(weight), function

    @property
    def tokens(self) -> int:
        return len(self.weight)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x - self._function(x) @ self.weight.tril(-1).T, torch.zeros(len(x))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        return self.solve(y, context)

    def iterate(self, y: Tensor, x: Tensor, context: Tensor | None, segment: slice) -> Tensor:
        return (y + self._function(x) @ self.weight.tril(-1).T)[:, segment]

    def solve_exactly(self, y: Tensor, context: Tensor | None) -> Tensor:
        x = y.clone()
        for token in range(1, self.tokens):
            x[:, token] += self._function(x[:, :token]) @ self.weight[token, :token]
        return x


def _flow_of(layer: _Chain) -> Flow:
    return Flow((layer.tokens,), [Entry("chain", "chain", "step", (layer.tokens,))], [layer])


@torch.no_grad()
def _solved(layer: _Chain, y: Tensor, **options: Any) -> tuple[Tensor, BlockSolve]:
    with _flow_of(layer).jacobi(**options) as report:
        x = layer.inverse(y)
    return x, report.solves[0]


def test_iterates_that_are_not_finite_are_reset() -> None:
    # exp(800) is infinite, and 0·∞ passes the mask; the solution itself is small.
    weight = torch.zeros(4, 4, dtype=torch.float64)
    weight[1, 0], weight[2, 1], weight[3, 2] = -16_000.0, 0.1, 0.1
    layer, y = _Chain(weight, torch.exp), torch.tensor([[-3.0, 800.0, 1.0, 0.5]], dtype=torch.float64)
    exact = layer.solve_exactly(y, None).detach()
    assert exact.isfinite().all()
    x, _ = _solved(layer, y, tolerance=0.0)
    assert torch.equal(x, exact)


def test_a_sample_that_is_not_finite_is_that_of_exact_sampling_and_leaves_the_others() -> None:
    layer = _Chain(torch.full((6, 6), 0.3, dtype=torch.float64), torch.tanh)
    y = torch.randn(5, 6, generator=generator(), dtype=torch.float64)
    y[2, 3] = math.nan
    exact = layer.solve_exactly(y, None).detach()
    x, solve = _solved(layer, y, tolerance=0.0)
    assert torch.allclose(x, exact, rtol=0, atol=1e-12, equal_nan=True)
    assert solve.exactly == 1


def test_a_block_that_does_not_converge_within_its_limit_is_finished_exactly() -> None:
    layer = _Chain(torch.diag(torch.ones(49, dtype=torch.float64), -1), lambda x: x)  # a sum: 49 steps long
    y = torch.randn(3, 50, generator=generator(), dtype=torch.float64)
    x, solve = _solved(layer, y, tolerance=0.0)
    assert astuple(solve) == astuple(BlockSolve("chain", tokens=50, iterations=32, examples=3, exactly=3))
    assert torch.allclose(x, y.cumsum(1), rtol=0, atol=1e-12)
    x, solve = _solved(layer, y, tolerance=0.0, segment=20)
    assert astuple(solve) == astuple(BlockSolve("chain", tokens=50, iterations=50, examples=3, exactly=0))
    assert torch.allclose(x, y.cumsum(1), rtol=0, atol=1e-12)


def test_an_example_that_converges_in_no_segment_is_finished_exactly_once() -> None:
    layer = _Chain(torch.diag(torch.ones(79, dtype=torch.float64), -1), lambda x: x)
    y = torch.randn(3, 80, generator=generator(), dtype=torch.float64)
    y[1] = 0
    x, solve = _solved(layer, y, tolerance=0.0, segment=40)
    assert astuple(solve) == astuple(BlockSolve("chain", tokens=80, iterations=64, examples=3, exactly=2))
    assert torch.allclose(x, y.cumsum(1), rtol=0, atol=1e-12)


def test_iteration_ends_with_its_block_and_other_flows_keep_exact_sampling() -> None:
    flow, other = shared(MAFConfig(steps=3, hidden=24), (12,)), shared(MAFConfig(steps=3, hidden=6), (2,))
    with flow.jacobi() as report:
        other.sample(2)
    flow.sample(2)
    assert report.solves == []


def _length(flow: Flow) -> int:
    return min(part.tokens for part in flow.modules() if isinstance(part, SequentialLayer))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": -1e-3}, "tolerance is -0.001: give a number from 0, such as 0.001"),
        ({"tolerance": math.nan}, "tolerance is nan: give a number from 0, such as 0.001"),
        ({"tolerance": math.inf}, "tolerance is inf: give a number from 0, such as 0.001"),
        ({"tolerance": "fine"}, "tolerance is 'fine' (str): give a number from 0, such as 0.001"),
        ({"segment": 0}, "segment is 0: this flow takes 1 to 12 tokens, or None for all"),
        ({"segment": 13}, "segment is 13: this flow takes 1 to 12 tokens, or None for all"),
        ({"segment": 2.5}, "segment is 2.5 (float): give a whole number of tokens, or None for all"),
        ({"method": "fast"}, "method is 'fast': choose exact or jacobi"),
    ],
)
def test_bad_options_are_refused_with_one_message(options: dict[str, Any], message: str) -> None:
    flow = shared(MAFConfig(steps=3, hidden=24), (12,))
    with pytest.raises((TypeError, ValueError)) as error:
        flow.sample(1, **{"method": "jacobi", **options})
    assert str(error.value) == message


def test_a_flow_that_samples_in_one_pass_is_refused() -> None:
    with pytest.raises(ValueError, match="no autoregressive layer to iterate: choose the method exact"):
        shared(Glow1DConfig(steps=2, hidden=4), (3,)).sample(1, method="jacobi")
