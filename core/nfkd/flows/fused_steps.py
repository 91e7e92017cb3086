"""Runs of equal steps of flows for vectors, as one operation each (`nfkd.flows.fused`).

With a width of 64 and 256 examples, torch's graph of a step takes longer than its arithmetic. Here the parameters of
all steps are stacked and folded together, states have the examples last, so that halves are contiguous, and the
gradient is by hand. The modules inside the steps are not called, except where one of them has hooks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, groupby, islice, pairwise
from typing import Any, cast

import torch
from torch import Tensor

from nfkd.flows.fused import fusible, kernels_alone
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

    def changes(self, slopes: Tensor, *, sums: bool) -> Tensor:
        """Add the logarithms of the mixings' determinants to those of the transforms, (K, B); with `sums` all, (B,)."""
        mixing = self._linears[0]
        own = mixing.log_det(self.tensors[0]) if isinstance(mixing, StackedMixing) else slopes.new_zeros(len(slopes))
        return slopes.sum(0).add_(own.sum()) if sums else slopes.add_(own.unsqueeze(1))

    def prepare(self) -> None:
        """Allocate buffers for the gradients."""
        for layer in self.layers:
            layer.prepare()

    def gradients(self, grad_log_det: Tensor) -> list[Tensor]:
        """Return the gradients by the parameters in their order, after the layers have theirs."""
        found = [
            linear.unfold(tensors, layer.grad_matrix, layer.grad_bias)
            for linear, tensors, layer in zip(self._linears, self.tensors, self.layers, strict=True)
        ]
        mixing = self._linears[0]
        if isinstance(mixing, StackedMixing):
            mixing.add_grad_log_det(found[0], grad_log_det)
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
        return state, changes if changes.dim() == 1 else changes.sum(0)

    def trace(self, x: Tensor, context: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
        """Return the state after every step and its change of the log-determinant."""
        changes, *states = self._run(x, context, every=True)
        return list(zip(states, changes.unbind(), strict=True))

    def _run(self, x: Tensor, context: Tensor | None, *, every: bool) -> tuple[Tensor, ...]:
        data = [x] if context is None else [x, context]
        kind = ImageRun if self._parts.images else VectorRun
        run = kind(self.steps, self._parts, len(data), every=every)
        return run([*data, *self._parts.parameters()], len(data))


class VectorRun(Run):
    """The steps of a flow for vectors.

    The states before and after all steps are rows of one tensor, (K + 1, D, B). Where the transform can be computed in
    place, the mixing writes into the state after the step.
    """

    def __init__(self, steps: Sequence[Layer], parts: StepParts, data: int, *, every: bool) -> None:
        super().__init__(steps, parts, data, every=every)
        self.sums = not every

    def compute(self, inputs: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Sequence[Tensor], Any]:
        """Return the outputs; kept are the states and what the parts of a step keep."""
        parts, (x, *context), count = self.parts, inputs[: self.data], len(self.steps)
        half, all_states = parts.half, self.keeps or self.every
        with kernels_alone():
            folded = Folded(parts.linears(), inputs[self.data :])
            mixing, network, first = parts.layers(folded.layers)
            size = x.shape[1], len(x)
            stacked = x.new_empty(count + 1 if all_states else 2, *size)
            states = _repeated(stacked, count + 1)
            own = mixing is not None and parts.transform.reads_input
            mixed = x.new_empty(count if self.keeps else 1, *size) if own else None
            ys = states if mixing is None else states[1:] if mixed is None else _repeated(mixed, count)
            transform, constant = parts.transform.steps(), parts.transform.steps()
            network.begin(stacked, count, keeps=self.keeps)
            transform.begin(stacked[0, half:], count, keeps=self.keeps, sums=self.sums)
            constant.begin(stacked[0, :half], 0 if first is None else count, keeps=self.keeps, sums=self.sums)
            givens: list[Tensor] = []
            states[0].copy_(x.t())
            for step, (y, after) in enumerate(zip(ys, states[1:], strict=False)):
                if mixing is not None:
                    mixing.forward(step, states[step], y)
                given = y[:half]
                if context:
                    given = torch.cat((given, *(each.t() for each in context)))
                    givens.append(given)
                parameters = network.forward(step, given, transform.buffer(step))
                transform.forward(step, y[half or 0 :], parameters, after[half or 0 :])
                if first is not None:
                    constant.forward(step, y[:half], first.forward(step, y), after[:half])
                elif own:
                    after[:half].copy_(y[:half])
            slopes = transform.slopes() if first is None else transform.slopes().add_(constant.slopes())
            changes = folded.changes(slopes, sums=self.sums)
        kept = [[stacked], [] if mixed is None else [mixed], givens, network.kept, transform.kept, constant.kept]
        last = count % len(stacked)
        # Views that torch knows as such: it refuses to change them in place, which would change kept states.
        found = [stacked[number].t() for number in (range(1, count + 1) if self.every else (last,))]
        if not self.keeps:
            return (changes, *found), [], None
        return (changes, *found), [each for group in kept for each in group], (folded, [len(group) for group in kept])

    def gradients(
        self, inputs: Sequence[Tensor], saved: Sequence[Tensor], rest: Any, grad_outputs: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        """Return the gradients, from the last step to the first."""
        parts, (grad_changes, *grad_states), count = self.parts, grad_outputs, len(self.steps)
        half, (folded, lengths) = parts.half, rest
        trained = any(each.requires_grad for each in inputs[self.data :])
        with kernels_alone():
            mixing, network, first = parts.layers(folded.layers)
            transform, constant = parts.transform.steps(), parts.transform.steps()
            groups = iter(saved)
            [stacked], mixed, givens, network_kept, transform.kept, constant.kept = (
                list(islice(groups, length)) for length in lengths
            )
            network.begin_backward(network_kept)
            if trained:
                folded.prepare()
            states = stacked.unbind()
            ys = states if mixing is None else mixed[0].unbind() if mixed else states[1:]
            if grad_changes is None:
                grad_changes = stacked.new_zeros(stacked.shape[2])
            grad_changes = grad_changes.expand(count, -1)
            grad_change = grad_changes.unbind()
            grad_states = [None] * (count - len(grad_states)) + grad_states
            gradient, buffer = torch.zeros_like(stacked[0]), torch.empty_like(stacked[0])
            grad_context = None if not givens else stacked.new_zeros(inputs[1].shape[::-1])
            for step in range(count - 1, -1, -1):
                y, after, grad_state = ys[step], states[step + 1], grad_states[step]
                if grad_state is not None:
                    gradient.add_(grad_state.t())
                unchanged, changed = gradient[:half], gradient[half or 0 :]
                values = (step, y[half or 0 :], after[half or 0 :], changed)
                grad_parameters = transform.backward(*values, grad_change[step])
                if first is not None:
                    values = (step, y[:half], after[:half], unchanged)
                    first.backward(step, constant.backward(*values, grad_change[step]), y)
                if grad_context is None:
                    network.backward(step, grad_parameters, y[:half], unchanged)
                else:
                    grad_given = torch.zeros_like(givens[step])
                    network.backward(step, grad_parameters, givens[step], grad_given)
                    unchanged.add_(grad_given[: len(unchanged)])
                    grad_context.add_(grad_given[len(unchanged) :])
                if mixing is not None:
                    gradient, buffer = mixing.backward(step, gradient, states[step], buffer), gradient
            grad_data = [each.t() for each in (gradient, grad_context) if each is not None]
            return [
                *grad_data,
                *(folded.gradients(grad_changes.sum(1)) if trained else [None] * len(inputs[self.data :])),
            ]


def _repeated(stacked: Tensor, count: int) -> list[Tensor]:
    """Return `count` tensors of a stack, from its first one again after the last one."""
    each = stacked.unbind()
    return [each[number % len(each)] for number in range(count)]


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
