"""The convolutional networks of image couplings as matrix products over pixels, with gradients by hand.

Both 3×3 convolutions have few channels on one side, where their nine neighbours are gathered or added up; all products
are then of matrices. oneDNN's convolutions take longer: they reorder weights and images at every call.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nfkd.flows.fused import FusedOperation
from nfkd.flows.image_networks import ImageNetworks
from nfkd.flows.windows import ImageTile, Windows, matrix, parts_of_images

CHUNK = 1 << 17
"""Hidden values that a thread computes at once: in float32, 0.5 MB a layer, so both layers stay in the cache."""
PARAMETERS = 9
"""Of a network."""


class PartwiseNetworks(ImageNetworks):
    """Networks whose matrices have a column for each pixel, computed for a part of the images at a time.

    The size of a part depends on `torch.get_num_threads()`. Gradients are added up part by part, so their last bits
    depend on the number of threads.

    Parameters
    ----------
    parameters, factors
        As for `ImageNetworks`.
    size
        (H, W, B) of the images.
    """

    def __init__(self, parameters: Sequence[Sequence[Tensor]], factors: Sequence[float], size: Sequence[int]) -> None:
        super().__init__(parameters, factors)
        self._size = size
        self._parts = parts_of_images(size, max(1, CHUNK * torch.get_num_threads() // self._hidden))
        self._pixels = [part.height * part.width * size[2] for part in self._parts]
        self._buffers: _Buffers | None = None

    def _new_matrices(self, count: int) -> list[Tensor]:
        """Return buffers for the matrices; in the first two, the last column is the bias, for a row of ones."""
        shapes = (
            (self._hidden, 9 * self._inputs + 1),
            (self._hidden, self._hidden + 1),
            (9 * self._outputs, self._hidden),
        )
        matrices = [self._scales[0].new_empty(count, *shape) for shape in shapes]
        for each, bias in zip(matrices[:2], self._biases, strict=False):
            each[..., -1].copy_(bias)
        return matrices

    def _arranged(self, matrices: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return views of matrices as weights."""
        first, middle, last = matrices
        return (
            first[..., :-1].view(*first.shape[:-1], -1, 3, 3),
            middle[..., :-1, None, None],
            last.view(*last.shape[:-2], -1, 3, 3, self._hidden).movedim(-1, -3),
        )

    def _forget_buffers(self) -> None:
        """Forget the buffers of the passes."""
        self._buffers, self._grad_hidden = None, []

    def _make_buffers(self) -> _Buffers:
        """Return the buffers of the passes, made at the first call."""
        if self._buffers is None:
            rows = self._matrix(9 * self._inputs + 1), self._matrix(9 * self._outputs)
            self._buffers = _Buffers(*rows, self._size, self._parts)
        return self._buffers

    def _matrix(self, rows: int, *first: int) -> Tensor:
        """Return a buffer for a matrix with a column for each pixel of the largest part, or several."""
        return matrix(rows, max(self._pixels), self._scales[0], *first)

    def _of_parts(self, rows: Sequence[Tensor]) -> list[Tensor]:
        """Return the columns that each part has."""
        most = max(self._pixels)
        return [each if own == most else each[:, :own] for each, own in zip(rows, self._pixels, strict=True)]

    def _layers(self, hidden: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return of each part the first hidden layer, the same with a row of ones, and the second."""
        count = self._hidden
        parts = self._of_parts(hidden.unbind() * (len(self._pixels) // len(hidden)))
        return [(each[:count], each[: count + 1], each[count + 1 :]) for each in parts]

    def new_hidden(self, *, keeps: bool) -> Tensor:
        """Return a buffer for both hidden layers of each part, with a row of ones between them; else of one part."""
        hidden = self._matrix(2 * self._hidden + 1, len(self._pixels) if keeps else 1)
        hidden[:, self._hidden].fill_(1)
        return hidden

    def forward(self, step: int, x: Tensor, hidden: Tensor) -> Tensor:
        """Return the outputs."""
        f1, f2, f3 = self._steps[step]
        buffers = self._make_buffers()
        buffers.x.image.copy_(x)
        buffers.out.fill(self._biases[2][step])
        for part, (h1, with_ones, h2) in enumerate(self._layers(hidden)):
            buffers.x.gather(part)
            torch.mm(f1, buffers.inputs[part], out=h1).clamp_(min=0)
            torch.mm(f2, with_ones, out=h2).clamp_(min=0)
            torch.mm(f3, h2, out=buffers.out.rows[part])
            buffers.out.scatter(part)
        return buffers.out.image

    def _prepare(self) -> Tensor:
        """Allocate buffers for a pass backwards."""
        buffers = self._make_buffers()
        both = [self._of_parts([self._matrix(self._hidden)] * len(self._pixels)) for _ in range(2)]
        self._grad_hidden = list(zip(*both, strict=True))
        return buffers.out.image

    def backward(self, step: int, x: Tensor, hidden: Tensor) -> Tensor:
        """Return the gradient by x; keep those by the parameters of the step."""
        f1, f2, f3 = self._steps[step]
        t1, t2, t3 = f1[:, :-1].t(), f2[:, :-1].t(), f3.t()
        buffers = self._make_buffers()
        if self._trained:
            buffers.x.image.copy_(x)
        buffers.grad_x.clear()
        for part, ((d1, d2), (h1, _, h2)) in enumerate(zip(self._grad_hidden, self._layers(hidden), strict=True)):
            # Each gradient by a matrix is computed while its operands are in the cache.
            grad_outputs = buffers.out.gather(part)
            times_slope(torch.mm(t3, grad_outputs, out=d2), h2)
            if self._trained:
                self._add_product(2, part, grad_outputs, h2)
                self._add_bias(step, part, d2)
            times_slope(torch.mm(t2, d2, out=d1), h1)
            if self._trained:
                self._add_product(1, part, d2, h1)
                buffers.x.gather(part)
                self._add_product(0, part, d1, buffers.inputs[part])
            torch.mm(t1, d1, out=buffers.grad_x.rows[part])
            buffers.grad_x.scatter(part)
        if self._trained:
            self._grad_biases[0][step].copy_(self._grad_matrices[0][:, -1])
            torch.sum(buffers.out.image, (1, 2, 3), out=self._grad_biases[2][step])
            self._unfold_step(step)
        return buffers.grad_x.image

    def _add_product(self, number: int, part: int, slopes: Tensor, inputs: Tensor) -> None:
        """Add the gradient by a matrix from a part; the first part sets it."""
        total = self._grad_matrices[number]
        (total[:, : len(inputs)] if number == 1 else total).addmm_(slopes, inputs.t(), beta=min(part, 1))

    def _add_bias(self, step: int, part: int, slopes: Tensor) -> None:
        """Add the gradient by the second bias from a part; the first part sets it."""
        total = self._grad_biases[1][step]
        if part == 0:
            torch.sum(slopes, 1, out=total)
        else:
            total.add_(slopes.sum(1))


class _Buffers:
    """What the passes of `PartwiseNetworks` write to: the windows of the inputs, of the outputs and their gradients.

    Attributes
    ----------
    inputs
        The windows of the inputs of each part, with a row of ones.
    x, out
        The inputs, and the outputs or the gradient by them. Backwards the border of `out` must be zero, but `fill`
        writes the bias there: `release` between the passes forgets the buffers.
    """

    def __init__(self, inputs: Tensor, outputs: Tensor, size: Sequence[int], parts: Sequence[ImageTile]) -> None:
        inputs[-1].fill_(1)
        self.inputs = [inputs[:, : part.height * part.width * size[2]] for part in parts]
        self.x = Windows(inputs[:-1], size, parts)
        # A convolution's outputs are the transpose of reading the windows in reverse.
        self.out = Windows(outputs, size, parts, reverse=True)
        # The same rows as x: `backward` reads the windows of a part before it writes their gradients.
        self._new_gradient = partial(Windows, inputs[:-1], size, parts)

    @cached_property
    def grad_x(self) -> Windows:
        """The gradient by the inputs."""
        return self._new_gradient()


class RoundedNetworks(ImageNetworks):
    """Networks whose operands are rounded to bfloat16 (`nfkd.flows.precision`), in matrices with a row for each pixel.

    oneDNN's bfloat16 products with a column for each pixel take two to three times as long.

    Parameters
    ----------
    parameters, factors, size
        As for `PartwiseNetworks`.
    """

    def __init__(self, parameters: Sequence[Sequence[Tensor]], factors: Sequence[float], size: Sequence[int]) -> None:
        super().__init__(parameters, factors)
        self._size = (size[2], *size[:2])
        self._rounded_biases = [bias.bfloat16() for bias in self._biases]

    def _new_matrices(self, count: int) -> list[Tensor]:
        """Return buffers for the matrices."""
        shapes = (self._hidden, 9 * self._inputs), (self._hidden, self._hidden), (9 * self._outputs, self._hidden)
        return [self._scales[0].new_empty(count, *shape, dtype=torch.bfloat16) for shape in shapes]

    def _arranged(self, matrices: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return views of matrices as weights."""
        first, middle, last = matrices
        first = first.view(*first.shape[:-1], 3, 3, -1).movedim(-1, -3)
        last = last.view(*last.shape[:-2], 3, 3, -1, self._hidden).movedim((-2, -1), (-4, -3))
        return first, middle[..., None, None], last

    def new_hidden(self, *, keeps: bool) -> Tensor:
        """Return a buffer for both hidden layers, (2, B·H·W, hidden)."""
        batch, height, width = self._size
        return self._scales[0].new_empty(2, batch * height * width, self._hidden, dtype=torch.bfloat16)

    def forward(self, step: int, x: Tensor, hidden: Tensor) -> Tensor:
        """Return the outputs."""
        f1, f2, f3 = self._steps[step]
        b1, b2, b3 = (each[step] for each in self._rounded_biases)
        h1, h2 = hidden.unbind()
        torch.addmm(b1, self._gathered(x), f1.t(), out=h1).relu_()
        torch.addmm(b2, h1, f2.t(), out=h2).relu_()
        # oneDNN adds up neighbours in float32.
        kernel = f3.view(3, 3, len(b3), -1).permute(2, 3, 0, 1)
        image = h2.view(*self._size, self._hidden).permute(0, 3, 1, 2)
        return functional.conv2d(image, kernel, b3, padding=1).permute(1, 2, 3, 0).to(x.dtype).contiguous()

    def _forget_buffers(self) -> None:
        """Forget the gradient by the outputs."""
        self._border = self._rounded_biases[2][:0]

    def _prepare(self) -> Tensor:
        """Allocate buffers for a pass backwards."""
        batch, height, width = self._size
        self._border = self._rounded_biases[2].new_zeros(batch, height + 2, width + 2, self._outputs)
        return self._border[:, 1:-1, 1:-1].permute(3, 1, 2, 0)

    def backward(self, step: int, x: Tensor, hidden: Tensor) -> Tensor:
        """Return the gradient by x; keep those by the parameters of the step."""
        f1, f2, f3 = self._steps[step]
        h1, h2 = hidden.unbind()
        gathered = _windows(self._border)
        d2 = times_slope(gathered.mm(self._flipped(f3)), h2)
        d1 = times_slope(d2.mm(f2), h1)
        if self._trained:
            products = d1.t().mm(self._gathered(x)), d2.t().mm(h1), self._flipped(gathered.t().mm(h2))
            for total, product in zip(self._grad_matrices, products, strict=True):
                total.copy_(product)
            self._unfold_step(step)
            for total, rows in zip(self._grad_biases, (d1, d2, self._border.flatten(0, 2)), strict=True):
                torch.sum(rows, 0, dtype=total.dtype, out=total[step])
        kernel = f1.view(-1, 3, 3, len(x)).flip(1, 2).permute(3, 0, 1, 2)
        image = d1.view(*self._size, self._hidden).permute(0, 3, 1, 2)
        return functional.conv2d(image, kernel, padding=1).permute(1, 2, 3, 0)

    @staticmethod
    def _flipped(last: Tensor) -> Tensor:
        """Return the last matrix, or its gradient, for the windows in reverse."""
        return last.unflatten(0, (9, -1)).flip(0).flatten(0, 1)

    @staticmethod
    def _gathered(x: Tensor) -> Tensor:
        """Return the window of each pixel, (B·H·W, 9·C), of images, (C, H, W, B), that are zero outside."""
        return _windows(functional.pad(x.permute(3, 1, 2, 0).bfloat16(), (0, 0, 1, 1, 1, 1)).contiguous())


def _windows(padded: Tensor) -> Tensor:
    """Return the 3×3 windows, (B·H·W, 9·C), of contiguous images with a border, (B, H + 2, W + 2, C)."""
    batch, height, width, channels = padded.shape
    image, row, pixel, channel = padded.stride()
    size, stride = (batch, height - 2, width - 2, 3, 3, channels), (image, row, pixel, row, pixel, channel)
    return padded.as_strided(size, stride).reshape(-1, 9 * channels)


def times_slope(gradient: Tensor, hidden: Tensor) -> Tensor:
    """Multiply a gradient by the slope of the ReLU whose output is `hidden`, in place."""
    return torch.ops.aten.threshold_backward.grad_input(gradient, hidden, 0, grad_input=gradient)


def image_networks(
    parameters: Sequence[Sequence[Tensor]], factors: Sequence[float], size: Sequence[int], *, narrow: bool
) -> ImageNetworks:
    """Return networks for images of a size, (H, W, B), in bfloat16 if narrow."""
    return (RoundedNetworks if narrow else PartwiseNetworks)(parameters, factors, size)


class Convolve(FusedOperation):
    """A network, from x, (B, inputs, H, W), and its nine parameters to its outputs, (B, outputs, H, W).

    Parameters
    ----------
    factors, narrow
        As for `image_networks`; the outputs have x's dtype.
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
        x, *parameters = inputs
        x = x.permute(1, 2, 3, 0)
        networks = image_networks([parameters], self._factors, x.shape[1:], narrow=self._narrow)
        hidden = networks.new_hidden(keeps=self.keeps)
        out = networks.forward(0, x, hidden)
        return (out.permute(3, 0, 1, 2).contiguous(),), (hidden, *networks.release()), networks

    def gradients(
        self, inputs: Sequence[Tensor], saved: Sequence[Tensor], rest: Any, grad_outputs: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        """Return the gradients."""
        networks, trained, [gradient] = rest, any(each.requires_grad for each in inputs[1:]), grad_outputs
        if gradient is None:
            return [None] * len(inputs)
        hidden, *matrices = saved
        networks.prepare(matrices, trained=trained).copy_(gradient.permute(1, 2, 3, 0))
        grad_x = networks.backward(0, inputs[0].permute(1, 2, 3, 0), hidden).permute(3, 0, 1, 2)
        grad_parameters = networks.gradients()[0] if trained else [None] * PARAMETERS
        networks.release()
        return [grad_x.to(inputs[0].dtype).contiguous(), *grad_parameters]
