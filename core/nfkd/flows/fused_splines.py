"""Rational-quadratic splines with gradients by hand; examples last, as in `nfkd.flows.fused_transforms`.

Softmax over eight bins that are last in memory takes ten times as long as over eight rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from nfkd.flows.fused_transforms import SeparateRows
from nfkd.flows.splines import LARGEST_SLOPE, RAW_SLOPE_OF_ONE, SMALLEST_BIN, SMALLEST_SLOPE


@dataclass(frozen=True)
class SplineRows(SeparateRows):
    """`nfkd.flows.splines.Spline` of K bins from [−B, B] onto itself.

    The parameters may also be (P·n, 1), the same for all examples.

    Attributes
    ----------
    bins
        K.
    bound
        B.
    """

    kept: ClassVar[int] = 7
    bins: int
    bound: float

    def forward(self, x: Tensor, parameters: Tensor, out: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Set `out` to f(x) and return the sum of log f′.

        Kept are sizes of all bins, (2, K, n, …), x's bin, its starts and sizes, (2, n, B), raw slopes and slopes at its
        ends, (2, n, B), and the fraction of the bin that is left of x.
        """
        rows, bins = len(x), self.bins
        parameters = parameters.unflatten(0, (3 * bins - 1, rows))
        sizes = parameters[: 2 * bins].unflatten(0, (2, bins)).softmax(1)
        sizes.mul_(self._span - bins * self._smallest).add_(self._smallest)
        knots = torch.empty_like(sizes)
        knots[:, 0] = -self.bound
        for number in range(1, bins):
            torch.add(knots[:, number - 1], sizes[:, number - 1], out=knots[:, number])
        clamped = x.clamp(-self.bound, self.bound)
        index = (clamped >= knots[0, 1:]).sum(0)
        starts, spans = self._at(knots, index), self._at(sizes, index)
        raw = parameters[2 * bins :].expand(-1, *x.shape).gather(0, self._ends(index)).add_(RAW_SLOPE_OF_ONE)
        slopes = functional.softplus(raw).add_(SMALLEST_SLOPE).clamp_(max=LARGEST_SLOPE)
        self._fill_outer(slopes, index, 1.0)
        (left, bottom), (width, height), (first, last) = starts, spans, slopes
        fraction = ((clamped - left) / width).clamp_(0, 1)
        slope, rest = height / width, 1 - fraction
        product, square = fraction * rest, fraction * fraction
        divisor = torch.addcmul(slope, first + last - 2 * slope, product)
        y = torch.addcmul(bottom, height, torch.addcmul(first * product, slope, square) / divisor)
        derivative = torch.addcmul(last * square + 2 * slope * product, first, rest * rest)
        log_slope = (derivative * (slope / divisor).square()).log_()
        inside = x.abs() < self.bound
        kept = (sizes, index, starts, spans, raw, slopes, fraction)
        torch.where(inside, y, x, out=out)
        return log_slope.masked_fill_(~inside, 0).sum(0), kept

    def backward(self, x: Tensor, y: Tensor, kept: Sequence[Tensor], grad_y: Tensor, grad_slopes: Tensor) -> Tensor:
        """Return the gradients by the parameters."""
        sizes, index, starts, spans, raw, slopes, fraction = kept
        (width, height), (first, last) = spans, slopes
        outside = x.abs() >= self.bound
        grad_value, grad_log = grad_y.masked_fill(outside, 0), grad_slopes.expand_as(x).masked_fill(outside, 0)
        slope, rest = height / width, 1 - fraction
        product, square, rest_square = fraction * rest, fraction * fraction, rest * rest
        bend = first + last - 2 * slope
        inverse_divisor = 1 / torch.addcmul(slope, bend, product)
        derivative = torch.addcmul(last * square + 2 * slope * product, first, rest_square)
        risen = torch.addcmul(first * product, slope, square).mul_(inverse_divisor)
        # grad_value by the slopes at the ends and in the bin, each with a factor height / divisor
        scaled, grad_derivative = grad_value * height * inverse_divisor, grad_log / derivative
        grad_divisor = (grad_log * -2).mul_(inverse_divisor).addcmul_(scaled, risen, value=-1)
        grad_product = grad_divisor * product
        grad_ends = torch.stack(
            (
                grad_product.addcmul(scaled, product).addcmul_(grad_derivative, rest_square),
                grad_product.addcmul(grad_derivative, square),
            )
        )
        grad_slope = (2 / slope).mul_(grad_log).add_(grad_divisor).sub_(2 * grad_product)
        grad_slope.addcmul_(scaled, square).addcmul_(grad_derivative, product, value=2)
        lean = 1 - 2 * fraction
        grad_fraction = grad_divisor.mul_(bend).mul_(lean)
        grad_fraction.addcmul_(scaled, torch.addcmul(2 * slope * fraction, first, lean))
        grad_fraction.addcmul_(grad_derivative, (last * fraction + slope * lean - first * rest).mul_(2))
        grad_inside = grad_fraction / width
        grad_width = torch.addcmul(grad_slope * slope / width, grad_inside, fraction).neg_()
        grad_height = torch.addcmul(grad_slope / width, grad_value, risen)
        grad_starts, grad_spans = torch.stack((-grad_inside, grad_value)), torch.stack((grad_width, grad_height))
        grad_raw = grad_ends.mul_(raw.sigmoid()).masked_fill_(slopes >= LARGEST_SLOPE, 0)
        self._fill_outer(grad_raw, index, 0.0)
        by_element = sizes.shape[-1] == x.shape[1]
        gather = self._element_gradients if by_element else self._shared_gradients
        grad_y.copy_(torch.where(outside, grad_y, grad_inside))
        return gather(sizes, index, starts, spans, grad_starts, grad_spans, grad_raw)

    @property
    def _span(self) -> float:
        return 2 * self.bound

    @property
    def _smallest(self) -> float:
        return SMALLEST_BIN * self._span

    @staticmethod
    def _at(values: Tensor, index: Tensor) -> Tensor:
        """Return both values, (2, K, n, …), at the bin of each element, (2, n, B)."""
        at = index.expand(2, 1, *index.shape)
        return values.expand(-1, -1, *index.shape).gather(1, at).squeeze(1)

    def _ends(self, index: Tensor) -> Tensor:
        """Return the rows of the raw slopes at both ends of a bin, (2, n, B); any row at the outer ends."""
        return torch.stack((index - 1, index)).clamp_(0, self.bins - 2)

    def _fill_outer(self, values: Tensor, index: Tensor, value: float) -> None:
        """Set values of both ends of a bin, (2, n, B), where an end is the first or the last knot."""
        values[0].masked_fill_(index == 0, value)
        values[1].masked_fill_(index == self.bins - 1, value)

    def _element_gradients(
        self,
        sizes: Tensor,
        index: Tensor,
        starts: Tensor,
        spans: Tensor,
        grad_starts: Tensor,
        grad_spans: Tensor,
        grad_raw: Tensor,
    ) -> Tensor:
        """Return the gradient by parameters of each element, (P·n, B).

        A start is the sum of the sizes before it. A softmax s has the gradient s·(g − Σ s·g).
        """
        bins, (rows, count) = self.bins, index.shape
        found = sizes.new_empty(3 * bins - 1, rows, count)
        grad_sizes = found[: 2 * bins].view(2, bins, rows, count)
        before = torch.add(starts, index, alpha=-self._smallest).add_(self.bound)
        mean = torch.addcmul(grad_starts * before, grad_spans, spans - self._smallest)
        mean.mul_(1 / (self._span - bins * self._smallest))
        earlier = torch.arange(bins, device=index.device).view(-1, 1, 1) < index
        torch.where(earlier, (grad_starts - mean).unsqueeze(1), (-mean).unsqueeze(1), out=grad_sizes)
        grad_sizes.scatter_add_(1, index.expand(2, 1, rows, count), grad_spans.unsqueeze(1))
        grad_sizes.mul_(sizes - self._smallest)
        found[2 * bins :].zero_().scatter_add_(0, self._ends(index), grad_raw)
        return found.flatten(0, 1)

    def _shared_gradients(
        self,
        sizes: Tensor,
        index: Tensor,
        starts: Tensor,
        spans: Tensor,
        grad_starts: Tensor,
        grad_spans: Tensor,
        grad_raw: Tensor,
    ) -> Tensor:
        """Return the gradient by parameters that all elements of a row share, (P·n, 1)."""
        bins, rows = self.bins, len(index)
        at = index.expand(2, -1, -1)
        totals = sizes.new_zeros(2, 2, rows, bins)
        totals[0].scatter_add_(2, at, grad_starts)
        totals[1].scatter_add_(2, at, grad_spans)
        later = totals[0].flip(2).cumsum(2).flip(2) - totals[0]
        shares = sizes.squeeze(3).transpose(1, 2) - self._smallest
        grad_sizes = later + totals[1]
        mean = (shares * grad_sizes).sum(2, keepdim=True) / (self._span - bins * self._smallest)
        grad_sizes = ((grad_sizes - mean) * shares).transpose(1, 2).reshape(2 * bins, rows)
        grad_slopes = sizes.new_zeros(rows, bins - 1)
        for end, values in zip(self._ends(index), grad_raw, strict=True):
            grad_slopes.scatter_add_(1, end, values)
        return torch.cat((grad_sizes, grad_slopes.t())).view(-1, 1)
