"""What a flow costs, without building it: parameters, multiply-adds, memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from nfkd.config.flows import FlowConfig
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow

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
def _measure(config: FlowConfig, event_shape: tuple[int, ...], context_features: int) -> tuple[int, int, int, int]:
    flow = build_flow(config, event_shape, context_features=context_features, device="meta")
    parameters = sum(parameter.numel() for parameter in flow.parameters())
    with _FlopCount() as count, torch.no_grad():
        flow.log_prob(*_empty(flow, 1))
    # Not from one example: where a dimension is 1, memory layouts coincide and copies fall away.
    two, three = (_saved_bytes(flow, batch) for batch in (2, 3))
    return parameters, count.flops // 2, three - two, max(0, 3 * two - 2 * three)


class _FlopCount(TorchDispatchMode):
    """Counts floating-point operations by torch's formulas, in this thread alone.

    torch's own FlopCounterMode hooks every module of the process, and the flow that another thread trains with them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=out)
        return out


def _empty(flow: Flow, batch: int) -> tuple[Tensor, Tensor | None]:
    x = torch.empty(batch, *flow.event_shape, device="meta")
    return x, torch.empty(batch, flow.context_features, device="meta") if flow.context_features else None


def _saved_bytes(flow: Flow, batch: int) -> int:
    storages: dict[int, torch.UntypedStorage] = {}  # kept, so that no two get the same id; views share theirs

    def save(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[id(storage)] = storage
        return tensor

    # The result is remembered, so it must not depend on whether the first caller had gradients switched off.
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        flow(*_empty(flow, batch))
    return sum(storage.nbytes() for storage in storages.values())


def flow_cost(config: FlowConfig, event_shape: Sequence[int], batch_size: int, context_features: int = 0) -> FlowCost:
    """Return what a flow costs; it is measured on the meta device, so nothing of its size is allocated.

    Raises
    ------
    FlowError
        When the flow does not fit the shape.
    """
    parameters, multiply_adds, per_example, fixed = _measure(config, tuple(event_shape), context_features)
    memory = _COPIES * _BYTES * parameters + fixed + batch_size * per_example
    return FlowCost(parameters, multiply_adds, memory)
