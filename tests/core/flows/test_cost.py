"""The measured cost of a flow, and its independence of everything else in the process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.flop_counter import FlopCounterMode

from nfkd.config import Glow1DConfig, GlowConfig
from nfkd.config.flows import FlowConfig, JetConfig, TarFlowConfig
from nfkd.flows import cost
from nfkd.flows.architectures import ARCHITECTURES, build_flow
from nfkd.flows.cost import flow_cost
from nfkd.flows.fused import plain_operations

CASES: list[tuple[FlowConfig, tuple[int, ...]]] = [
    (GlowConfig(levels=2, steps=2, hidden=8), (1, 8, 8)),
    (GlowConfig(levels=3, steps=1, hidden=16), (3, 16, 16)),
    (Glow1DConfig(steps=3, hidden=16, depth=3), (5,)),
    (TarFlowConfig(steps=2, hidden=128), (1, 8, 8)),
    (JetConfig(steps=3, hidden=16, depth=2), (3, 4, 4)),
]
every_case = pytest.mark.parametrize(
    ("config", "shape"), CASES, ids=["two levels", "three levels", "vectors", "transformer", "couplings of patches"]
)


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    cost._measure.cache_clear()
    yield
    cost._measure.cache_clear()


@every_case
def test_multiply_adds_are_half_of_torchs_count_and_memory_is_what_autograd_saves(
    config: FlowConfig, shape: tuple[int, ...]
) -> None:
    flow, size = build_flow(config, shape), 32
    # The fused form of images computes biases as products with ones, which are not counted as multiply-adds.
    with FlopCounterMode(display=False) as counter, torch.no_grad(), plain_operations():
        flow.log_prob(torch.rand(1, *shape))
    with torch.no_grad():
        cost_without_gradients = flow_cost(config, shape, size)
    assert cost_without_gradients.multiply_adds == counter.get_total_flops() // 2
    storages: dict[int, int] = {}
    kept = []

    def save(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        flow.log_prob(torch.rand(size, *shape))
    real = sum(storages.values()) + 20 * sum(parameter.numel() for parameter in flow.parameters())
    assert cost_without_gradients.training_memory / real == pytest.approx(1.0, abs=0.4)
    cost._measure.cache_clear()
    assert flow_cost(config, shape, size) == cost_without_gradients


def test_memory_grows_by_the_same_amount_with_every_example() -> None:
    memory = [flow_cost(*CASES[0], size).training_memory for size in (10, 20, 30)]
    assert memory[2] - memory[1] == memory[1] - memory[0] > 0


def test_measuring_touches_no_module_of_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run trains in its own thread while the form requests the cost of another flow."""
    bystander = build_flow(*CASES[0], generator=torch.Generator().manual_seed(0))
    hooked: list[str] = []
    for register in (register_module_forward_pre_hook, register_module_forward_hook):

        def spy(hook: object, *_: object, register=register, **__: object):
            hooked.append(register.__name__)
            return register(hook)  # type: ignore[arg-type]

        monkeypatch.setattr(f"torch.utils.module_tracker.{register.__name__}", spy)

    counted = flow_cost(*CASES[2], 4)
    assert hooked == []

    cost._measure.cache_clear()

    def build_while_another_thread_works(config: FlowConfig, shape: tuple[int, ...], context: int) -> torch.nn.Module:
        flow = build_flow(config, shape, context_features=context, device="meta")

        def work(*_: object) -> None:
            other = threading.Thread(target=lambda: bystander.log_prob(torch.rand(2, 1, 8, 8)).sum().backward())
            other.start()
            other.join()

        flow.register_forward_pre_hook(work)
        return flow

    monkeypatch.setattr(cost, "meta_flow", build_while_another_thread_works)
    assert flow_cost(*CASES[2], 4) == counted


def test_memory_with_recomputed_activations_hardly_grows_with_the_steps() -> None:
    def memory(steps: int, **options: Any) -> int:
        config = GlowConfig(levels=2, steps=steps, hidden=64)
        cost = flow_cost(config, (3, 16, 16), 8, **options)
        assert sum(layer.training_memory for layer in cost.layers) == cost.training_memory
        return cost.training_memory - 20 * cost.parameters

    few, many = memory(2, activations="recompute"), memory(8, activations="recompute")
    assert many < 1.1 * few
    assert many < 0.3 * memory(8)
    states = 4 * 8 * 3 * 16 * 16  # bytes of the first level's states; one of them, the batch, counts only without trace
    assert memory(8, activations="recompute", trace=True) - many == (8 * 1.5 - 1) * states


@pytest.mark.parametrize("kind", ["glow", "maf", "tarflow"])
def test_equal_layers_that_are_measured_once_cost_what_each_costs(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for config, shape, context in ARCHITECTURES[kind].cases():
        measured = cost._measure.__wrapped__(config, shape, context)  # without the kept figures
        with monkeypatch.context() as patch:
            patch.setattr(cost, "signature_of", lambda _: object())  # no layer equals another
            assert cost._measure.__wrapped__(config, shape, context) == measured
