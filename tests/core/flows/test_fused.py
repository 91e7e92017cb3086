"""Steps computed as one operation give what their modules give, with all derivatives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nfkd.config.flows import FlowConfig
from nfkd.flows.flow import Flow
from nfkd.flows.fused import plain_operations
from nfkd.flows.fused_steps import StepRun, grouped
from tests.core.flows.flow_cases import CASES, Shape, _name, batch, context_of, generator, shared


def _runs(flow: Flow) -> list[StepRun]:
    return [layer for layer in grouped(list(flow.layers)) if isinstance(layer, StepRun)]  # type: ignore[arg-type]


FUSED = [case for case in CASES if _runs(shared(*case))]
every_fused = pytest.mark.parametrize(("config", "shape", "features"), FUSED, ids=_name)

Results = tuple[list[Tensor], list[Tensor]]


def both(compute: Callable[[], Results]) -> tuple[Results, Results]:
    """The results of the fused and of the plain form."""
    fused = compute()
    with plain_operations():
        return fused, compute()


def results(flow: Flow, x: Tensor, context: Tensor | None, *, trace: bool) -> Results:
    """Outputs of a pass, and the gradients of a random function of them."""
    x = x.clone().requires_grad_()
    context = None if context is None else context.clone().requires_grad_()
    passed = flow(x, context, trace=trace)
    outputs = [passed.log_prob, *passed.latents.parts, *(each for pair in passed.trace.values() for each in pair)]
    rng = generator(5)
    total = sum((torch.randn(each.shape, generator=rng, dtype=each.dtype) * each.sin()).sum() for each in outputs)
    inputs = [x, *([] if context is None else [context]), *flow.parameters()]
    return outputs, list(torch.autograd.grad(total, inputs))  # type: ignore[arg-type]


def examples(shape: Shape, count: int, width: float) -> Tensor:
    """Vectors within ± width, wider than the data; images as the data, since further out they grow without bound."""
    x = batch(shape, count)
    return x if len(shape) == 3 else width * (2 * x - 1)


@every_fused
def test_values_and_gradients_are_those_of_the_modules(config: FlowConfig, shape: Shape, features: int) -> None:
    flow, x, c = shared(config, shape, features), examples(shape, 40, 4), context_of(features, 40)
    for trace in (False, True):
        fused, plain = both(lambda trace=trace: results(flow, x, c, trace=trace))
        torch.testing.assert_close(fused, plain, rtol=1e-9, atol=1e-9)


@every_fused
def test_gradients_agree_with_finite_differences(config: FlowConfig, shape: Shape, features: int) -> None:
    flow, c = shared(config, shape, features), context_of(features, 3)
    [run, *_] = _runs(flow)
    before = list(flow.layers)[: list(flow.layers).index(run.steps[0])]
    x = examples(shape, 3, 2)
    for layer in before:
        x = layer(x, c)[0]
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda v: run(v, c), (x,), atol=1e-6)
    parameters = [parameter for parameter in run.steps[0].parameters() if parameter.numel() <= 16]
    for parameter in parameters[:3]:
        assert torch.autograd.gradcheck(lambda _: run(x.detach(), c), (parameter,), atol=1e-6)


@every_fused
def test_second_derivatives_are_those_of_the_modules(config: FlowConfig, shape: Shape, features: int) -> None:
    flow, x, c = shared(config, shape, features), examples(shape, 5, 2), context_of(features, 5)

    def penalty() -> Results:
        v = x.clone().requires_grad_()
        [score] = torch.autograd.grad(flow.log_prob(v, c).sum(), v, create_graph=True)
        return [score], list(torch.autograd.grad(score.square().sum(), list(flow.parameters()), allow_unused=True))

    torch.testing.assert_close(*both(penalty), rtol=1e-8, atol=1e-8)


SEQUENTIAL = [case for case in CASES if shared(*case).iterated and len(case[1]) == 1]


@pytest.mark.parametrize(("config", "shape", "features"), SEQUENTIAL, ids=_name)
def test_passes_feature_by_feature_are_the_same_without_a_graph(
    config: FlowConfig, shape: Shape, features: int
) -> None:
    flow, x, c = shared(config, shape, features), 4 * batch(shape, 20) - 2, context_of(features, 20)
    latents = flow.encode(x, c)
    back = flow.decode(latents, c)
    with torch.no_grad():
        torch.testing.assert_close(flow.encode(x, c).flat(), latents.flat(), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(flow.decode(latents, c), back, rtol=1e-10, atol=1e-10)


def test_the_pass_of_a_flow_is_fused_and_its_modules_are_not_called() -> None:
    flow, calls = shared(*FUSED[0]), []
    hook = _runs(flow)[0].steps[0].register_forward_hook(lambda *_: calls.append(1))
    try:
        flow.log_prob(batch(FUSED[0][1]))
        assert not calls
        with plain_operations():
            flow.log_prob(batch(FUSED[0][1]))
        assert calls
    finally:
        hook.remove()
