"""Operations with gradients written by hand, in place of torch's graph of many small ones.

A hand-written gradient has no second derivatives, no forward mode and no batches of gradients. Where one of these is
wanted, an operation is computed by its plain form, of torch's own operations, from the same inputs. Both forms give the
same up to rounding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from operator import attrgetter
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._C import DispatchKey, DispatchKeySet, _ExcludeDispatchKeyGuard
from torch.autograd import forward_ad

_by_backward: ContextVar[bool] = ContextVar("gradients by parameters come from backward() alone", default=False)
_plain: ContextVar[bool] = ContextVar("plain operations only", default=False)
_RECORDS = DispatchKeySet(DispatchKey.AutogradCPU) | DispatchKeySet(DispatchKey.ADInplaceOrView)
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


class FusedOperation(ABC):
    """A function of tensors in two forms.

    Attributes
    ----------
    keeps
        False where `compute` is not followed by `gradients` and may keep nothing.
    reuses_buffers
        Whether a pass may use the buffers of the one before again. Then `gradients` comes before parameters change.
    """

    keeps: bool = True
    reuses_buffers: bool = False

    @abstractmethod
    def plain(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the outputs, by torch's own operations."""

    @abstractmethod
    def compute(self, inputs: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Sequence[Tensor], Any]:
        """Return the outputs, the tensors that `gradients` needs, and what else it needs; called without a graph."""

    @abstractmethod
    def gradients(
        self, inputs: Sequence[Tensor], saved: Sequence[Tensor], rest: Any, grad_outputs: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        """Return the gradient by each input, given those by the outputs (None for zero); called without a graph."""

    def add_gradients(
        self,
        inputs: Sequence[Tensor],
        saved: Sequence[Tensor],
        rest: Any,
        grad_outputs: Sequence[Tensor | None],
        data: int,
    ) -> Sequence[Tensor | None]:
        """Add the gradients by all inputs after the first `data` to their `grad`; return those by the others."""
        found = self.gradients(inputs, saved, rest, grad_outputs)
        add_to_grad(inputs[data:], found[data:])
        return found[:data]

    def __call__(self, inputs: Sequence[Tensor], data: int | None = None) -> tuple[Tensor, ...]:
        """Return the outputs of `fusible` inputs, with a graph where one is wanted.

        Parameters
        ----------
        inputs
            Tensors.
        data
            How many of them come before parameters, whose gradients `gradients_by_backward` may add without torch.
        """
        if torch.is_grad_enabled() and any(each.requires_grad for each in inputs):
            if data is not None and _by_backward.get() and not _have_hooks(inputs[data:]):
                self.reuses_buffers = True
                return cast("tuple[Tensor, ...]", _Added.apply(self, inputs[data:], _NO_DATA, *inputs[:data]))
            return cast("tuple[Tensor, ...]", _Fused.apply(self, *inputs))
        self.keeps = False
        return self.compute(inputs)[0]


@contextmanager
def plain_operations() -> Iterator[None]:
    """Compute all operations in this thread by their plain form, in which every module of a flow is called."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


@contextmanager
def gradients_by_backward() -> Iterator[None]:
    """Let steps of flows in this thread, in passes in this block, add the gradients by their parameters themselves.

    With a hundred small parameters, torch's graph takes a seventh of the time of a step. The gradients come from
    ``backward()`` after the block, as usual; call it before the parameters change. `torch.autograd.grad` does not find
    the parameters in the graph, and adds to their ``grad``. Hooks that parameters get between the pass and
    ``backward()`` are not called. The gradients of parameters that lie together in memory (`nfkd.flows.memory`) are
    overwritten by those of the next pass, after they were cleared: copy those that you keep, and change them in place.

    Raises
    ------
    RuntimeError
        In ``backward()``, when an optimizer or new weights have changed the parameters since the pass.
    """
    token = _by_backward.set(True)
    try:
        yield
    finally:
        _by_backward.reset(token)


def fusible(*inputs: Tensor) -> bool:
    """Return whether operations on these inputs have their fused form: on the CPU, outside transforms and autocast.

    The meta device has no data, so costs are those of the plain form: an upper bound.
    """
    if _plain.get() or torch.is_autocast_enabled("cpu") or inputs[0].device.type != "cpu":
        return False
    return all(forward_ad.unpack_dual(each).tangent is None for each in inputs) and _in_memory(inputs)


def kernels_alone() -> AbstractContextManager[None]:
    """Return a context in which operations call the CPU's kernels without torch's records for gradients.

    Small operations and views then take half of the time. Views made there are not recorded as views, and changes in
    place are not counted. So change in place only tensors made in the block, never inputs, parameters or saved tensors,
    and return no view made there of a tensor that is saved for the gradient: torch could not refuse to change it.
    """
    return _ExcludeDispatchKeyGuard(_RECORDS)


def hooks_of(module: nn.Module) -> list[dict[int, Any]]:
    """Return torch's mappings of a module's hooks, in which later hooks appear, too; a fused form calls no hooks."""
    return [vars(module)[kind] for kind in _HOOKS]


def _in_memory(tensors: Sequence[Tensor | None]) -> bool:
    """Return whether the tensors have data; those inside a transform of torch.func have not."""
    try:
        for each in tensors:
            if each is not None:
                each.data_ptr()
    except RuntimeError:
        return False
    return True


class _Fused(torch.autograd.Function):
    """A `FusedOperation` in torch's graph."""

    @staticmethod
    def forward(ctx: Any, operation: FusedOperation, *inputs: Tensor) -> tuple[Tensor, ...]:
        outputs, saved, ctx.rest = operation.compute(inputs)
        ctx.operation, ctx.inputs = operation, len(inputs)
        ctx.save_for_backward(*inputs, *saved)
        ctx.set_materialize_grads(False)
        return outputs

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        inputs, saved = tensors[: ctx.inputs], tensors[ctx.inputs :]
        if torch.is_grad_enabled() or not _in_memory(grad_outputs):
            return (None, *_plain_gradients(ctx.operation, inputs, grad_outputs))
        return (None, *ctx.operation.gradients(inputs, saved, ctx.rest, grad_outputs))


_NO_DATA = torch.zeros((), requires_grad=True)
"""An input that gives every operation a graph; it has no gradient."""


_BACKWARD_HOOKS, _LATER_HOOKS = attrgetter("_backward_hooks"), attrgetter("_post_accumulate_grad_hooks")


def _have_hooks(parameters: Sequence[Any]) -> bool:
    return any(map(_BACKWARD_HOOKS, parameters)) or any(map(_LATER_HOOKS, parameters))


class _Added(torch.autograd.Function):
    """A `FusedOperation` in torch's graph, without its parameters: `backward` adds to their `grad`."""

    @staticmethod
    def forward(
        ctx: Any, operation: FusedOperation, parameters: Sequence[Tensor], _anchor: Tensor, *data: Tensor
    ) -> tuple[Tensor, ...]:
        outputs, saved, ctx.rest = operation.compute([*data, *parameters])
        ctx.operation, ctx.parameters, ctx.data = operation, parameters, len(data)
        ctx.save_for_backward(*data, *saved)
        ctx.set_materialize_grads(False)
        return outputs

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        inputs, saved = (*tensors[: ctx.data], *ctx.parameters), tensors[ctx.data :]
        if torch.is_grad_enabled() or not _in_memory(grad_outputs):
            found = _plain_gradients(ctx.operation, inputs, grad_outputs)
            add_to_grad(ctx.parameters, found[ctx.data :])
        else:
            found = ctx.operation.add_gradients(inputs, saved, ctx.rest, grad_outputs, ctx.data)
        return (None, None, None, *found[: ctx.data])


def add_to_grad(parameters: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
    """Add gradients to the `grad` of parameters that are in training."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None and parameter.requires_grad:
            before = parameter.grad
            parameter.grad = gradient.contiguous() if before is None else before + gradient


def _plain_gradients(
    operation: FusedOperation, inputs: Sequence[Tensor], grad_outputs: Sequence[Tensor | None]
) -> Sequence[Tensor | None]:
    """Return the gradients by the plain form, with a graph of their own where they are differentiated again."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        own = [each.view_as(each) for each in inputs]
        outputs = operation.plain(own)
        pairs = [(output, of) for output, of in zip(outputs, grad_outputs, strict=True) if of is not None]
        used = [each for each in own if each.requires_grad]
        found = iter(
            torch.autograd.grad(
                [output for output, _ in pairs], used, [of for _, of in pairs], create_graph=again, allow_unused=True
            )
        )
    return [next(found) if each.requires_grad else None for each in own]
