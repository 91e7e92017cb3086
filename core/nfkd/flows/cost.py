"""What a flow costs, without building it: parameters, multiply-adds, memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from nfkd.config.flows import FlowConfig
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from nfkd.flows.precision import Precision, networks_in

_COPIES = 5
"""Numbers kept for each parameter in training: itself, its gradient, two moments, and the best so far."""
_BYTES = 4


@dataclass(frozen=True)
class LayerCost:
    """A layer's share of its flow's size; the figures are `FlowCost`'s."""

    name: str
    parameters: int
    multiply_adds: int
    training_memory: int


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
        moments, best weight; others as asked for) and every tensor that the backward pass needs, for the examples
        that go through at once.
    layers
        The same for every layer in order, and last for the ``prior`` where the flow learns one; each figure of the flow
        is their sum. A tensor that two layers keep is the first one's.
    """

    parameters: int
    multiply_adds: int
    training_memory: int
    layers: tuple[LayerCost, ...]


@dataclass(frozen=True)
class _Measured:
    """What one layer costs: numbers, multiply-adds of an example, bytes for each example, and bytes for a batch."""

    name: str
    parameters: int
    multiply_adds: int
    per_example: int
    fixed: int

    def cost(self, batch_size: int, copies: int) -> LayerCost:
        memory = copies * _BYTES * self.parameters + self.fixed + batch_size * self.per_example
        return LayerCost(self.name, self.parameters, self.multiply_adds, memory)


@lru_cache(maxsize=64)
def _measure(
    config: FlowConfig, event_shape: tuple[int, ...], context_features: int, precision: Precision = "float32"
) -> tuple[_Measured, ...]:
    flow = build_flow(config, event_shape, context_features=context_features, device="meta")
    where = _Where(flow)
    with _FlopCount(lambda: where.name) as count, torch.no_grad():
        flow.log_prob(*_empty(flow, 1))
    # Not from one example: where a dimension is 1, memory layouts coincide and copies fall away.
    with networks_in(precision):
        two, three = (_saved_bytes(flow, where, batch) for batch in (2, 3))
    return tuple(
        _Measured(
            name,
            sum(parameter.numel() for parameter in module.parameters()),
            count.flops[name] // 2,
            three[name] - two[name],
            max(0, 3 * two[name] - 2 * three[name]),
        )
        for name, module in where.places.items()
    )


class _Where:
    """In which layer of a flow a pass is: told by hooks of its own modules, never of the whole process."""

    def __init__(self, flow: Flow) -> None:
        names = [info.name for info in flow.layer_info()]
        self.places: dict[str, nn.Module] = dict(zip(names, flow.layers, strict=True))
        if flow.prior is not None:
            self.places["prior"] = flow.prior
        self.name = names[0]
        for name, module in self.places.items():
            module.register_forward_pre_hook(lambda *_, name=name: self._enter(name))

    def _enter(self, name: str) -> None:
        self.name = name


class _FlopCount(TorchDispatchMode):
    """Counts floating-point operations by torch's formulas, in this thread alone.

    torch's own FlopCounterMode hooks every module of the process, and the flow that another thread trains with them.
    """

    def __init__(self, where: Callable[[], str]) -> None:
        super().__init__()
        self._where = where
        self.flops: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.flops[self._where()] += formula(*args, **kwargs, out_val=out)
        return out


def _empty(flow: Flow, batch: int) -> tuple[Tensor, Tensor | None]:
    x = torch.empty(batch, *flow.event_shape, device="meta")
    return x, torch.empty(batch, flow.context_features, device="meta") if flow.context_features else None


def _saved_bytes(flow: Flow, where: _Where, batch: int) -> Counter[str]:
    """Return the bytes that the backward pass needs, by layer."""
    storages: dict[int, torch.UntypedStorage] = {}  # kept, so that no two get the same id; views share theirs
    saved: Counter[str] = Counter()

    def save(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if id(storage) not in storages:
            saved[where.name] += storage.nbytes()
        storages[id(storage)] = storage
        return tensor

    # The result is remembered, so it must not depend on whether the first caller had gradients switched off.
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        flow(*_empty(flow, batch))
    return saved


def flow_cost(
    config: FlowConfig,
    event_shape: Sequence[int],
    batch_size: int,
    context_features: int = 0,
    *,
    precision: Precision = "float32",
    extra_copies: int = 0,
) -> FlowCost:
    """Return what a flow costs; it is measured on the meta device, so nothing of its size is allocated.

    Parameters
    ----------
    config, event_shape, context_features
        The flow, as `build_flow` takes it.
    batch_size
        Examples that go through it at once: of a micro-batch, where a batch is taken in several.
    precision
        Of its networks in training.
    extra_copies
        Numbers kept for each parameter beside the five: one for a running average of the weights, one for each gradient
        that is measured by itself.

    Raises
    ------
    FlowError
        When the flow does not fit the shape.
    """
    measured = _measure(config, tuple(event_shape), context_features, precision)
    layers = tuple(part.cost(batch_size, _COPIES + extra_copies) for part in measured)
    return FlowCost(
        parameters=sum(layer.parameters for layer in layers),
        multiply_adds=sum(layer.multiply_adds for layer in layers),
        training_memory=sum(layer.training_memory for layer in layers),
        layers=layers,
    )


def initialisation_cost(
    config: FlowConfig, event_shape: Sequence[int], batch_size: int, context_features: int = 0
) -> int:
    """Return the bytes that the first batch's pass through the norms holds at its peak, beside the weights.

    It takes the whole batch at once, however many micro-batches it is trained in, and keeps nothing for a backward
    pass: a layer lets go of what the one before it held.
    """
    measured = _measure(config, tuple(event_shape), context_features)
    return batch_size * max(part.per_example for part in measured)


def frozen_cost(flow: Flow) -> tuple[int, int, int]:
    """Return parameters, multiply-adds of one example and bytes of a flow that is there already and is not trained.

    A frozen flow keeps nothing for a backward pass. One that has no way from data to latents has no multiply-adds.
    """
    parameters = sum(parameter.numel() for parameter in flow.parameters())
    count = _FlopCount(lambda: "")
    if "log_prob" not in flow.unsupported:
        like = next(flow.parameters())
        x, context = (None if part is None else torch.zeros(part.shape).to(like) for part in _empty(flow, 1))
        with count, torch.no_grad():
            flow(x, context)
    return parameters, count.flops.total() // 2, _BYTES * parameters
