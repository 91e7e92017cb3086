"""Tensors that lie together in memory: their values, their stacks, and flows that are trained there."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nfkd.config import Glow1DConfig, TrainingConfig
from nfkd.config.flows import FlowConfig, MAFConfig, NSFConfig
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Entry, Flow
from nfkd.flows.fused import gradients_by_backward, plain_operations
from nfkd.flows.memory import ByAddress, joined, lay_together, stacked, zeros_alike
from nfkd.training.optimizers import make_optimizer
from tests.core.flows.flow_cases import generator

SHAPES = st.lists(st.lists(st.integers(0, 3), max_size=3).map(tuple), min_size=1, max_size=5)
FLOWS: list[FlowConfig] = [
    Glow1DConfig(steps=3, hidden=8),
    MAFConfig(steps=3, hidden=8),
    NSFConfig(steps=2, hidden=8),
    NSFConfig(steps=2, hidden=8, permutation="reverse"),
]
every_flow = pytest.mark.parametrize("config", FLOWS, ids=lambda config: f"{config.kind}-{config.steps}")


def made(shapes: list[tuple[int, ...]]) -> list[Tensor]:
    return [torch.randn(shape, generator=generator(number)) for number, shape in enumerate(shapes)]


@given(shapes=SHAPES)
def test_tensors_laid_together_keep_their_values_and_are_one_vector(shapes: list[tuple[int, ...]]) -> None:
    tensors = made(shapes)
    expected, objects = [each.numpy().copy() for each in tensors], list(map(id, tensors))
    lay_together(tensors)
    assert list(map(id, tensors)) == objects
    for each, values in zip(tensors, expected, strict=True):
        np.testing.assert_array_equal(each.numpy(), values)
    whole = joined(tensors)
    assert whole is not None
    np.testing.assert_array_equal(whole.numpy(), np.concatenate([values.ravel() for values in expected]))
    whole.fill_(7.0)
    assert all((each == 7.0).all() for each in tensors)
    twins = zeros_alike(tensors)
    assert [each.shape for each in twins] == [each.shape for each in tensors]
    assert joined(twins) is not None
    assert not any(each.any() for each in twins)


@given(shapes=SHAPES, steps=st.integers(1, 4))
def test_equal_places_of_steps_are_stacked_without_a_copy(shapes: list[tuple[int, ...]], steps: int) -> None:
    tensors = made(shapes * steps)
    lay_together(tensors)
    for place in range(len(shapes)):
        own = tensors[place :: len(shapes)]
        stack = stacked(own)
        assert stack is not None
        np.testing.assert_array_equal(stack.numpy(), np.stack([each.numpy() for each in own]))
        stack.add_(1.0)
        np.testing.assert_array_equal(stack.numpy(), np.stack([each.numpy() for each in own]))


def test_tensors_that_lie_apart_are_neither_joined_nor_stacked() -> None:
    whole = torch.arange(12.0)
    apart = [torch.zeros(3), torch.zeros(3)]
    unequal = [whole[:2], whole[3:5], whole[7:9]]
    backwards = [whole[6:9], whole[3:6], whole[:3]]
    columns = list(whole.view(3, 4).unbind(1))
    kinds = [whole[:3], whole[3:6].view(torch.int32)]
    for tensors in (apart, unequal, backwards, columns, kinds):
        assert joined(tensors) is None
        assert stacked(tensors) is None
    overlapping = [whole[:3], whole[:3]], [whole[:3], whole[1:4]]
    assert [stacked(tensors) for tensors in overlapping] == [None, None]


def test_a_function_by_address_is_called_when_tensors_move() -> None:
    tensors, calls = [torch.zeros(2), torch.zeros(2)], list[int]()
    function = ByAddress(lambda found: calls.append(len(found)))
    function(tensors)
    tensors[0].add_(1.0)
    function(tensors)
    assert calls == [2]
    before = [each.clone() for each in tensors]
    lay_together(tensors)
    function(tensors)
    assert calls == [2, 2]
    assert all(map(torch.equal, tensors, before))


def ready(config: FlowConfig) -> tuple[Flow, Tensor]:
    flow = build_flow(config, (4,), generator=generator(0)).double()
    x = torch.randn(30, 4, generator=generator(1), dtype=torch.float64)
    flow.initialize(x)
    return flow, x


def other_flow(config: FlowConfig) -> Flow:
    """A flow with other weights and orders of features."""
    flow = build_flow(config, (4,), generator=generator(7)).double()
    flow.initialize(torch.randn(30, 4, generator=generator(8), dtype=torch.float64))
    return flow


def steps_of(optimizer: torch.optim.Optimizer, count: int, loss: Callable[[], Tensor]) -> None:
    for _ in range(count):
        optimizer.zero_grad()
        with gradients_by_backward():
            value = loss()
        value.backward()
        optimizer.step()


def lie_together(flow: Flow) -> bool:
    gradients = [each.grad for each in flow.parameters() if each.grad is not None]
    return joined(list(flow.parameters())) is not None and joined(gradients) is not None


@every_flow
def test_training_equals_that_with_torchs_adam_and_graph(config: FlowConfig) -> None:
    flow, x = ready(config)
    other = copy.deepcopy(flow)
    own = make_optimizer(TrainingConfig(optimizer="adam", learning_rate=0.01), flow.parameters())
    theirs = torch.optim.Adam(other.parameters(), 0.01)
    steps_of(own, 6, lambda: -flow.log_prob(x).mean())
    assert lie_together(flow)
    with plain_operations():
        steps_of(theirs, 6, lambda: -other.log_prob(x).mean())
    # Adam divides by the size of a gradient: where that is near zero, rounding is enlarged.
    torch.testing.assert_close(flow.state_dict(), other.state_dict(), rtol=1e-6, atol=1e-8)


@every_flow
def test_weights_that_are_loaded_moved_or_copied_during_training_are_used(config: FlowConfig) -> None:
    flow, x = ready(config)
    optimizer = make_optimizer(TrainingConfig(optimizer="adam", learning_rate=0.01), flow.parameters())

    def loss() -> Tensor:
        return -flow.log_prob(x).mean()

    steps_of(optimizer, 2, loss)
    twin, read = copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))
    values = twin.log_prob(x)
    steps_of(optimizer, 2, loss)
    for each in (twin, read):
        torch.testing.assert_close(each.log_prob(x), values, rtol=0, atol=0)
    for change in (
        lambda: flow.load_state_dict(other_flow(config).state_dict()),
        lambda: flow.float().double(),  # moves all parameters
    ):
        change()
        steps_of(optimizer, 1, loss)
        optimizer.zero_grad()
        with gradients_by_backward():
            value = loss()
        value.backward()
        with plain_operations():
            expected = torch.autograd.grad(loss(), list(flow.parameters()))
        found = [each.grad for each in flow.parameters()]
        torch.testing.assert_close(found, list(expected), rtol=1e-9, atol=1e-11)


def add_gradients(flow: Flow, parts: Sequence[Tensor]) -> list[Tensor | None]:
    """Return the gradients after a pass for each part, and one more backwards for the last one."""
    losses = list[Tensor]()
    for part in parts:
        with gradients_by_backward():
            losses.append(-flow.log_prob(part).mean())
        losses[-1].backward(retain_graph=True)
    losses[-1].backward()
    return [each.grad for each in flow.parameters()]


def expected_gradients(flow: Flow, parts: Sequence[Tensor]) -> list[Tensor | None]:
    """Return the same, by the modules."""
    with plain_operations():
        loss = -sum(flow.log_prob(x).mean() for x in (*parts, parts[-1]))
    used = [each for each in flow.parameters() if each.requires_grad]
    found = iter(torch.autograd.grad(loss, used))  # type: ignore[arg-type]
    return [next(found) if each.requires_grad else None for each in flow.parameters()]


@every_flow
@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_of_several_passes_add_up(config: FlowConfig, *, frozen: bool) -> None:
    flow, x = ready(config)
    optimizer = make_optimizer(TrainingConfig(optimizer="adam", learning_rate=0.01), flow.parameters())
    steps_of(optimizer, 2, lambda: -flow.log_prob(x).mean())
    if frozen:
        next(flow.parameters()).requires_grad_(False)
    optimizer.zero_grad()
    parts = x[:10], 1.5 * x[10:20], x[20:]
    torch.testing.assert_close(add_gradients(flow, parts), expected_gradients(flow, parts), rtol=1e-9, atol=1e-10)


@every_flow
def test_a_step_that_stands_twice_in_a_flow_gets_both_gradients(config: FlowConfig) -> None:
    layer = ready(config)[0].layers[0]
    entries = [Entry(str(number), str(number), "step", (4,)) for number in range(2)]
    flow, x = Flow((4,), entries, [layer, layer]), torch.randn(30, 4, generator=generator(1), dtype=torch.float64)  # type: ignore[list-item]
    optimizer = make_optimizer(TrainingConfig(optimizer="adam", learning_rate=0.01), flow.parameters())
    steps_of(optimizer, 2, lambda: -flow.log_prob(x).mean())
    optimizer.zero_grad()
    torch.testing.assert_close(add_gradients(flow, [x]), expected_gradients(flow, [x]), rtol=1e-9, atol=1e-10)


@every_flow
def test_gradients_are_refused_when_a_step_of_the_optimizer_came_before(config: FlowConfig) -> None:
    flow, x = ready(config)
    optimizer = make_optimizer(TrainingConfig(optimizer="adam", learning_rate=0.01), flow.parameters())
    steps_of(optimizer, 2, lambda: -flow.log_prob(x).mean())
    loss = -flow.log_prob(x).mean()
    with gradients_by_backward():
        late = -flow.log_prob(x).mean()
    steps_of(optimizer, 2, lambda: -flow.log_prob(x).mean())
    with pytest.raises(RuntimeError, match="call backward\\(\\) before the optimizer's step"):
        late.backward()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
