"""The parameters of equal steps of a flow for vectors, stacked and folded for all steps at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, repeat
from operator import attrgetter, is_
from typing import Any, cast

import torch
from torch import Tensor

from nfkd.flows.fused import add_to_grad
from nfkd.flows.fused_networks import LinearSteps
from nfkd.flows.memory import ByAddress, stacked, zeros_alike
from nfkd.flows.stacked import StackedLinear, StackedMixing
from nfkd.flows.step_parts import StepParts

_TRAINED, _GRAD = attrgetter("requires_grad"), attrgetter("grad")


class Folded:
    """The folded parameters of all steps.

    Parameters
    ----------
    linears
        The layers of a step, from x to the state.
    stacks
        The parameters of all layers of a step, each of all steps, (K, …).
    buffers
        For the gradients by the parameters and by their stacks, which share memory; none for new ones.

    Attributes
    ----------
    stacks
        The parameters.
    layers
        The layers with their folded parameters.
    """

    def __init__(
        self,
        linears: Sequence[StackedLinear],
        stacks: Sequence[Tensor],
        buffers: tuple[Sequence[Tensor], Sequence[Tensor]] = ((), ()),
    ) -> None:
        self._linears, self.stacks, self._buffers = linears, stacks, buffers
        self._tensors = self._fold()
        self.layers: list[LinearSteps] = [
            linear.steps(tensors) for linear, tensors in zip(linears, self._tensors, strict=True)
        ]

    def fold_again(self) -> None:
        """Fold new values of the parameters."""
        self._tensors = self._fold()
        for layer, tensors in zip(self.layers, self._tensors, strict=True):
            layer.replace(tensors[0], tensors[1])

    def _fold(self) -> list[Sequence[Tensor]]:
        ends = accumulate((linear.count for linear in self._linears), initial=0)
        return [linear.fold(self.stacks[a:b]) for linear, (a, b) in zip(self._linears, pairwise(ends), strict=True)]

    def changes(self, slopes: Tensor, *, sums: bool) -> Tensor:
        """Add the logarithms of the mixings' determinants to those of the transforms, (K, B); with `sums` all, (B,)."""
        mixing = self._linears[0]
        own = mixing.log_det(self._tensors[0]) if isinstance(mixing, StackedMixing) else slopes.new_zeros(len(slopes))
        return slopes.sum(0).add_(own.sum()) if sums else slopes.add_(own.unsqueeze(1))

    def prepare(self) -> None:
        """Allocate buffers for the gradients."""
        for layer in self.layers:
            layer.prepare()

    def gradients(self, grad_log_det: Tensor) -> list[Tensor]:
        """Return the gradients by the stacks, after the layers have theirs."""
        found = [
            linear.unfold(tensors, layer.grad_matrix, layer.grad_bias)
            for linear, tensors, layer in zip(self._linears, self._tensors, self.layers, strict=True)
        ]
        mixing = self._linears[0]
        if isinstance(mixing, StackedMixing):
            mixing.add_grad_log_det(found[0], grad_log_det)
        return [each for gradients in found for each in gradients]

    def add_gradients(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """Add the gradients by the stacks to the `grad` of the parameters, in the buffers if none has a gradient."""
        own, stacks = self._buffers
        if not stacks or not _new_gradients(parameters):
            add_to_grad(parameters, split([each.clone() for each in gradients] if stacks else gradients))
            return
        for stack, gradient in zip(stacks, gradients, strict=True):
            stack.copy_(gradient)
        for parameter, gradient in zip(parameters, own, strict=True):
            parameter.grad = gradient


@dataclass(frozen=True)
class _Last:
    """Folded parameters, and the constants that they depend on, with torch's counts of their changes."""

    constants: Sequence[Tensor]
    versions: list[int]
    folded: Folded

    def has(self, constants: Sequence[Tensor], versions: list[int]) -> bool:
        """Return whether these are the constants; changes through ``data`` are not seen."""
        return versions == self.versions and all(map(is_, constants, self.constants))


class Folding:
    """Folds the parameters of a run of steps, and returns their gradients.

    Where the parameters lie in memory as `nfkd.training.optimizers` lays them, they are stacked without a copy, and the
    gradients get the same places, so that the optimizer changes all of them at once.
    """

    def __init__(self, parts: StepParts) -> None:
        self._parts = parts
        self._places = ByAddress(self._stack)
        self._last: _Last | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle nothing that depends on where tensors are in memory."""
        return Folding, (self._parts,)

    def fold(self, parameters: Sequence[Tensor], *, reuses_buffers: bool) -> Folded:
        """Return the folded parameters.

        Parameters
        ----------
        parameters
            Of the first step, then of the second, and so on.
        reuses_buffers
            Whether the last result with buffers may be changed and returned again.
        """
        stacks = self._places(parameters)
        if stacks is not None and reuses_buffers:
            return self._fold_again(parameters, stacks)
        return Folded(self._parts.linears(), stacks or [torch.stack(each) for each in self._columns(parameters)])

    def _fold_again(self, parameters: Sequence[Tensor], stacks: list[Tensor]) -> Folded:
        last, constants = self._last, self._parts.constants()
        versions = [each._version for each in constants]  # noqa: SLF001
        if last is None or last.folded.stacks is not stacks or not last.has(constants, versions):
            own = zeros_alike(parameters)
            folded = Folded(self._parts.linears(), stacks, (own, self._stack(own) or ()))
            self._last = last = _Last(constants, versions, folded)
        else:
            last.folded.fold_again()
        return last.folded

    def _columns(self, tensors: Sequence[Tensor]) -> list[list[Tensor]]:
        """Return the tensors of each place in a step."""
        size = len(self._parts.names)
        return [list(tensors[place::size]) for place in range(size)]

    def _stack(self, tensors: Sequence[Tensor]) -> list[Tensor] | None:
        found = [stacked(each) for each in self._columns(tensors)]
        return None if any(each is None for each in found) else cast("list[Tensor]", found)


def _new_gradients(parameters: Sequence[Tensor]) -> bool:
    """Return whether all parameters are in training, and none has a gradient yet."""
    return all(map(_TRAINED, parameters)) and all(map(is_, map(_GRAD, parameters), repeat(None)))


def split(stacks: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors of the first step, then of the second, and so on."""
    return [each for step in zip(*(stack.unbind() for stack in stacks), strict=True) for each in step]
