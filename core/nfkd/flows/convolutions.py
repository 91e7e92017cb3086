"""The convolutional network of an image coupling as matrix products over pixels, with its derivatives by hand.

The network is a 3×3 convolution to many hidden channels, a 1×1 convolution, and a 3×3 convolution back, with ReLUs
between. Both 3×3 convolutions have few channels on one side, where their nine neighbours are gathered (`unfold`) or
added up (`fold`); all products are then of matrices with a row for each pixel. oneDNN's convolutions take twice as
long: they reorder weights and images at every call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional


class Convolution(NamedTuple):
    """A convolution with weight w·exp(s), (outputs, inputs, k, k), and bias b·exp(s), where s = factor · log_scale."""

    weight: Tensor
    bias: Tensor
    log_scale: Tensor
    factor: float = 1.0

    def scale(self) -> Tensor:
        """Return exp(s), (outputs,)."""
        return self.log_scale.exp() if self.factor == 1 else (self.factor * self.log_scale).exp()

    def apply(self, x: Tensor, *, narrow: bool) -> Tensor:
        """Return the outputs by torch's convolution; see `convolve`."""
        scale = self.scale()
        weight, bias = self.weight * scale.view(-1, 1, 1, 1), self.bias * scale
        if narrow:
            x, weight, bias = x.bfloat16(), weight.bfloat16(), bias.bfloat16()
        return functional.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)

    def gradients(self, by_weight: Tensor, by_bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of weight, bias and log_scale from those of w·exp(s) and b·exp(s)."""
        scale = self.scale()
        weight = _scaled(by_weight, scale.view(-1, 1, 1, 1), self.weight.dtype)
        bias = by_bias * scale
        log_scale = (weight * self.weight).flatten(1).sum(1).addcmul_(bias, self.bias)
        return weight, bias, log_scale if self.factor == 1 else log_scale.mul_(self.factor)


Convolutions = tuple[Convolution, Convolution, Convolution]
"""The network: kernel sizes 3, 1 and 3."""


def transforming() -> bool:
    """Return whether a transform of `torch.func` or forward differentiation is active; both need torch's own steps."""
    return torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0


def unfold(x: Tensor) -> Tensor:
    """Return the nine neighbours of each pixel, (B·H·W, 9·C) in rows, then columns, of x, (B, H, W, C); zero outside."""
    return windows(functional.pad(x, (0, 0, 1, 1, 1, 1)).contiguous())


def windows(padded: Tensor) -> Tensor:
    """Return the 3×3 windows, (B·H·W, 9·C), of contiguous images with a border, (B, H + 2, W + 2, C)."""
    batch, height, width, channels = padded.shape
    image, row, pixel, channel = padded.stride()
    size, stride = (batch, height - 2, width - 2, 3, 3, channels), (image, row, pixel, row, pixel, channel)
    return padded.as_strided(size, stride).reshape(-1, 9 * channels)


def fold(rows: Tensor, batch: int, height: int, width: int) -> Tensor:
    """Return the transpose of `unfold`, (B, H, W, C): sums over the windows, (B·H·W, 9·C), which it overwrites."""
    windows = rows.view(batch, height, width, 3, -1)
    row = windows[:, :, :, 1]
    row[:, :-1].add_(windows[:, 1:, :, 0])
    row[:, 1:].add_(windows[:, :-1, :, 2])
    columns = row.unflatten(-1, (3, -1))
    column = columns[:, :, :, 1]
    column[:, :, :-1].add_(columns[:, :, 1:, 0])
    column[:, :, 1:].add_(columns[:, :, :-1, 2])
    return column


def convolve(x: Tensor, layers: Convolutions, *, narrow: bool) -> Tensor:
    """Return the outputs of the network, (B, outputs, H, W).

    Parameters
    ----------
    x
        (B, inputs, H, W).
    layers
        The network.
    narrow
        Whether operands are rounded to bfloat16 (`nfkd.flows.precision`); the outputs are then bfloat16.
    """
    parameters = [value for layer in layers for value in layer[:3]]
    return cast("Tensor", _Network.apply(x, [layer.factor for layer in layers], narrow, *parameters))


def gather(parameters: Sequence[Tensor], factors: Sequence[float]) -> Convolutions:
    """Return the network of its nine parameters."""
    first, middle, last = (Convolution(*parameters[3 * n : 3 * n + 3], factors[n]) for n in range(3))
    return first, middle, last


def convolve_plainly(x: Tensor, layers: Convolutions, *, narrow: bool) -> Tensor:
    """Return the same by torch's convolutions, which can be differentiated any number of times."""
    first, middle, last = layers
    h = middle.apply(first.apply(x, narrow=narrow).relu(), narrow=narrow).relu()
    return last.apply(h, narrow=narrow)


def _scaled(weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """Return weight · scale, contiguous."""
    return torch.mul(weight, scale, out=torch.empty(weight.shape, dtype=dtype, device=weight.device))


class Saved(NamedTuple):
    """What the backward pass of a network needs, besides its input and parameters.

    Both hidden layers, (B·H·W, hidden), and the weights as matrices: (hidden, 9·inputs), (hidden, hidden) and
    (9·outputs, hidden), the last one with its kernels flipped.
    """

    h1: Tensor
    h2: Tensor
    f1: Tensor
    f2: Tensor
    f3: Tensor


def run(x: Tensor, layers: Convolutions, *, narrow: bool) -> tuple[Tensor, Saved]:
    """Return the network's outputs, (B, H, W, outputs), for x, (B, H, W, inputs); without gradients."""
    dtype = torch.bfloat16 if narrow else x.dtype
    first, middle, last = layers
    e1, e2, e3 = first.scale(), middle.scale(), last.scale()
    f1 = _scaled(first.weight.permute(0, 2, 3, 1), e1.view(-1, 1, 1, 1), dtype).flatten(1)
    f2 = _scaled(middle.weight.flatten(1), e2[:, None], dtype)
    f3 = _scaled(last.weight.flip(2, 3).permute(2, 3, 0, 1), e3[:, None], dtype).flatten(0, 2)
    h1 = torch.addmm((first.bias * e1).to(dtype), unfold(x.to(dtype)), f1.t()).relu_()
    h2 = torch.addmm((middle.bias * e2).to(dtype), h1, f2.t()).relu_()
    bias, size = last.bias * e3, x.shape[:3]
    if narrow:  # oneDNN adds up in float32; `fold` would add up in bfloat16
        kernel = f3.view(3, 3, *last.weight.shape[:2]).permute(2, 3, 0, 1).flip(2, 3)
        image = h2.view(*size, -1).permute(0, 3, 1, 2)
        out = functional.conv2d(image, kernel, bias.to(dtype), padding=1).permute(0, 2, 3, 1)
    else:
        out = fold(h2 @ f3.t(), *size) + bias
    return out, Saved(h1, h2, f1, f2, f3)


def run_backward(
    x: Tensor, layers: Convolutions, saved: Saved, border: Tensor, *, inputs: bool, parameters: bool
) -> tuple[Tensor | None, list[Tensor | None]]:
    """Return the gradients by x, (B, H, W, inputs), and by the nine parameters; None where they are not wanted.

    Parameters
    ----------
    x, layers
        As for `run`.
    saved
        As `run` returned it.
    border
        The gradient by the outputs with a border of zeros, (B, H + 2, W + 2, outputs).
    inputs, parameters
        Which gradients are wanted.
    """
    h1, h2, f1, f2, f3 = saved
    gathered = windows(border)
    d2 = torch.ops.aten.threshold_backward(gathered @ f3, h2, 0)
    d1 = torch.ops.aten.threshold_backward(d2 @ f2, h1, 0)
    by_x: Tensor | None = None
    if inputs and h1.dtype == x.dtype:
        by_x = fold(d1 @ f1, *x.shape[:3])
    elif inputs:
        kernel = f1.view(-1, 3, 3, x.shape[3]).permute(3, 0, 1, 2).flip(2, 3)
        image = d1.view(*x.shape[:3], -1).permute(0, 3, 1, 2)
        by_x = functional.conv2d(image, kernel, padding=1).permute(0, 2, 3, 1)
    if not parameters:
        return by_x, [None] * 9
    first, middle, last = layers
    g1 = (d1.t() @ unfold(x.to(h1.dtype))).view(-1, 3, 3, x.shape[3]).permute(0, 3, 1, 2)
    g2 = (d2.t() @ h1).view_as(middle.weight)
    g3 = (gathered.t() @ h2).view(3, 3, *last.weight.shape[:2]).flip(0, 1).permute(2, 3, 0, 1)
    return by_x, [
        *first.gradients(g1, d1.sum(0, dtype=x.dtype)),
        *middle.gradients(g2, d2.sum(0, dtype=x.dtype)),
        *last.gradients(g3, border.sum((0, 1, 2), dtype=x.dtype)),
    ]


class _Network(Function):
    """`convolve`; its backward pass is that of `convolve_plainly` where it is differentiated again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factors: list[float], narrow: bool, *parameters: Tensor) -> Tensor:  # noqa: FBT001
        out, saved = run(x.permute(0, 2, 3, 1), gather(parameters, factors), narrow=narrow)
        ctx.save_for_backward(x, *parameters, *saved)
        ctx.options = factors, narrow
        return out.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, *rest = ctx.saved_tensors
        parameters, saved, (factors, narrow) = rest[:9], Saved(*rest[9:]), ctx.options
        needs, [gradient] = ctx.needs_input_grad, gradients
        if torch.is_grad_enabled():

            def plain(x: Tensor, *parameters: Tensor) -> Tensor:
                return convolve_plainly(x, gather(parameters, factors), narrow=narrow)

            by_x, *by_parameters = differentiable(plain, [x, *parameters], [gradient], [needs[0], *needs[3:]])
        else:
            border = functional.pad(gradient.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()
            images, layers = x.permute(0, 2, 3, 1), gather(parameters, factors)
            by_x, by_parameters = run_backward(
                images, layers, saved, border, inputs=needs[0], parameters=any(needs[3:])
            )
            by_x = None if by_x is None else by_x.permute(0, 3, 1, 2).to(x.dtype)
        return (by_x, None, None, *by_parameters)


def differentiable(
    function: Any, inputs: Sequence[Tensor], gradients: Sequence[Tensor], needs: Sequence[bool]
) -> list[Tensor | None]:
    """Return the gradients of a function's inputs as a graph that can be differentiated again.

    Parameters
    ----------
    function
        Returns a tensor or several.
    inputs
        Its inputs.
    gradients
        By its outputs.
    needs
        For each input, whether its gradient is wanted; None is returned for the others.
    """
    copies = [value.view_as(value) for value in inputs]
    wanted = [copy for copy, need in zip(copies, needs, strict=True) if need]
    found = iter(torch.autograd.grad(function(*copies), wanted, gradients, create_graph=True))
    return [next(found) if need else None for need in needs]
