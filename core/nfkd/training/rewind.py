"""A copy of what a training step changes, on the device, to go back to."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nfkd.distillation.balance import Weight
from nfkd.training.state import StageState


class Rewind:
    """The weights, optimizer, averages, random numbers and position of a stage at an earlier step.

    The best weights, which only a validation changes, are not copied.

    Parameters
    ----------
    state
        The stage; at least one step was made, so that its tensors exist.
    """

    def __init__(self, state: StageState) -> None:
        self._state = state
        self._copies: list[Tensor] = []
        self._step = self._cursor = 0
        self._order = torch.empty(0, dtype=torch.int64)
        self._random: dict[str, Tensor] = {}
        self._norms: dict[str, Weight] = {}

    @torch.no_grad()
    def keep(self) -> None:
        """Copy the present state, without waiting for the device."""
        state, tensors = self._state, self._tensors()
        if len(tensors) != len(self._copies):
            self._copies = [torch.empty_like(tensor) for tensor in tensors]
        _copy(self._copies, tensors)
        self._step, self._random, self._norms = state.step, state.generators.state(), dict(state.norms)
        self._order, self._cursor = state.batches.state()  # a new epoch makes a new order

    @torch.no_grad()
    def restore(self) -> None:
        """Restore the state that was kept."""
        state = self._state
        _copy(self._tensors(), self._copies)
        state.step = self._step
        state.generators.restore(self._random)
        state.norms.clear()
        state.norms.update(self._norms)
        state.batches.restore(self._order, self._cursor)

    def _tensors(self) -> list[Tensor]:
        """Return all tensors that a step changes in place, always in the same order."""
        state = self._state
        flows = [state.flow] if state.average is None else [state.flow, state.average.flow]
        tensors = [value for flow in flows for value in flow.state_dict().values()]
        for values in state.optimizer.state.values():
            tensors += [value for value in values.values() if isinstance(value, Tensor)]
        return tensors


def _copy(targets: list[Tensor], sources: list[Tensor]) -> None:
    if targets:
        function: Any = torch
        function._foreach_copy_(targets, sources, non_blocking=True)  # one call for all; torch exports no other
