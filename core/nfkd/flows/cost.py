"""Parameters, multiply-adds and memory of a flow, measured on the meta device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache, partial
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from nfkd.config.flows import FlowConfig
from nfkd.flows.activations import Activations, activations_in
from nfkd.flows.architectures import meta_flow
from nfkd.flows.flow import Flow
from nfkd.flows.layer import Layer
from nfkd.flows.precision import Precision, networks_in

_COPIES = 5
"""Numbers for each parameter in training: weight, gradient, two moments, and the best weight so far."""
_BYTES = 4
_WATCHING = Lock()
"""One thread at a time watches the layers of a flow, which all threads share."""


@dataclass(frozen=True)
class LayerCost:
    """The cost of one layer; fields as in `FlowCost`."""

    name: str
    parameters: int
    multiply_adds: int
    training_memory: int


@dataclass(frozen=True)
class FlowCost:
    """The cost of a flow.

    Attributes
    ----------
    parameters
        Number of trained numbers.
    multiply_adds
        Of one example's log_prob, in convolutions and matrix products.
    training_memory
        Estimated peak of a training step in bytes: five numbers for each parameter (weight, gradient, two moments, best
        weight) plus `extra_copies`, and every tensor that the backward pass of one micro-batch needs. With recomputed
        activations: what is kept, and the tensors of the layer that needs most, with their gradients.
    layers
        The same for every layer in order, and last for a learned ``prior``; they sum to the flow's figures. A tensor
        that two layers need is counted for the first.
    """

    parameters: int
    multiply_adds: int
    training_memory: int
    layers: tuple[LayerCost, ...]


@dataclass(frozen=True)
class _Measured:
    """The cost of one layer: parameters, multiply-adds of an example, bytes for each example, and bytes for a batch."""

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
    config: FlowConfig,
    event_shape: tuple[int, ...],
    context_features: int,
    precision: Precision = "float32",
    activations: Activations = "keep",
    trace: bool = False,
) -> tuple[_Measured, ...]:
    flow = meta_flow(config, event_shape, context_features)
    # Not with one example: where a dimension is 1, memory layouts coincide and copies are skipped.
    with networks_in(precision), _watched(flow) as position:
        (two, two_flops), (three, three_flops) = (_pass_cost(flow, position, batch) for batch in (2, 3))
        if activations == "recompute":
            two, three = _recomputed_bytes(flow, position, two, three, trace=trace)
    return tuple(
        _Measured(
            name,
            sum(parameter.numel() for parameter in module.parameters()),
            (2 * two_flops[name] - three_flops[name]) // 2,  # of one example, and of the matrices made for it
            three[name] - two[name],
            max(0, 3 * two[name] - 2 * three[name]),
        )
        for name, module in position.modules.items()
    )


class _Position:
    """The layer in which a pass currently is, and what the layers of this pass need."""

    def __init__(self, flow: Flow) -> None:
        names = [info.name for info in flow.layer_info()]
        self.modules: dict[str, nn.Module] = dict(zip(names, flow.layers, strict=True))
        if flow.prior is not None:
            self.modules["prior"] = flow.prior
        self.name, self.saved, self.flops = names[0], Counter[str](), Counter[str]()
        self._storages: dict[int, torch.UntypedStorage] = {}  # references, so that ids stay unique; views share one
        self._known: dict[Hashable, _Known] = {}
        self._hooks = [
            module.register_forward_pre_hook(lambda *_, name=name: self._enter(name))
            for name, module in self.modules.items()
        ]
        for module in self._layers():
            module.forward = partial(self._forward, signature_of(module), module.forward)

    def leave(self) -> None:
        """Stop watching the layers."""
        for hook in self._hooks:
            hook.remove()
        for module in self._layers():
            del module.forward

    def _layers(self) -> list[Layer]:
        return [module for module in self.modules.values() if isinstance(module, Layer)]

    def begin(self) -> None:
        """Begin a pass."""
        self.saved, self.flops = Counter(), Counter()
        self._storages, self._known = {}, {}

    def save(self, tensor: Tensor) -> Tensor:
        """Count a tensor that the backward pass needs, if its storage is not counted yet."""
        storage = tensor.untyped_storage()
        if not self._counts(tensor):
            self.saved[self.name] += storage.nbytes()
        self._storages[id(storage)] = storage
        return tensor

    def _counts(self, tensor: Tensor | None) -> bool:
        return tensor is not None and id(tensor.untyped_storage()) in self._storages

    def add_flops(self, count: int) -> None:
        """Count operations of the current layer."""
        self.flops[self.name] += count

    def _enter(self, name: str) -> None:
        self.name = name

    def _forward(
        self, signature: Hashable, forward: Callable[..., Any], x: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Make the pass of a layer, or take what an equal layer needed: a pass on the meta device takes 10 ms."""
        key = (signature, x.shape, x.stride(), x.dtype, x.requires_grad, self._counts(x), self._counts(context))
        known = self._known.get(key)
        if known is None:
            outputs = forward(x, context)
            counted = tuple(map(self._counts, outputs))
            self._known[key] = _Known(self.saved[self.name], self.flops[self.name], outputs, counted)
            return outputs
        self.saved[self.name] += known.saved
        self.flops[self.name] += known.flops
        y, log_det = (torch.empty_like(value, requires_grad=value.requires_grad) for value in known.outputs)
        for value, counted in zip((y, log_det), known.counted, strict=True):
            if counted:
                self._storages[id(value.untyped_storage())] = value.untyped_storage()
        return y, log_det


@dataclass(frozen=True)
class _Known:
    """What a layer needed: bytes, operations, and its outputs, with whether their storages were counted."""

    saved: int
    flops: int
    outputs: tuple[Tensor, Tensor]
    counted: tuple[bool, ...]


@contextmanager
def _watched(flow: Flow) -> Iterator[_Position]:
    """Watch the layers of a flow, and leave it as it was."""
    with _WATCHING:
        position = _Position(flow)
        try:
            yield position
        finally:
            position.leave()


_OF_ANY_MODULE = frozenset(vars(nn.Module())) - {"training"}


def signature_of(module: nn.Module) -> Hashable:
    """Return a value that is equal for modules whose passes need the same: equal settings and shapes of tensors.

    What cannot be compared makes it different.
    """
    parts: list[Hashable] = []
    for name, part in module.named_modules():
        settings = [(key, _setting(value)) for key, value in vars(part).items() if key not in _OF_ANY_MODULE]
        tensors = [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]
        shapes = [(key, value.shape, value.dtype, value.requires_grad) for key, value in tensors]
        parts.append((name, type(part), tuple(settings), tuple(shapes)))
    return tuple(parts)


def _setting(value: Any) -> Hashable:
    if value is None or isinstance(value, bool | int | float | str):
        return (type(value), value)
    if isinstance(value, tuple | list):
        return (type(value), *map(_setting, value))
    if is_dataclass(value):
        return (type(value), *((key.name, _setting(getattr(value, key.name))) for key in fields(value)))
    return id(value)


class _FlopCount(TorchDispatchMode):
    """Counts floating-point operations by torch's formulas, in this thread only.

    torch's own FlopCounterMode hooks every module of the process, also those that another thread trains.
    """

    def __init__(self, add: Callable[[int], None]) -> None:
        super().__init__()
        self._add = add

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its compiler; see `nfkd.flows.compiler`

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self._add(formula(*args, **kwargs, out_val=out))
        return out


def _empty(flow: Flow, batch: int) -> tuple[Tensor, Tensor | None]:
    x = torch.empty(batch, *flow.event_shape, device="meta")
    return x, torch.empty(batch, flow.context_features, device="meta") if flow.context_features else None


def _pass_cost(
    flow: Flow, position: _Position, batch: int, *, trace: bool = False
) -> tuple[Counter[str], Counter[str]]:
    """Return the bytes that the backward pass of a batch needs, and the operations of its forward pass, by layer."""
    position.begin()
    # The result is cached, so it must not depend on the caller's gradient mode.
    hooks = torch.autograd.graph.saved_tensors_hooks(position.save, lambda tensor: tensor)
    with _FlopCount(position.add_flops), torch.enable_grad(), hooks:
        flow(*_empty(flow, batch), trace=trace)
    return position.saved, position.flops


def _recomputed_bytes(
    flow: Flow, position: _Position, two: Counter[str], three: Counter[str], *, trace: bool
) -> tuple[Counter[str], Counter[str]]:
    """Return the bytes with recomputed activations, of two and of three examples, given those with kept ones."""
    largest = max(position.modules, key=lambda name: three[name] - two[name])
    with activations_in("recompute"):
        kept = [_pass_cost(flow, position, batch, trace=trace)[0] for batch in (2, 3)]
    first, second = (
        some + Counter({largest: 2 * every[largest]}) for some, every in zip(kept, (two, three), strict=True)
    )
    return first, second


def flow_cost(
    config: FlowConfig,
    event_shape: Sequence[int],
    batch_size: int,
    context_features: int = 0,
    *,
    precision: Precision = "float32",
    activations: Activations = "keep",
    trace: bool = False,
    extra_copies: int = 0,
) -> FlowCost:
    """Return the cost of a flow, measured on the meta device, without allocating its weights.

    Parameters
    ----------
    config, event_shape, context_features
        As in `build_flow`.
    batch_size
        Examples of a micro-batch.
    precision, activations
        Of the networks and the passes in training.
    trace
        Whether a term reads the output of each layer, which recomputed activations then keep.
    extra_copies
        Further numbers for each parameter: one for a running average of the weights, one for each gradient that is
        measured separately, and those of a copy of the state.

    Raises
    ------
    FlowError
        When the flow does not fit the shape.
    """
    measured = _measure(config, tuple(event_shape), context_features, precision, activations, trace)
    layers = tuple(layer.cost(batch_size, _COPIES + extra_copies) for layer in measured)
    return FlowCost(
        parameters=sum(layer.parameters for layer in layers),
        multiply_adds=sum(layer.multiply_adds for layer in layers),
        training_memory=sum(layer.training_memory for layer in layers),
        layers=layers,
    )


def initialisation_cost(
    config: FlowConfig, event_shape: Sequence[int], batch_size: int, context_features: int = 0
) -> int:
    """Return the peak memory in bytes of the initialisation by the first batch, without the weights.

    It is a pass of the whole batch, not of micro-batches, without a backward pass, so only one layer's tensors exist.
    """
    measured = _measure(config, tuple(event_shape), context_features)
    return batch_size * max(layer.per_example for layer in measured)


def frozen_cost(flow: Flow) -> tuple[int, int, int]:
    """Return parameters, multiply-adds of one example and bytes of a built flow that is not trained.

    The multiply-adds of a flow without log_prob are zero.
    """
    parameters = sum(parameter.numel() for parameter in flow.parameters())
    counts: list[int] = []
    if "log_prob" not in flow.unsupported:
        like = next(flow.parameters())
        x, context = (None if value is None else torch.zeros(value.shape).to(like) for value in _empty(flow, 1))
        with _FlopCount(counts.append), torch.no_grad():
            flow(x, context)
    return parameters, sum(counts) // 2, _BYTES * parameters
