"""Runs of equal steps of flows for images, as one operation each (`nfkd.flows.fused`).

With 8 images of 32×32 pixels, half of a step's time was that of torch's graph of many small operations. Here the LU
forms, norms and scales of all steps of a level are folded together, images have the examples last, the second half of
the channels is changed in place, and the gradient is by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from nfkd.flows.convolutions import image_networks
from nfkd.flows.coupling import Coupling, FlowStep
from nfkd.flows.fused import kernels_alone
from nfkd.flows.fused_run import Run
from nfkd.flows.networks import CONVOLUTION_FACTORS
from nfkd.flows.precision import rounds
from nfkd.flows.stacked import LU
from nfkd.flows.step_parts import CouplingParts
from nfkd.flows.transforms import ShiftScale
from nfkd.flows.windows import matrix

_MIXING = LU.count


class ImageRun(Run):
    """The steps as an operation: from x, (B, C, H, W), and all parameters, to changes, (K, B), and states."""

    def compute(self, inputs: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Sequence[Tensor], Any]:
        """Return the outputs; kept are the images before each step and its tensors."""
        with kernels_alone():
            change, images, kept, rest = self._compute(inputs[0], inputs[1:])
        # Views that torch knows as such: it refuses to change them in place, which would change kept images.
        states = [each.permute(3, 0, 1, 2) for each in images]
        return (change, *states), kept, rest

    def _compute(self, x: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, list[Tensor], list[Tensor], Any]:
        """Return changes, the images after every step or the last one, and what `gradients` needs."""
        count = len(self.steps)
        size = len(parameters) // count
        each = [parameters[size * step : size * (step + 1)] for step in range(count)]
        mixing, bound = self._mixing(), self._bound()
        mixed = mixing.fold([torch.stack(column) for column in zip(*(own[:_MIXING] for own in each), strict=True)])
        images = self._buffer(x).copy_(x.permute(1, 2, 3, 0))
        own = [own[_MIXING:] for own in each]
        networks = image_networks(own, CONVOLUTION_FACTORS, images.shape[1:], narrow=rounds(x))
        matrices, offsets = mixed[0].unbind(), mixed[1].unsqueeze(2).unbind()
        half, hidden, states, kept, changes = len(images) // 2, None, [], [], []
        for step in range(count):
            y = self._buffer(x)
            torch.addmm(offsets[step], matrices[step], _rows(images), out=_rows(y))
            given, changed = y[:half], y[half:]
            if self.keeps or hidden is None:
                hidden = networks.new_hidden(keeps=self.keeps)
            shift, raw = _pairs(networks.forward(step, given, hidden))
            log_scale = bound.value(raw)
            changed.add_(shift).mul_(log_scale.exp())
            changes.append(log_scale.flatten(0, 2).sum(0))
            if self.keeps:
                kept += (images, log_scale, hidden)
            images = y
            if self.every or step == count - 1:
                states.append(y)
        change = torch.stack(changes).add_((x.shape[2] * x.shape[3] * mixing.log_det(mixed)).unsqueeze(1))
        return change, states, [*networks.release(), *kept, images], (mixing, mixed, networks)

    def gradients(
        self, inputs: Sequence[Tensor], saved: Sequence[Tensor], rest: Any, grad_outputs: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        """Return the gradients, from the last step to the first."""
        trained = any(each.requires_grad for each in inputs[1:])
        with kernels_alone():
            grad_x, grad_parameters = self._gradients(inputs[0], saved, rest, grad_outputs, trained=trained)
        return [grad_x, *(grad_parameters if trained else [None] * (len(inputs) - 1))]

    def _gradients(
        self, x: Tensor, saved: Sequence[Tensor], rest: Any, grad_outputs: Sequence[Tensor | None], *, trained: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the gradients by x and, if trained, by the parameters."""
        mixing, mixed, networks = rest
        (grad_changes, *grad_states), count, bound = grad_outputs, len(self.steps), self._bound()
        matrices_of_networks, saved = saved[:3], saved[3:]
        grad_shift, grad_raw = _pairs(networks.prepare(matrices_of_networks, trained=trained))
        if grad_changes is None:
            grad_changes = x.new_zeros(count, len(x))
        if not self.every:
            grad_states = [None] * (count - 1) + grad_states
        matrices, grad_matrix, grad_bias = mixed[0].unbind(), torch.empty_like(mixed[0]), torch.empty_like(mixed[1])
        after, half = saved[-1], x.shape[1] // 2
        gradient, other = self._buffer(x).zero_(), self._buffer(x)
        for step in range(count - 1, -1, -1):
            images, log_scale, hidden = saved[3 * step : 3 * step + 3]
            grad_state = grad_states[step]
            if grad_state is not None:
                gradient.add_(grad_state.permute(1, 2, 3, 0))
            changed, grad_changed, scale = after[half:], gradient[half:], log_scale.exp()
            slopes = torch.addcmul(grad_changes[step], grad_changed, changed)
            torch.mul(slopes, bound.slope(log_scale, scale), out=grad_raw)
            grad_shift.copy_(grad_changed.mul_(scale))
            gradient[:half].add_(networks.backward(step, after[:half], hidden))
            rows = _rows(gradient)
            if trained:
                torch.mm(rows, _rows(images).t(), out=grad_matrix[step])
                torch.sum(rows, 1, out=grad_bias[step])
            torch.mm(matrices[step].t(), rows, out=_rows(other))
            gradient, other, after = other, gradient, images
        grad_x, grad_networks = gradient.permute(3, 0, 1, 2), networks.gradients() if trained else []
        networks.release()
        if not trained:
            return grad_x, []
        grad_mixing = mixing.unfold(mixed, grad_matrix, grad_bias)
        mixing.add_grad_log_det(grad_mixing, x.shape[2] * x.shape[3] * grad_changes.sum(1))
        grad_mixings = zip(*(each.unbind() for each in grad_mixing), strict=True)
        grad_each = zip(grad_mixings, grad_networks, strict=True)
        return grad_x, [gradient for mixing, network in grad_each for gradient in (*mixing, *network)]

    @staticmethod
    def _buffer(x: Tensor) -> Tensor:
        """Return a buffer for images, (C, H, W, B)."""
        batch, channels, height, width = x.shape
        return matrix(channels, height * width * batch, x).view(channels, height, width, batch)

    def _mixing(self) -> LU:
        return cast("LU", cast("CouplingParts", self.parts).mixing())

    def _bound(self) -> Any:
        coupling = cast("Coupling", cast("FlowStep", self.steps[0]).coupling)
        return cast("ShiftScale", coupling.transform).log_scale


def _rows(images: Tensor) -> Tensor:
    """Return images, (C, H, W, B), as a matrix with a row for each channel."""
    return images.flatten(1)


def _pairs(outputs: Tensor) -> Sequence[Tensor]:
    """Return the even and the odd channels of images, (C, H, W, B)."""
    return outputs[::2], outputs[1::2]
