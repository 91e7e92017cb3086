"""Monotone rational-quadratic splines with linear tails (Durkan et al. 2019, arXiv 1906.04032)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from nfkd.flows.transforms import Elementwise

SMALLEST_BIN = 1e-3  # as a fraction of the whole; this and the smallest slope are those of the paper's code
SMALLEST_SLOPE = 1e-3
LARGEST_SLOPE = 1e3
RAW_SLOPE_OF_ONE = math.log(math.expm1(1 - SMALLEST_SLOPE))  # gives a slope of one


class Spline(Elementwise):
    """A monotone rational-quadratic spline of K bins from [−B, B] onto itself; the identity outside.

    Of the 3K − 1 parameters, 2K give the widths and heights of the bins (softmax, at least 10⁻³ of the whole each) and
    K − 1 the slopes at the inner knots (softplus, between 10⁻³ and 10³). The slope at both ends is one. Parameters of
    zero give the identity. Durkan et al. 2019, arXiv 1906.04032, equations 4 to 8.

    Parameters
    ----------
    bins
        K.
    bound
        B.
    """

    def __init__(self, bins: int, bound: float) -> None:
        self.parameters = 3 * bins - 1
        self.bins, self.bound = bins, bound

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return f(x) and log f′(x)."""
        across, up, slopes = self._knots(parameters)
        inside, clamped = self._inside(x)
        left, right, bottom, top, first, last = _bin_of(clamped, across, across, up, slopes)
        width, height = right - left, top - bottom
        slope = height / width
        fraction = ((clamped - left) / width).clamp(0, 1)
        rest = 1 - fraction
        product = fraction * rest
        divisor = slope + (first + last - 2 * slope) * product
        y = bottom + height * (slope * fraction * fraction + first * product) / divisor
        numerator = last * fraction * fraction + 2 * slope * product + first * rest * rest
        log_slope = 2 * (slope.log() - divisor.log()) + numerator.log()
        return torch.where(inside, y, x), torch.where(inside, log_slope, torch.zeros_like(log_slope))

    def inverse(self, y: Tensor, parameters: Tensor) -> Tensor:
        """Return x with f(x) = y: the root of a quadratic equation in y's bin."""
        across, up, slopes = self._knots(parameters)
        inside, clamped = self._inside(y)
        left, right, bottom, top, first, last = _bin_of(clamped, up, across, up, slopes)
        width, height = right - left, top - bottom
        slope = height / width
        risen = ((clamped - bottom) / height).clamp(0, 1)
        bend = risen * (first + last - 2 * slope)
        square, linear, constant = slope - first + bend, first - bend, -slope * risen
        root = (linear * linear - 4 * square * constant).clamp(min=torch.finfo(y.dtype).tiny).sqrt()
        # The quadratic formula has two forms; each is exact where the other subtracts nearly equal numbers. Where the
        # second is used, square = slope + (bend − first) is positive.
        rising = linear >= 0
        above, below = torch.where(rising, -2 * constant, root - linear), torch.where(rising, linear + root, 2 * square)
        fraction = (above / below).clamp(0, 1)
        return torch.where(inside, left + width * fraction, y)

    def _inside(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # Outside values are computed as if at the end, so that the unused branch has no NaN gradient.
        return x.abs() < self.bound, x.clamp(-self.bound, self.bound)

    def _knots(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the knots' x and y and the slopes there, (…, K + 1) each."""
        widths, heights, slopes = parameters.split([self.bins, self.bins, self.bins - 1], dim=-1)
        inner = (SMALLEST_SLOPE + functional.softplus(slopes + RAW_SLOPE_OF_ONE)).clamp(max=LARGEST_SLOPE)
        return self._positions(widths), self._positions(heights), functional.pad(inner, (1, 1), value=1.0)

    def _positions(self, raw: Tensor) -> Tensor:
        sizes = SMALLEST_BIN + (1 - SMALLEST_BIN * self.bins) * raw.softmax(-1)
        inner = self.bound * (2 * sizes[..., :-1].cumsum(-1) - 1)
        return functional.pad(functional.pad(inner, (1, 0), value=-self.bound), (0, 1), value=self.bound)


def _bin_of(x: Tensor, knots: Tensor, across: Tensor, up: Tensor, slopes: Tensor) -> tuple[Tensor, ...]:
    """Return left, right, bottom, top and both slopes of x's bin between the given knots, (…) each."""
    index = (x.unsqueeze(-1) >= knots[..., 1:-1]).sum(-1, keepdim=True)
    both = torch.cat([index, index + 1], dim=-1)
    return tuple(end for values in (across, up, slopes) for end in values.gather(-1, both).unbind(-1))
