"""The convolutional networks of image couplings as matrix products over pixels, with gradients by hand.

A network is a 3×3 convolution to many hidden channels, a 1×1 convolution, and a 3×3 convolution back, with ReLUs
between. Both 3×3 convolutions have few channels on one side, where their nine neighbours are gathered (`unfold`) or
added up (`fold`); all products are then of matrices with a row for each pixel. oneDNN's convolutions take twice as
long: they reorder weights and images at every call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from nfkd.flows.fused import FusedOperation

CHUNK = 1 << 18
"""Hidden values in float32 that are computed at once, 1 MB: a layer's input is then still in the cache."""
PARAMETERS = 9
"""Of a network: weight w, bias b and s of each convolution, with weight w·exp(c·s) and bias b·exp(c·s)."""


def windows(padded: Tensor) -> Tensor:
    """Return the 3×3 windows, (B·H·W, 9·C), of contiguous images with a border, (B, H + 2, W + 2, C)."""
    batch, height, width, channels = padded.shape
    image, row, pixel, channel = padded.stride()
    size, stride = (batch, height - 2, width - 2, 3, 3, channels), (image, row, pixel, row, pixel, channel)
    return padded.as_strided(size, stride).reshape(-1, 9 * channels)


def with_border(x: Tensor) -> Tensor:
    """Return images, (B, H, W, C), with a border of zeros."""
    return functional.pad(x, (0, 0, 1, 1, 1, 1)).contiguous()


def unfold(x: Tensor) -> Tensor:
    """Return the 3×3 window of each pixel, (B·H·W, 9·C), of images, (B, H, W, C), that are zero outside."""
    return windows(with_border(x))


def fold(rows: Tensor, size: Sequence[int]) -> Tensor:
    """Return the transpose of `unfold`, (B, H, W, C): sums over the windows, (B·H·W, 9·C), which it overwrites."""
    batch, height, width = size
    upper, row, lower = rows.view(batch, height, width, 3, -1).unbind(3)
    row[:, :-1].add_(upper[:, 1:])
    row[:, 1:].add_(lower[:, :-1])
    left, column, right = row.unflatten(3, (3, -1)).unbind(3)
    column[:, :, :-1].add_(left[:, :, 1:])
    column[:, :, 1:].add_(right[:, :, :-1])
    return column


class Kept(NamedTuple):
    """What the gradient of a network needs, besides its input.

    Both hidden layers, (B·H·W, hidden), and the weights as matrices: (hidden, 9·inputs), (hidden, hidden) and
    (9·outputs, hidden), the last one with its kernels flipped.
    """

    h1: Tensor
    h2: Tensor
    f1: Tensor
    f2: Tensor
    f3: Tensor


class Networks:
    """The networks of K equal steps.

    Parameters
    ----------
    parameters
        Those of every step, `PARAMETERS` each.
    factors
        c of each convolution.
    narrow
        Whether operands are rounded to bfloat16 (`nfkd.flows.precision`).
    """

    def __init__(self, parameters: Sequence[Sequence[Tensor]], factors: Sequence[float], *, narrow: bool) -> None:
        self._factors, self.narrow = factors, narrow
        columns = list(zip(*parameters, strict=True))
        self._weights = columns[::3]
        self._biases = [torch.stack(column) for column in columns[1::3]]
        log_scales = [torch.stack(column) for column in columns[2::3]]
        self._scales = [self._times(value, factor).exp_() for value, factor in zip(log_scales, factors, strict=True)]
        folded = [bias * scale for bias, scale in zip(self._biases, self._scales, strict=True)]
        self._dtype = torch.bfloat16 if narrow else folded[0].dtype
        self._folded = [each.to(self._dtype).unbind() for each in folded]
        self._each_scale = [each.unbind() for each in self._scales]

    @staticmethod
    def _times(value: Tensor, factor: float) -> Tensor:
        return value if factor == 1 else value.mul_(factor)

    def _scaled(self, weight: Tensor, scale: Tensor, *, narrow: bool) -> Tensor:
        """Return weight · scale, contiguous."""
        dtype = torch.bfloat16 if narrow else scale.dtype
        return torch.mul(weight, scale, out=torch.empty(weight.shape, dtype=dtype, device=weight.device))

    def forward(self, step: int, x: Tensor, *, keeps: bool) -> tuple[Tensor, Kept | None]:
        """Return the outputs, (B, H, W, outputs), for x, (B, H, W, inputs), and what `backward` needs, if wanted."""
        (w1, w2, w3), (s1, s2, s3) = (each[step] for each in self._weights), (each[step] for each in self._each_scale)
        biases = [each[step] for each in self._folded]
        f1 = self._scaled(w1.permute(0, 2, 3, 1), s1.view(-1, 1, 1, 1), narrow=self.narrow).flatten(1)
        f2 = self._scaled(w2.flatten(1), s2.unsqueeze(1), narrow=self.narrow)
        f3 = self._scaled(w3.flip(2, 3).permute(2, 3, 0, 1), s3.unsqueeze(1), narrow=self.narrow).flatten(0, 2)
        pixels, hidden = x.shape[1] * x.shape[2], len(f1)
        images = len(x) if self.narrow else max(1, min(len(x), CHUNK // (pixels * hidden)))
        rows = len(x) * pixels if keeps else images * pixels
        h1, h2 = (torch.empty(rows, hidden, dtype=self._dtype, device=x.device) for _ in range(2))
        outputs: list[Tensor] = []
        for start in range(0, len(x), images):
            part = x[start : start + images].to(self._dtype)
            first = start * pixels if keeps else 0
            own = [each[first : first + len(part) * pixels] for each in (h1, h2)]
            torch.addmm(biases[0], unfold(part), f1.t(), out=own[0]).relu_()
            torch.addmm(biases[1], own[0], f2.t(), out=own[1]).relu_()
            outputs.append(self._last(own[1], f3, biases[2], part.shape[:3]))
        out = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        return out, Kept(h1, h2, f1, f2, f3) if keeps else None

    def _last(self, h: Tensor, matrix: Tensor, bias: Tensor, size: Sequence[int]) -> Tensor:
        """Return the outputs of the last convolution."""
        if not self.narrow:
            return fold(h.mm(matrix.t()), size) + bias
        # oneDNN adds up in float32; `fold` would add up in bfloat16.
        kernel = matrix.view(3, 3, len(bias), -1).flip(0, 1).permute(2, 3, 0, 1)
        return functional.conv2d(h.view(*size, -1).permute(0, 3, 1, 2), kernel, bias, padding=1).permute(0, 2, 3, 1)

    def prepare(self) -> None:
        """Make room for the gradients by the parameters."""
        self._of_folded = [torch.empty_like(each) for each in self._scales]
        self._of_scales = [torch.empty_like(each) for each in self._scales]
        self._of_weights: list[list[Tensor]] = [[] for _ in self._weights]

    def backward(self, step: int, border: Tensor, x: Tensor, kept: Kept, *, trained: bool) -> Tensor:
        """Return the gradient by x, (B, H, W, inputs); keep those by the parameters of the step, after `prepare`.

        Parameters
        ----------
        step
            From the last to the first.
        border
            The gradient by the outputs, with a border of zeros.
        x, kept
            The input, and what `forward` returned.
        trained
            Whether gradients by the parameters are wanted.
        """
        h1, h2, f1, f2, f3 = kept
        channels = x.shape[3]
        gathered = windows(border)
        d2 = torch.ops.aten.threshold_backward(gathered.mm(f3), h2, 0)
        d1 = torch.ops.aten.threshold_backward(d2.mm(f2), h1, 0)
        if trained:
            g1 = d1.t().mm(unfold(x.to(h1.dtype))).view(-1, 3, 3, channels).permute(0, 3, 1, 2)
            g2 = d2.t().mm(h1).unflatten(1, (-1, 1, 1))
            g3 = gathered.t().mm(h2).view(3, 3, -1, h2.shape[1]).flip(0, 1).permute(2, 3, 0, 1)
            for number, (by_weight, rows) in enumerate(((g1, d1), (g2, d2), (g3, border.flatten(0, 2)))):
                self._keep(number, step, by_weight, rows)
        if not self.narrow:
            return fold(d1.mm(f1), x.shape[:3])
        kernel = f1.view(-1, 3, 3, channels).flip(1, 2).permute(3, 0, 1, 2)
        image = d1.view(*x.shape[:3], -1).permute(0, 3, 1, 2)
        return functional.conv2d(image, kernel, padding=1).permute(0, 2, 3, 1)

    def _keep(self, number: int, step: int, by_weight: Tensor, rows: Tensor) -> None:
        scale, weight = self._each_scale[number][step], self._weights[number][step]
        torch.sum(rows, 0, dtype=scale.dtype, out=self._of_folded[number][step])
        of_weight = self._scaled(by_weight, scale.view(-1, 1, 1, 1), narrow=False)
        torch.sum((of_weight * weight).flatten(1), 1, out=self._of_scales[number][step])
        self._of_weights[number].append(of_weight)

    def gradients(self) -> list[list[Tensor]]:
        """Return the gradients by the parameters of each step, after `backward` of all steps."""
        found: list[Sequence[Tensor]] = []
        for number, factor in enumerate(self._factors):
            of_bias = self._of_folded[number] * self._scales[number]
            of_log_scale = self._of_scales[number].addcmul_(of_bias, self._biases[number])
            found += [self._of_weights[number][::-1], of_bias.unbind(), self._times(of_log_scale, factor).unbind()]
        return [list(each) for each in zip(*found, strict=True)]


class Convolve(FusedOperation):
    """A network, from x, (B, inputs, H, W), and its nine parameters to its outputs, (B, outputs, H, W).

    Parameters
    ----------
    factors, narrow
        As for `Networks`; the outputs have x's dtype.
    """

    def __init__(self, factors: Sequence[float], *, narrow: bool) -> None:
        self._factors, self._narrow = factors, narrow

    def plain(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the outputs of torch's convolutions."""
        x, *parameters = inputs
        for number, factor in enumerate(self._factors):
            weight, bias, log_scale = parameters[3 * number : 3 * number + 3]
            scale = (factor * log_scale).exp()
            operands = [x, weight * scale.view(-1, 1, 1, 1), bias * scale]
            if self._narrow:
                operands = [each.bfloat16() for each in operands]
            x = functional.conv2d(*operands, padding=weight.shape[-1] // 2)
            x = x if number == 2 else x.relu()
        return (x.to(inputs[0].dtype),)

    def compute(self, inputs: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Sequence[Tensor], Any]:
        """Return the outputs and what the gradient needs."""
        networks = Networks([inputs[1:]], self._factors, narrow=self._narrow)
        out, kept = networks.forward(0, inputs[0].permute(0, 2, 3, 1), keeps=self.keeps)
        return (out.permute(0, 3, 1, 2).to(inputs[0].dtype),), kept or (), networks

    def gradients(
        self, inputs: Sequence[Tensor], saved: Sequence[Tensor], rest: Any, of_outputs: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        """Return the gradients."""
        networks, trained, [gradient] = rest, any(each.requires_grad for each in inputs[1:]), of_outputs
        if gradient is None:
            return [None] * len(inputs)
        if trained:
            networks.prepare()
        kept = Kept(*saved)
        border = with_border(gradient.permute(0, 2, 3, 1).to(kept.h1.dtype))
        of_x = networks.backward(0, border, inputs[0].permute(0, 2, 3, 1), kept, trained=trained)
        of_parameters = networks.gradients()[0] if trained else [None] * PARAMETERS
        return [of_x.permute(0, 3, 1, 2).to(inputs[0].dtype), *of_parameters]
