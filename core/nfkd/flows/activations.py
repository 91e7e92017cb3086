"""Activations of a training step: kept for the backward pass, or recomputed in it.

Under ``activations_in("recompute")`` a flow keeps only some tensors between its layers for the backward pass. The rest
is computed again, one layer at a time, when the gradient needs it:

- Consecutive layers whose inverse is one exact pass form a run. It keeps its output. The backward pass inverts layer by
  layer, as in reversible residual networks (Gomez et al. 2017, arXiv 1707.04585), and computes each layer once more
  with its gradient. A coupling does both with one evaluation of its network, which reads the half that stays.
- Every other layer keeps its input and is computed once more from it (Chen et al. 2016, arXiv 1604.06174). So are all
  layers in a pass that returns the output of each layer: their inputs are there anyway.
- A layer whose passes change its state, such as batch norm, keeps all its tensors.

Inverting rounds, and the error of a state grows from layer to layer. A run therefore ends after `LONGEST_RUN` layers.
If its input, which is in memory anyway, is not reached up to a tolerance, the run is computed again from its input. A
GPU is waited for at each such comparison.
Networks in bfloat16 are inverted in bfloat16: a coupling's network reads the same numbers again, but where the input of
a layer was inverted, a difference in float32's last bit may round to another bfloat16.

The gradients have no second derivatives and no forward mode: the terms that need these refuse the setting.

The setting is per thread: requests during training keep nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nfkd.flows.layer import Layer, Replay, Split
from nfkd.flows.precision import Precision, chosen_precision, networks_in

Activations = Literal["keep", "recompute"]
LONGEST_RUN = 17

_TOLERANCES: dict[Precision, float] = {"float32": 1e-5, "tf32": 1e-2, "bf16": 1e-2}
"""Error of a run's inverted input, relative to its norm. Usual are 10⁻⁶ in float32 and 10⁻³ in bf16."""

_chosen: ContextVar[Activations] = ContextVar("activations of a training step", default="keep")


@contextmanager
def activations_in(activations: Activations) -> Iterator[None]:
    """Set whether the flows in this thread keep or recompute the activations of passes with gradients."""
    token = _chosen.set(activations)
    try:
        yield
    finally:
        _chosen.reset(token)


def recomputing() -> bool:
    """Return whether a pass that starts now in this thread recomputes its activations."""
    return _chosen.get() == "recompute" and torch.is_grad_enabled()


def layers_of_pass(layers: Sequence[Layer | Split], *, every: bool = False) -> list[Layer | Split | Recomputed]:
    """Return the layers of a pass that starts now; where activations are recomputed, some of them as one.

    Parameters
    ----------
    layers
        In order from data to latents.
    every
        Whether the output of each layer is needed: all layers are then separate, and recomputed from their inputs.
    """
    return list(_recomputed(layers, every=every) if recomputing() else layers)


def _recomputed(layers: Sequence[Layer | Split], *, every: bool) -> Iterator[Layer | Split | Recomputed]:
    """Yield the layers, some as a `Recomputed`."""

    def way(layer: Layer | Split) -> str:
        if isinstance(layer, Split) or layer.recomputes == "from nothing":
            return "from nothing"
        return "from input" if every else layer.recomputes

    for found, group in groupby(layers, way):
        if found == "from nothing":
            yield from group
            continue
        alike = cast("list[Layer]", list(group))
        length = LONGEST_RUN if found == "from output" else 1
        for begin in range(0, len(alike), length):
            run = alike[begin : begin + length]
            yield Recomputed(run, from_input=found == "from input")


class Recomputed:
    """Consecutive layers as one, whose backward pass recomputes their activations.

    Parameters
    ----------
    layers
        In order from data to latents.
    from_input
        Whether the input is kept, else the output.
    """

    def __init__(self, layers: Sequence[Layer], *, from_input: bool) -> None:
        self._layers = tuple(layers if from_input else [part for layer in layers for part in layer.parts])
        self.from_input = from_input

    def __call__(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the image of x and the log-determinant, as `Layer.forward`."""
        return self._apply(x, context, inverse=False)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return x, as `Layer.inverse`."""
        return self._apply(y, context, inverse=True)[0]

    def _apply(self, x: Tensor, context: Tensor | None, *, inverse: bool) -> Any:
        parameters = [each for layer in self._layers for each in layer.parameters() if each.requires_grad]
        return _Recompute.apply(self, inverse, x, context, *parameters)

    def layers(self, *, inverse: bool) -> Sequence[Layer]:
        """Return the layers that are recomputed one at a time, in the order of the pass."""
        return self._layers[::-1] if inverse else self._layers


class _Recompute(torch.autograd.Function):
    """The pass of a `Recomputed` in either direction: the state and, from data to latents, the log-determinant."""

    @staticmethod
    def forward(
        ctx: Any, run: Recomputed, inverse: bool, x: Tensor, context: Tensor | None, *parameters: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.run, ctx.inverse, ctx.parameters, ctx.precision = run, inverse, parameters, chosen_precision()
        ctx.set_materialize_grads(False)
        state, log_det = x, x.new_zeros(len(x))
        for layer in run.layers(inverse=inverse):
            if inverse:
                state = layer.inverse(state, context)
            else:
                state, change = layer(state, context)
                log_det = log_det + change
        ctx.save_for_backward(x, None if run.from_input else state, context)
        return (state,) if inverse else (state, log_det)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, output, context = ctx.saved_tensors
        if ctx.needs_input_grad[3]:
            context = context.detach().requires_grad_()
        layers, inverse = ctx.run.layers(inverse=ctx.inverse), ctx.inverse
        found = None
        with torch.enable_grad(), networks_in(ctx.precision):  # a backward pass may have a thread of its own
            if output is not None:
                found = _pull_back(_replay_from_output(layers, output, context, inverse=inverse), gradients, context)
            if found is None or not _close(found.x, x, _TOLERANCES[ctx.precision]):
                found = _pull_back(_replay_from_input(layers, x, context, inverse=inverse), gradients, context)
        return None, None, found.grad_x, *(found.grad_others.get(each) for each in (context, *ctx.parameters))


def _replay_from_input(
    layers: Sequence[Layer], x: Tensor, context: Tensor | None, *, inverse: bool
) -> Iterator[tuple[Layer, Replay]]:
    """Yield the layers in reverse, each with its pass, after a pass that keeps the input of each."""
    inputs = [x]
    with torch.no_grad():
        for layer in layers[:-1]:
            inputs.append(layer.inverse(inputs[-1], context) if inverse else layer(inputs[-1], context)[0])
    for layer in reversed(layers):
        start = inputs.pop().detach().requires_grad_()
        yield layer, (start, (layer.inverse(start, context),) if inverse else layer(start, context))


def _replay_from_output(
    layers: Sequence[Layer], y: Tensor, context: Tensor | None, *, inverse: bool
) -> Iterator[tuple[Layer, Replay]]:
    """Yield the layers in reverse, each with its pass, whose input is the inverse of its output."""
    for layer in reversed(layers):
        replay = layer.replay_inverse(y, context) if inverse else layer.replay(y, context)
        yield layer, replay
        y = replay[0].detach()


@dataclass(frozen=True)
class _Found:
    """Gradients of a run by its input and by other tensors, and the input that the last layer's pass began with."""

    grad_x: Tensor | None
    grad_others: dict[Tensor | None, Tensor]
    x: Tensor


def _pull_back(
    replays: Iterable[tuple[Layer, Replay]], gradients: Sequence[Tensor | None], context: Tensor | None
) -> _Found:
    """Return the gradients of a run whose outputs have these gradients."""
    gradient, *grad_log_det = gradients
    sums: dict[Tensor | None, Tensor] = {}
    x = torch.empty(0)
    for layer, (x, outputs) in replays:
        others = [each for each in (*layer.parameters(), context) if each is not None and each.requires_grad]
        gradient, *grad_others = _gradients(outputs, [gradient, *grad_log_det], [x, *others])
        for each, value in zip(others, grad_others, strict=True):
            if value is not None:  # in the parameter's layout: else all of them would be copied at the end
                sums[each] = sums[each] + value if each in sums else value.contiguous()
    return _Found(gradient, sums, x.detach())


def _close(found: Tensor, x: Tensor, tolerance: float) -> bool:
    """Return whether each example of a state agrees with x, by the norm."""
    error, norm = (found - x).flatten(1).norm(dim=1), x.flatten(1).norm(dim=1)
    return bool((error <= tolerance * (1 + norm)).all())


def _gradients(
    outputs: Sequence[Tensor], gradients: Sequence[Tensor | None], inputs: Sequence[Tensor]
) -> Sequence[Tensor | None]:
    """Return the gradients by the inputs of outputs with these gradients; None counts as zero."""
    pairs = [
        (output, gradient)
        for output, gradient in zip(outputs, gradients, strict=True)
        if output.requires_grad and gradient is not None
    ]
    if not pairs:
        return [None] * len(inputs)
    used, grad_outputs = zip(*pairs, strict=True)
    return torch.autograd.grad(used, inputs, grad_outputs, allow_unused=True)
