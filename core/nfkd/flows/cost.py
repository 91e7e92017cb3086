"""What a flow costs, without building it: parameters, multiply-adds, memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from nfkd.config.flows import FlowConfig
from nfkd.flows.architectures import build_flow

_COPIES = 5
"""Numbers kept for each parameter in training: itself, its gradient, two moments, and the best so far."""
_BYTES = 4


@dataclass(frozen=True)
class FlowCost:
    """A flow's size.

    Attributes
    ----------
    parameters
        Number of trained numbers.
    multiply_adds
        Of one example's log_prob; convolutions and matrix products are counted.
    training_memory
        Estimate in bytes of what a training step holds at its peak: five numbers a parameter (weight, gradient, two
        moments, best weight) and every tensor that the backward pass needs, for the whole batch.
    """

    parameters: int
    multiply_adds: int
    training_memory: int


@lru_cache(maxsize=64)
def _measure(config: FlowConfig, event_shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    flow = build_flow(config, event_shape, device="meta")
    parameters = sum(parameter.numel() for parameter in flow.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        flow.log_prob(torch.empty(1, *event_shape, device="meta"))
    one, two = (_saved_bytes(flow, (batch, *event_shape)) for batch in (1, 2))
    return parameters, counter.get_total_flops() // 2, two - one, max(0, 2 * one - two)


def _saved_bytes(flow: torch.nn.Module, shape: tuple[int, ...]) -> int:
    sizes: dict[int, int] = {}
    kept: list[Tensor] = []  # so that no two tensors get the same id

    def save(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        sizes[id(tensor)] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        flow(torch.empty(shape, device="meta"))
    return sum(sizes.values())


def flow_cost(config: FlowConfig, event_shape: Sequence[int], batch_size: int) -> FlowCost:
    """Return what a flow costs; it is measured on the meta device, so nothing of its size is allocated.

    Raises
    ------
    FlowError
        When the flow does not fit the shape.
    """
    parameters, multiply_adds, per_example, fixed = _measure(config, tuple(event_shape))
    memory = _COPIES * _BYTES * parameters + fixed + batch_size * per_example
    return FlowCost(parameters, multiply_adds, memory)
