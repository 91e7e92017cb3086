"""Runs of equal steps of flows for images, as one operation each (`nfkd.flows.fused`).

With 8 images of 32×32 pixels, half of a step's time was that of torch's graph of many small operations. Here the LU
forms, norms and scales of all steps of a level are folded together, images have the channels last, the second half of
the channels is changed in place, and the gradient is by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from nfkd.flows.convolutions import Kept, Networks
from nfkd.flows.coupling import Coupling, FlowStep
from nfkd.flows.fused_run import Run
from nfkd.flows.networks import CONVOLUTION_FACTORS
from nfkd.flows.precision import rounds
from nfkd.flows.stacked import LU
from nfkd.flows.step_parts import CouplingParts
from nfkd.flows.transforms import ShiftScale

_MIXING = LU.count


class ImageRun(Run):
    """The steps as an operation: from x, (B, C, H, W), and all parameters, to changes, (K, B), and states."""

    def compute(self, inputs: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Sequence[Tensor], Any]:
        """Return the outputs; kept are the images before each step and its tensors."""
        x, parameters, count = inputs[0], inputs[1:], len(self.steps)
        size = len(parameters) // count
        each = [parameters[size * step : size * (step + 1)] for step in range(count)]
        mixing, bound = self._mixing(), self._bound()
        mixed = mixing.fold([torch.stack(column) for column in zip(*(own[:_MIXING] for own in each), strict=True)])
        networks = Networks([own[_MIXING:] for own in each], CONVOLUTION_FACTORS, narrow=rounds(x))
        matrices, offsets = mixed[0].transpose(1, 2).unbind(), mixed[1].unbind()
        half = x.shape[1] // 2
        halves, states, kept, changes = [half, x.shape[1] - half], [], [], []
        images = x.permute(0, 2, 3, 1).contiguous()
        for step in range(count):
            y = torch.addmm(offsets[step], images.flatten(0, 2), matrices[step]).view(images.shape)
            given, changed = y.split(halves, 3)
            outputs, own = networks.forward(step, given, keeps=self.keeps)
            shift, raw = outputs.to(x.dtype).unflatten(3, (-1, 2)).unbind(4)
            log_scale = bound.value(raw)
            changed.add_(shift).mul_(log_scale.exp())
            changes.append(log_scale.flatten(1).sum(1))
            if own is not None:
                kept += (images, log_scale, *own)
            images = y
            if self.every or step == count - 1:
                states.append(y.permute(0, 3, 1, 2))
        change = torch.stack(changes).add_((x.shape[2] * x.shape[3] * mixing.log_det(mixed)).unsqueeze(1))
        return (change, *states), [*kept, images], (mixing, mixed, networks)

    def gradients(
        self, inputs: Sequence[Tensor], saved: Sequence[Tensor], rest: Any, of_outputs: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        """Return the gradients, from the last step to the first."""
        mixing, mixed, networks = rest
        (of_changes, *of_states), x, count, bound = of_outputs, inputs[0], len(self.steps), self._bound()
        trained = any(each.requires_grad for each in inputs[1:])
        if trained:
            networks.prepare()
        if of_changes is None:
            of_changes = x.new_zeros(count, len(x))
        of_change = of_changes.view(count, -1, 1, 1, 1).unbind()
        if not self.every:
            of_states = [None] * (count - 1) + of_states
        matrices, of_matrix, of_bias = mixed[0].unbind(), torch.empty_like(mixed[0]), torch.empty_like(mixed[1])
        after, size = saved[-1], 2 + len(Kept._fields)
        half = x.shape[1] // 2
        halves = [half, x.shape[1] - half]
        gradient = torch.zeros_like(after)
        for step in range(count - 1, -1, -1):
            images, log_scale, *kept = saved[step * size : (step + 1) * size]
            of_state = of_states[step]
            if of_state is not None:
                of_state = of_state.permute(0, 2, 3, 1)
                gradient = gradient.add_(of_state)
            (given, changed), scale = after.split(halves, 3), log_scale.exp()
            of_given, of_changed = gradient.split(halves, 3)
            slopes = torch.addcmul(of_change[step], of_changed, changed).mul_(bound.slope(log_scale, scale))
            of_changed.mul_(scale)
            border = self._border(slopes, of_changed, kept[0].dtype)
            of_given.add_(networks.backward(step, border, given, Kept(*kept), trained=trained))
            rows = gradient.flatten(0, 2)
            if trained:
                torch.mm(rows.t(), images.flatten(0, 2), out=of_matrix[step])
                torch.sum(rows, 0, out=of_bias[step])
            gradient = rows.mm(matrices[step]).view(after.shape)
            after = images
        of_x = gradient.permute(0, 3, 1, 2)
        if not trained:
            return [of_x, *[None] * (len(inputs) - 1)]
        of_mixing = mixing.unfold(mixed, of_matrix, of_bias)
        mixing.add_of_log_det(of_mixing, x.shape[2] * x.shape[3] * of_changes.sum(1))
        of_mixings = zip(*(each.unbind() for each in of_mixing), strict=True)
        of_each = zip(of_mixings, networks.gradients(), strict=True)
        return [of_x, *(gradient for mixing, network in of_each for gradient in (*mixing, *network))]

    @staticmethod
    def _border(of_raw: Tensor, of_shift: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the gradient by the network's outputs with a border of zeros, (B, H + 2, W + 2, outputs)."""
        batch, height, width, changed = of_raw.shape
        border = of_raw.new_zeros((batch, height + 2, width + 2, 2 * changed), dtype=dtype)
        inner = border[:, 1:-1, 1:-1].unflatten(3, (-1, 2))
        inner[..., 0].copy_(of_shift)
        inner[..., 1].copy_(of_raw)
        return border

    def _mixing(self) -> LU:
        return cast("LU", cast("CouplingParts", self.parts).mixing())

    def _bound(self) -> Any:
        coupling = cast("Coupling", cast("FlowStep", self.steps[0]).coupling)
        return cast("ShiftScale", coupling.transform).log_scale
