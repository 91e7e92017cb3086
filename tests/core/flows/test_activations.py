"""Passes that recompute their activations, against plain autograd: gradients, and the memory between both passes."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cache

import pytest
import torch
from torch import Tensor

from nfkd.config.flows import FlowConfig, GlowConfig, IAFConfig, JetConfig, MAFConfig, NSFConfig, TarFlowConfig
from nfkd.flows.activations import Activations, activations_in
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow, Latents
from nfkd.flows.fused import plain_operations
from nfkd.flows.precision import networks_in
from tests.core.flows.flow_cases import Shape, batch, context_of, every_flow, generator, shared

Loss = Callable[[Flow, Tensor, Tensor | None], Tensor]


def log_prob(flow: Flow, x: Tensor, context: Tensor | None = None) -> Tensor:
    return flow.log_prob(x, context).sum()


def traced(flow: Flow, x: Tensor, context: Tensor | None) -> Tensor:
    """A loss that reads each layer's output and the log-determinant up to it, as ILKD and log-det do."""
    result = flow(x, context, trace=True)
    states = sum(state.sin().sum() + log_det.square().mean() for state, log_det in result.trace.values())
    return result.log_prob.mean() + states


def samples(flow: Flow, x: Tensor, context: Tensor | None) -> Tensor:
    noise = [part.to(x) for part in flow.draw_noise(len(x), generator())]
    return flow.synthesize(noise, 0.9, context).sin().sum()


def decoded(flow: Flow, x: Tensor, context: Tensor | None) -> Tensor:
    latents = flow.encode(x, context)
    y, trace = flow.decode_trace(Latents(tuple(0.9 * part for part in latents.parts), latents.log_det), context)
    return y.cos().sum() + sum(state.sin().sum() for state in trace.values())


def gradients(
    loss: Loss, flow: Flow, x: Tensor, context: Tensor | None, activations: Activations
) -> list[Tensor | None]:
    """Return the gradients by x, the context and the parameters; the backward pass is outside the setting."""
    inputs = [value.clone().requires_grad_() for value in (x, context) if value is not None]
    with activations_in(activations):
        value = loss(flow, inputs[0], inputs[1] if context is not None else None)
    return list(torch.autograd.grad(value, [*inputs, *flow.parameters()], allow_unused=True))


@every_flow
@pytest.mark.parametrize("loss", [log_prob, traced, samples, decoded])
def test_gradients_are_those_of_plain_autograd(loss: Loss, config: FlowConfig, shape: Shape, features: int) -> None:
    flow, x, context = shared(config, shape, features), batch(shape), context_of(features)
    kept = gradients(loss, flow, x, context, "keep")
    recomputed = gradients(loss, flow, x, context, "recompute")
    for expected, found in zip(kept, recomputed, strict=True):
        if expected is None or found is None:
            assert expected is None or not expected.any()
            assert found is None or not found.any()
        else:
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_running_means_of_batch_norm_are_updated_once() -> None:
    config = MAFConfig(steps=2, hidden=8, batch_norm=True)
    flow = copy.deepcopy(shared(config, (3,), 0)).train()
    first, second = copy.deepcopy(flow), copy.deepcopy(flow)
    with plain_operations():  # as recomputed ones: else sums round differently
        kept = gradients(log_prob, first, batch((3,)), None, "keep")
    recomputed = gradients(log_prob, second, batch((3,)), None, "recompute")
    torch.testing.assert_close(recomputed, kept, rtol=1e-9, atol=1e-9)
    moved = first.state_dict()
    assert any(not torch.equal(value, moved[name]) for name, value in flow.state_dict().items())
    torch.testing.assert_close(second.state_dict(), moved, rtol=0, atol=0)


def test_frozen_parameters_get_no_gradient_but_x_does() -> None:
    flow = copy.deepcopy(shared(GlowConfig(levels=2, steps=2, hidden=5), (1, 8, 8), 0)).requires_grad_(False)
    inputs = [batch((1, 8, 8)).requires_grad_() for _ in range(2)]
    for x, activations in zip(inputs, ("keep", "recompute"), strict=True):
        with activations_in(activations):
            log_prob(flow, x).backward()
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad, rtol=1e-9, atol=1e-9)


# --- single precision -------------------------------------------------------------------------------------------------


@cache
def deep() -> tuple[Flow, Tensor]:
    """A flow of 32 steps at each of three levels with perturbed parameters, in float32, and a batch."""
    rng = generator()
    flow = build_flow(GlowConfig(levels=3, steps=32, hidden=16), (3, 16, 16), generator=rng)
    x = torch.rand(4, 3, 16, 16, generator=rng)
    flow.initialize(x)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.003 * torch.randn(parameter.shape, generator=rng)
    return flow, x


def difference(found: Sequence[Tensor | None], expected: Sequence[Tensor | None]) -> float:
    """Return the norm of the difference of two gradients, relative to the second's."""
    pairs = [(one, other) for one, other in zip(found, expected, strict=True) if one is not None and other is not None]
    first, second = (torch.cat([each.double().flatten() for each in side]) for side in zip(*pairs, strict=True))
    return float((first - second).norm() / second.norm())


def test_gradients_of_a_deep_flow_in_float32_are_those_of_plain_autograd() -> None:
    """In float32 plain gradients have an error of their own: a ReLU's sign changes where its input is nearly zero."""
    flow, x = deep()
    kept, recomputed = (gradients(log_prob, flow, x, None, name) for name in ("keep", "recompute"))
    exact = gradients(log_prob, copy.deepcopy(flow).double(), x.double(), None, "keep")
    assert difference(recomputed, kept) < 1e-5
    assert difference(recomputed, exact) < difference(kept, exact) + 1e-5


def test_a_flow_whose_inverse_loses_digits_has_the_gradients_of_plain_autograd() -> None:
    """Without norms the errors of sixteen inverse matrices and scales multiply."""
    rng = generator()
    flow = build_flow(GlowConfig(levels=1, steps=16, hidden=4, scale="tanh", actnorm=False), (1, 4, 4), generator=rng)
    x = torch.rand(8, 1, 4, 4, generator=rng)
    flow.initialize(x)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=rng)
        back = flow.decode(flow.encode(x))
    assert (back - x).abs().max() > 0.01
    kept, recomputed = (gradients(log_prob, flow, x, None, name) for name in ("keep", "recompute"))
    assert difference(recomputed, kept) < 1e-5


def test_gradients_in_bf16_differ_by_less_than_bf16_rounds() -> None:
    flow, x = deep()
    with networks_in("bf16"):
        kept, recomputed = (gradients(log_prob, flow, x, None, name) for name in ("keep", "recompute"))
    assert 0 < difference(recomputed, kept) < 0.5 * difference(kept, gradients(log_prob, flow, x, None, "keep"))


def test_gradients_in_tf32_are_those_of_float32_where_there_is_no_tf32() -> None:
    flow, x = deep()
    expected = gradients(log_prob, flow, x, None, "keep")
    with networks_in("tf32"):
        assert difference(gradients(log_prob, flow, x, None, "recompute"), expected) < 1e-5


def test_the_backward_pass_has_the_precision_of_the_forward_pass() -> None:
    flow, x = deep()
    found = []
    for outside in (nullcontext(), networks_in("bf16")):
        with networks_in("bf16"), activations_in("recompute"):
            value = log_prob(flow, x)
        with outside:
            found.append(torch.autograd.grad(value, list(flow.parameters())))
    torch.testing.assert_close(*found, rtol=0, atol=0)


# --- memory -----------------------------------------------------------------------------------------------------------


class SavedBytes:
    """Counts the bytes of the tensors that autograd has saved and not freed, without parameters."""

    def __init__(self, flow: Flow) -> None:
        self.peak = self._bytes = 0
        self._users: dict[int, int] = {each.untyped_storage().data_ptr(): 1 for each in flow.parameters()}

    def pack(self, tensor: Tensor) -> Saved:
        storage = tensor.untyped_storage()
        address, size = storage.data_ptr(), storage.nbytes()
        self._change(address, size, 1)
        saved = Saved(tensor)
        weakref.finalize(saved, self._change, address, size, -1)
        return saved

    def _change(self, address: int, size: int, users: int) -> None:
        before = self._users.get(address, 0)
        self._users[address] = before + users
        if not before or not self._users[address]:
            self._bytes += users * size
            self.peak = max(self.peak, self._bytes)


class Saved:
    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def saved_peak(config: FlowConfig, shape: Shape, activations: Activations) -> int:
    """Return the most bytes that autograd keeps at once in a step, in both passes; kept ones by torch's own graph."""
    flow = build_flow(config, shape, generator=generator())
    x = torch.rand(2, *shape, generator=generator())
    flow.initialize(x)
    counted = SavedBytes(flow)
    with (
        torch.autograd.graph.saved_tensors_hooks(counted.pack, lambda saved: saved.tensor),
        activations_in(activations) if activations == "recompute" else plain_operations(),
    ):
        log_prob(flow, x).backward()
    return counted.peak


def glow(steps: int) -> GlowConfig:
    return GlowConfig(levels=3, steps=steps, hidden=128)


def test_memory_of_a_deep_flow_hardly_grows_with_its_steps() -> None:
    few, many = (saved_peak(glow(steps), (3, 16, 16), "recompute") for steps in (8, 32))
    assert many < 1.05 * few
    assert many < 0.05 * saved_peak(glow(32), (3, 16, 16), "keep")


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (JetConfig(steps=8, hidden=64, depth=1), (1, 8, 8)),
        (TarFlowConfig(steps=8, hidden=64, depth=1), (1, 8, 8)),
        (MAFConfig(steps=8, hidden=64), (4,)),
        (IAFConfig(steps=8, hidden=64), (4,)),
        (NSFConfig(steps=8, hidden=64), (4,)),
        (NSFConfig(steps=8, hidden=64, transform="autoregressive"), (4,)),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_memory_of_other_flows(config: FlowConfig, shape: Shape) -> None:
    kept, recomputed = (saved_peak(config, shape, name) for name in ("keep", "recompute"))
    assert recomputed < 0.3 * kept
