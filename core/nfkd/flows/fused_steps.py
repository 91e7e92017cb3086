"""Runs of equal steps of flows for vectors, as one operation each (`nfkd.flows.fused`).

With a width of 64 and 256 examples, torch's graph of a step takes longer than its arithmetic. Here the parameters of
all steps are stacked and folded together, states have the examples last, so that halves are contiguous, and the
gradient is by hand. The modules inside the steps are not called, except where one of them has hooks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby, islice
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from nfkd.flows.folded import Folded, Folding, split
from nfkd.flows.fused import fusible, kernels_alone
from nfkd.flows.fused_images import ImageRun
from nfkd.flows.fused_networks import LinearSteps, NetworkSteps
from nfkd.flows.fused_run import Run
from nfkd.flows.fused_transforms import TransformSteps
from nfkd.flows.layer import LOG_TWO_PI, Layer, Split
from nfkd.flows.precision import rounds
from nfkd.flows.step_parts import StepParts, kind_of, parts_of

LARGEST_STEP = 1 << 18
"""Parameters of a step: of a larger one, stacking them would take longer than it saves."""


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
        self._kind = ImageRun if parts.images else partial(VectorRun, Folding(parts))

    def fits(self, x: Tensor, context: Tensor | None) -> bool:
        """Return whether the steps are computed as one operation."""
        data = (x,) if context is None else (x, context)
        return fusible(*data) and (self._parts.images or not rounds(x)) and self._parts.unchanged()

    def with_density(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the state after the last step, the change of the log-determinant, and for vectors a log-density.

        That is the state's under the standard normal, (B,) nats.
        """
        changes, state, *density = self._run(x, context, every=False)
        return state, changes if changes.dim() == 1 else changes.sum(0), density[0] if density else None

    def trace(self, x: Tensor, context: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
        """Return the state after every step and its change of the log-determinant."""
        changes, *states = self._run(x, context, every=True)
        return list(zip(states, changes.unbind(), strict=True))

    def _run(self, x: Tensor, context: Tensor | None, *, every: bool) -> tuple[Tensor, ...]:
        data = [x] if context is None else [x, context]
        run = self._kind(self.steps, self._parts, len(data), every=every)
        return run([*data, *self._parts.parameters()], len(data))


class VectorRun(Run):
    """The steps of a flow for vectors.

    The states before and after all steps are rows of one tensor, (K + 1, D, B). Where the transform can be computed in
    place, the mixing writes into the state after the step.
    """

    def __init__(self, folding: Folding, steps: Sequence[Layer], parts: StepParts, data: int, *, every: bool) -> None:
        super().__init__(steps, parts, data, every=every)
        self._folding, self.sums, self.densities = folding, not every, not every

    def compute(self, inputs: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Sequence[Tensor], Any]:
        """Return the outputs; kept are the states and what the parts of a step keep."""
        parts, (x, *context), count = self.parts, inputs[: self.data], len(self.steps)
        half, all_states = parts.half, self.keeps or self.every
        with kernels_alone():
            folded = self._folding.fold(inputs[self.data :], reuses_buffers=self.reuses_buffers)
            mixing, network, transform, first = self._parts_of(folded)
            size = x.shape[1], len(x)
            stacked = x.new_empty(count + 1 if all_states else 2, *size)
            states = _with_halves(stacked, half, count + 1)
            own = mixing is not None and parts.transform.reads_input
            mixed = x.new_empty(count if self.keeps else 1, *size) if own else None
            ys = states if mixing is None else states[1:] if mixed is None else _with_halves(mixed, half, count)
            network.begin(stacked, count, keeps=self.keeps)
            transform.begin(stacked[0, half:], count, keeps=self.keeps, sums=self.sums)
            if first is not None:
                first.transform.begin(stacked[0, :half], count, keeps=self.keeps, sums=self.sums)
            givens: list[Tensor] = []
            states[0].whole.copy_(x.t())
            for step, (y, after) in enumerate(zip(ys, states[1:], strict=False)):
                if mixing is not None:
                    mixing.forward(step, states[step].whole, y.whole)
                given = y.before
                if context:
                    given = torch.cat((given, *(each.t() for each in context)))
                    givens.append(given)
                parameters = network.forward(step, given, transform.buffer(step))
                transform.forward(step, y.changed, parameters, after.changed)
                if first is not None:
                    first.forward(step, y.before, after.before)
                elif own:
                    after.before.copy_(y.before)
            slopes = transform.slopes() if first is None else transform.slopes().add_(first.transform.slopes())
            changes = folded.changes(slopes, sums=self.sums)
            density = [_standard_normal(states[count].whole)] if self.densities else []
        kept = [[stacked], [] if mixed is None else [mixed], givens, network.kept, transform.kept]
        kept.append([] if first is None else first.transform.kept)
        last = count % len(stacked)
        # Views that torch knows as such: it refuses to change them in place, which would change kept states.
        found = [stacked[number].t() for number in (range(1, count + 1) if self.every else (last,))]
        outputs = (changes, *found, *density)
        if not self.keeps:
            return outputs, [], None
        rest = folded, [len(group) for group in kept], _version(inputs[self.data :])
        return outputs, [each for group in kept for each in group], rest

    def gradients(
        self, inputs: Sequence[Tensor], saved: Sequence[Tensor], rest: Any, grad_outputs: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        """Return the gradients."""
        grad_data, stacks = self._gradients(inputs, saved, rest, grad_outputs)
        with kernels_alone():
            return [*grad_data, *(split(stacks) if stacks else [None] * len(inputs[self.data :]))]

    def add_gradients(
        self,
        inputs: Sequence[Tensor],
        saved: Sequence[Tensor],
        rest: Any,
        grad_outputs: Sequence[Tensor | None],
        data: int,
    ) -> Sequence[Tensor | None]:
        """Add the gradients by the parameters to their `grad`; return those by the data.

        Raises
        ------
        RuntimeError
            If the parameters have changed since the pass.
        """
        if _version(inputs[data:]) != rest[-1]:
            msg = "the parameters have changed since the pass: call backward() before the optimizer's step"
            raise RuntimeError(msg)
        grad_data, stacks = self._gradients(inputs, saved, rest, grad_outputs)
        if stacks:
            folded, *_ = rest
            with kernels_alone():
                folded.add_gradients(inputs[data:], stacks)
        return grad_data

    def _gradients(
        self, inputs: Sequence[Tensor], saved: Sequence[Tensor], rest: Any, grad_outputs: Sequence[Tensor | None]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return the gradients by the data and by the stacked parameters, from the last step to the first."""
        (grad_changes, *grad_states), count, half = grad_outputs, len(self.steps), self.parts.half
        grad_density, (folded, lengths, _) = grad_states.pop() if self.densities else None, rest
        trained = any(each.requires_grad for each in inputs[self.data :])
        with kernels_alone():
            mixing, network, transform, first = self._parts_of(folded)
            [stacked], mixed, givens, network_kept, transform.kept, first_kept = _groups(saved, lengths)
            if first is not None:
                first.transform.kept = first_kept
            network.begin_backward(network_kept)
            if trained:
                folded.prepare()
            states = _with_halves(stacked, half, count + 1)
            ys = states if mixing is None else _with_halves(mixed[0], half, count) if mixed else states[1:]
            grad_changes = stacked.new_zeros(1) if grad_changes is None else grad_changes
            grad_changes = grad_changes.expand(count, stacked.shape[2])
            grad_change = grad_changes.unbind()
            grad_states = [None] * (count - len(grad_states)) + grad_states
            gradient, buffer = _with_halves(torch.zeros_like(stacked[:2]), half, 2)
            if grad_density is not None:
                torch.mul(states[count].whole, -grad_density, out=gradient.whole)
            grad_context = None if not givens else stacked.new_zeros(inputs[1].shape[::-1])
            for step in range(count - 1, -1, -1):
                y, after, grad_state = ys[step], states[step + 1], grad_states[step]
                if grad_state is not None:
                    gradient.whole.add_(grad_state.t())
                values = y.changed, after.changed, gradient.changed
                grad_parameters = transform.backward(step, *values, grad_change[step])
                if first is not None:
                    first.backward(step, y.before, after.before, gradient.before, grad_change[step])
                if grad_context is None:
                    network.backward(step, grad_parameters, y.before, gradient.before)
                else:
                    grad_given = torch.zeros_like(givens[step])
                    network.backward(step, grad_parameters, givens[step], grad_given)
                    gradient.before.add_(grad_given[: len(gradient.before)])
                    grad_context.add_(grad_given[len(gradient.before) :])
                if mixing is not None:
                    mixing.backward(step, gradient.whole, states[step].whole, buffer.whole)
                    gradient, buffer = buffer, gradient
            grad_data = [each.t() for each in (gradient.whole, grad_context) if each is not None]
            return grad_data, folded.gradients(grad_changes.sum(1)) if trained else []

    def _parts_of(self, folded: Folded) -> tuple[LinearSteps | None, NetworkSteps, TransformSteps, _Shared | None]:
        """Return mixing, network, transform, and the transform of the features before if there is one."""
        mixing, network, first = self.parts.layers(folded.layers)
        steps = self.parts.transform.steps
        return mixing, network, steps(), None if first is None else _Shared(first, steps())


def _version(parameters: Sequence[Tensor]) -> int:
    """Return torch's count of changes of the first parameter: an optimizer or new weights change all."""
    return parameters[0]._version  # noqa: SLF001


class _Shared:
    """A transform with parameters that all examples share."""

    def __init__(self, parameters: LinearSteps, transform: TransformSteps) -> None:
        self._parameters, self.transform = parameters, transform

    def forward(self, step: int, x: Tensor, out: Tensor) -> None:
        """Set `out` to f(x)."""
        self.transform.forward(step, x, self._parameters.forward(step, x), out)

    def backward(self, step: int, x: Tensor, y: Tensor, grad_y: Tensor, grad_slopes: Tensor) -> None:
        """Change the gradient by f(x) to that by x."""
        self._parameters.backward(step, self.transform.backward(step, x, y, grad_y, grad_slopes), x)


def _standard_normal(z: Tensor) -> Tensor:
    """Return the log-density of latents, (D, B), in nats, (B,)."""
    return z.square().sum(0).add_(len(z) * LOG_TWO_PI).mul_(-0.5)


def _groups(tensors: Sequence[Tensor], lengths: Sequence[int]) -> list[list[Tensor]]:
    """Return groups of tensors of these lengths."""
    rest = iter(tensors)
    return [list(islice(rest, length)) for length in lengths]


class _State(NamedTuple):
    """A state, (D, B), its rows before those that a step changes (all rows if there are none), and the changed ones."""

    whole: Tensor
    before: Tensor
    changed: Tensor


def _with_halves(stacked: Tensor, half: int | None, count: int) -> list[_State]:
    """Return `count` states of a stack, from its first one again after the last one."""
    parts = stacked.unbind(), stacked[:, :half].unbind(), stacked[:, half or 0 :].unbind()
    each = [_State(*values) for values in zip(*parts, strict=True)]
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
