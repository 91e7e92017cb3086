"""Monotone rational-quadratic splines with linear tails (Durkan et al. 2019, arXiv 1906.04032)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from nfkd.flows.autoregressive import Elementwise
from nfkd.flows.flow import Layer, sum_each
from nfkd.flows.networks import Network, with_context

_SMALLEST_BIN = 1e-3  # of width and height, as part of the whole; this and the smallest slope are the paper's code's
_SMALLEST_SLOPE = 1e-3
_LARGEST_SLOPE = 1e3
_SLOPE_OF_ONE = math.log(math.expm1(1 - _SMALLEST_SLOPE))  # softplus of it, with the smallest slope, is one


class Spline(Elementwise):
    """A rational-quadratic spline of K bins from [−B, B] onto itself; the identity outside.

    Of the 3K − 1 parameters, 2K give widths and heights of the bins (softmax, each at least 10⁻³ of the whole), the
    rest the slopes at the inner knots (softplus, between 10⁻³ and 10³); at both ends the slope is one. All zero make
    the identity.

    Parameters
    ----------
    bins
        K.
    bound
        B.
    """

    def __init__(self, bins: int, bound: float) -> None:
        self.parameters = 3 * bins - 1
        self._bins, self._bound = bins, bound

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return the image of x and the logarithm of the slope there."""
        across, up, slopes = self._knots(parameters)
        inside, clamped = self._inside(x)
        left, right, bottom, top, first, last = _piece(clamped, across, across, up, slopes)
        width, height = right - left, top - bottom
        slope = height / width
        place = ((clamped - left) / width).clamp(0, 1)
        rest = 1 - place
        across_both = place * rest
        bent = slope + (first + last - 2 * slope) * across_both
        y = bottom + height * (slope * place * place + first * across_both) / bent
        rise = last * place * place + 2 * slope * across_both + first * rest * rest
        log_slope = 2 * (slope.log() - bent.log()) + rise.log()
        return torch.where(inside, y, x), torch.where(inside, log_slope, torch.zeros_like(log_slope))

    def inverse(self, y: Tensor, parameters: Tensor) -> Tensor:
        """Return what `forward` maps to y: the root of a quadratic equation that lies in y's bin."""
        across, up, slopes = self._knots(parameters)
        inside, clamped = self._inside(y)
        left, right, bottom, top, first, last = _piece(clamped, up, across, up, slopes)
        width, height = right - left, top - bottom
        slope = height / width
        part = ((clamped - bottom) / height).clamp(0, 1)
        bend = part * (first + last - 2 * slope)
        square, linear, constant = slope - first + bend, first - bend, -slope * part
        root = (linear * linear - 4 * square * constant).clamp(min=torch.finfo(y.dtype).tiny).sqrt()
        # Of the two forms of the root each adds numbers of one sign where the other subtracts nearly equal ones. Where
        # the second is needed, square = slope + (bend − first) is positive.
        rising = linear >= 0
        above, below = torch.where(rising, -2 * constant, root - linear), torch.where(rising, linear + root, 2 * square)
        place = (above / below).clamp(0, 1)
        return torch.where(inside, left + width * place, y)

    def _inside(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # What is outside is computed as if at the end, so that no gradient of the unused branch is ever NaN.
        return x.abs() < self._bound, x.clamp(-self._bound, self._bound)

    def _knots(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the knots' places, across and up, and the slopes there, (…, K + 1) each."""
        widths, heights, slopes = parameters.split([self._bins, self._bins, self._bins - 1], dim=-1)
        inner = (_SMALLEST_SLOPE + functional.softplus(slopes + _SLOPE_OF_ONE)).clamp(max=_LARGEST_SLOPE)
        return self._places(widths), self._places(heights), functional.pad(inner, (1, 1), value=1.0)

    def _places(self, raw: Tensor) -> Tensor:
        sizes = _SMALLEST_BIN + (1 - _SMALLEST_BIN * self._bins) * raw.softmax(-1)
        inner = self._bound * (2 * sizes[..., :-1].cumsum(-1) - 1)
        return functional.pad(functional.pad(inner, (1, 0), value=-self._bound), (0, 1), value=self._bound)


def _piece(x: Tensor, knots: Tensor, across: Tensor, up: Tensor, slopes: Tensor) -> tuple[Tensor, ...]:
    """Return left, right, bottom, top and both slopes of the bin that holds x between the given knots, (…) each."""
    number = (x.unsqueeze(-1) >= knots[..., 1:-1]).sum(-1, keepdim=True)
    both = torch.cat([number, number + 1], dim=-1)
    return tuple(end for values in (across, up, slopes) for end in values.gather(-1, both).unbind(-1))


class SplineCoupling(Layer):
    """The first half of the features (rounded down) gives the parameters of the second half's splines.

    The first half has splines as well, whose parameters are numbers of their own, the same for every example: that is
    the paper's coupling (arXiv 1906.04032, section 3), which changes every feature.

    Parameters
    ----------
    features
        D, at least two.
    spline
        The transform.
    network
        From the first half and the context, (B, …), to the parameters, (B, features of the second half · P).
    """

    def __init__(self, features: int, spline: Spline, network: Network) -> None:
        super().__init__()
        self._sizes = [features // 2, features - features // 2]
        self._spline = spline
        self.first = nn.Parameter(torch.zeros(features // 2, spline.parameters))
        self.network = network

    def _of_first(self, count: int) -> Tensor:
        return self.first.expand(count, -1, -1)

    def _of_second(self, first: Tensor, context: Tensor | None) -> Tensor:
        return self.network(with_context(first, context)).unflatten(1, (self._sizes[1], self._spline.parameters))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the coupled features and the log-determinant."""
        first, _ = x.split(self._sizes, dim=1)
        parameters = torch.cat([self._of_first(len(x)), self._of_second(first, context)], dim=1)
        y, slopes = self._spline.forward(x, parameters)
        return y, sum_each(slopes)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the features before the coupling."""
        first, second = y.split(self._sizes, dim=1)
        first = self._spline.inverse(first, self._of_first(len(y)))
        return torch.cat([first, self._spline.inverse(second, self._of_second(first, context))], dim=1)

    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Initialise the network's norms from the first batch."""
        self.network.initialize(with_context(x.split(self._sizes, dim=1)[0], context))
        return self(x, context)[0]
