"""Runs of equal steps of flows for vectors, as one operation each (`nfkd.flows.fused`).

With a width of 64 and 256 examples, torch's graph of a step takes longer than its arithmetic. Here the parameters of
all steps are stacked and folded together, states have the examples last, so that halves are contiguous, and the
gradient is by hand. The modules inside the steps are not called, except where one of them has hooks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, groupby, pairwise
from typing import Any, cast

import torch
from torch import Tensor

from nfkd.flows.fused import fusible
from nfkd.flows.fused_images import ImageRun
from nfkd.flows.fused_networks import LinearSteps
from nfkd.flows.fused_run import Run
from nfkd.flows.layer import Layer, Split
from nfkd.flows.precision import rounds
from nfkd.flows.stacked import StackedLinear, StackedMixing
from nfkd.flows.step_parts import StepParts, kind_of, parts_of

LARGEST_STEP = 1 << 18
"""Parameters of a step: of a larger one, stacking them would take longer than it saves."""


class Folded:
    """The parameters of all steps, stacked and folded.

    Parameters
    ----------
    linears
        The layers of a step, from x to the state.
    parameters
        Those of all layers of the first step, then of the second, and so on.
    """

    def __init__(self, linears: Sequence[StackedLinear], parameters: Sequence[Tensor]) -> None:
        self._linears = linears
        ends = list(accumulate((linear.count for linear in linears), initial=0))
        stacked = [torch.stack(list(parameters[slot :: ends[-1]])) for slot in range(ends[-1])]
        self.tensors = [linear.fold(stacked[a:b]) for linear, (a, b) in zip(linears, pairwise(ends), strict=True)]
        self.layers: list[LinearSteps] = [
            linear.steps(tensors) for linear, tensors in zip(linears, self.tensors, strict=True)
        ]

    def log_det(self) -> Tensor | None:
        """Return log|det| of the mixings, (K,), if there are any."""
        mixing = self._linears[0]
        return mixing.log_det(self.tensors[0]) if isinstance(mixing, StackedMixing) else None

    def prepare(self) -> None:
        """Make room for the gradients."""
        for layer in self.layers:
            layer.prepare()

    def gradients(self, of_log_det: Tensor) -> list[Tensor]:
        """Return the gradients by the parameters in their order, after the layers have theirs."""
        found = [
            linear.unfold(tensors, layer.of_matrix, layer.of_bias)
            for linear, tensors, layer in zip(self._linears, self.tensors, self.layers, strict=True)
        ]
        mixing = self._linears[0]
        if isinstance(mixing, StackedMixing):
            mixing.add_of_log_det(found[0], of_log_det)
        steps = zip(*(each.unbind() for gradients in found for each in gradients), strict=True)
        return [gradient for step in steps for gradient in step]


class StepRun:
    """Equal steps of a flow.

    Parameters
    ----------
    steps
        The K steps.
    parts
        What a step consists of.
    """

    def __init__(self, steps: Sequence[Layer], parts: StepParts) -> None:
        self.steps, self._parts = tuple(steps), parts

    def fits(self, x: Tensor, context: Tensor | None) -> bool:
        """Return whether the steps are computed as one operation."""
        data = (x,) if context is None else (x, context)
        return fusible(*data) and (self._parts.images or not rounds(x)) and self._parts.unchanged()

    def __call__(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the state after the last step and the change of the log-determinant."""
        changes, state = self._run(x, context, every=False)
        return state, changes.sum(0)

    def trace(self, x: Tensor, context: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
        """Return the state after every step and its change of the log-determinant."""
        changes, *states = self._run(x, context, every=True)
        return list(zip(states, changes.unbind(), strict=True))

    def _run(self, x: Tensor, context: Tensor | None, *, every: bool) -> tuple[Tensor, ...]:
        data = [x] if context is None else [x, context]
        kind = ImageRun if self._parts.images else VectorRun
        run = kind(self.steps, self._parts, len(data), every=every)
        return run([*data, *self._parts.parameters()])


class VectorRun(Run):
    """The steps of a flow for vectors."""

    def compute(self, inputs: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Sequence[Tensor], Any]:
        """Return the outputs; kept are the state before each step and its tensors."""
        parts, (x, *context) = self.parts, inputs[: self.data]
        folded = Folded(parts.linears(), inputs[self.data :])
        mixing, network, first = parts.layers(folded.layers)
        half = parts.half
        x, context = x.t().contiguous(), [each.t() for each in context]
        slopes: list[Tensor] = []
        kept: list[Tensor] = []
        states: list[Tensor] = []
        for step in range(len(self.steps)):
            before = x
            y = x if mixing is None else mixing.forward(step, x)
            given = y if half is None else y[:half]
            changed = y if half is None else y[half:]
            if context:
                given = torch.cat((given, *context))
            parameters, hidden = network.forward(step, given)
            value, slope, own = parts.transform.forward(changed, parameters)
            if half is None:
                x = value
            elif first is not None:
                other, more, constant = parts.transform.forward(y[:half], first.forward(step, y))
                x, slope = torch.cat((other, value)), slope + more
                own = (*own, *constant)
            elif parts.transform.reads_input:
                x = torch.cat((y[:half], value))
            else:
                x = y
                changed.copy_(value)
            if self.keeps:
                kept += (before, y, given, *hidden, *own)
            slopes.append(slope)
            if self.every or step == len(self.steps) - 1:
                states.append(x)
        changes, log_det = torch.stack(slopes), folded.log_det()
        if log_det is not None:
            changes += log_det.unsqueeze(1)
        return (changes, *(each.t().contiguous() for each in states)), [*kept, x], folded

    def gradients(
        self, inputs: Sequence[Tensor], saved: Sequence[Tensor], rest: Any, of_outputs: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        """Return the gradients, from the last step to the first."""
        parts, folded = self.parts, rest
        of_changes, *of_states = of_outputs
        mixing, network, first = parts.layers(folded.layers)
        half = parts.half
        trained = any(each.requires_grad for each in inputs[self.data :])
        if trained:
            folded.prepare()
        after, count = saved[-1], len(self.steps)
        if of_changes is None:
            of_changes = after.new_zeros(count, after.shape[1])
        of_change = of_changes.unbind()
        of_states = [None] * (count - len(of_states)) + of_states
        gradient, of_context = after.new_zeros(()).expand_as(after), None
        size = 3 + network.kept + (1 if first is None else 2) * parts.transform.kept
        for step in range(count - 1, -1, -1):
            before, y, given, *own = saved[step * size : (step + 1) * size]
            hidden, kept = own[: network.kept], own[network.kept :]
            kept, constant = kept[: parts.transform.kept], kept[parts.transform.kept :]
            of_state = of_states[step]
            if of_state is not None:
                gradient = of_state.t().contiguous() if step == count - 1 else gradient + of_state.t()
            changed, of_value = (y, gradient) if half is None else (y[half:], gradient[half:])
            value = after if half is None else after[half:]
            of_changed, of_parameters = parts.transform.backward(changed, value, kept, of_value, of_change[step])
            of_given = network.backward(step, of_parameters, given, hidden)
            if self.data > 1:
                of_given, more = of_given.split([len(of_given) - inputs[1].shape[1], inputs[1].shape[1]])
                of_context = more.clone() if of_context is None else of_context.add_(more)
            if half is None:
                of_mixed = of_given.add_(of_changed)
            else:
                of_first = gradient[:half]
                if first is not None:
                    given_first = (y[:half], after[:half], constant, of_first, of_change[step])
                    of_first, of_constant = parts.transform.backward(*given_first)
                    first.backward(step, of_constant, y)
                of_mixed = torch.cat((of_given.add_(of_first), of_changed))
            gradient = of_mixed if mixing is None else mixing.backward(step, of_mixed, before)
            after = before
        of_data = [each.t() for each in (gradient, of_context)[: self.data] if each is not None]
        return [*of_data, *(folded.gradients(of_changes.sum(1)) if trained else [None] * len(inputs[self.data :]))]


def grouped(layers: Sequence[Layer | Split]) -> list[Layer | Split | StepRun]:
    """Return the layers of a flow, with consecutive equal steps as one."""
    found: list[Layer | Split | StepRun] = []
    for kind, group in groupby(layers, kind_of):
        alike = list(group)
        parts = None if kind is None else parts_of(cast("list[Layer]", alike))
        large = sum(each.numel() for each in alike[0].parameters()) > LARGEST_STEP
        if parts is None or (large and not parts.images):
            found += alike
        else:
            found.append(StepRun(cast("list[Layer]", alike), parts))
    return found
