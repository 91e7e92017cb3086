"""Coupling layers (Dinh et al. 2015, arXiv 1410.8516; 2017, arXiv 1605.08803) and the steps made of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nfkd.flows.layer import Layer, sum_each
from nfkd.flows.networks import Network, with_context
from nfkd.flows.transforms import Elementwise


class Coupling(Layer):
    """x = (a, b), split by channels, becomes (a, f(b)); a network of a and the context gives the parameters of f.

    log|det| is the sum of log f′ over b.

    Parameters
    ----------
    channels
        Channels or features; a is the first half, rounded down.
    network
        From a and the context, (B, a's channels + context features, …), to the P parameters of each channel of b,
        (B, b's channels · P, …).
    transform
        f.
    transforms_first
        Whether a is transformed too, with trained parameters that are the same for every example (Durkan et al. 2019,
        arXiv 1906.04032, section 3). For vectors only.
    """

    def __init__(
        self, channels: int, network: Network, transform: Elementwise, *, transforms_first: bool = False
    ) -> None:
        super().__init__()
        half = channels // 2
        self.channels = channels
        self._sizes = [half, channels - half]
        self._transform = transform
        self.first = nn.Parameter(torch.zeros(half, transform.parameters)) if transforms_first else None
        self.network = network

    @property
    def transform(self) -> Elementwise:
        """The transform f."""
        return self._transform

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return (a, f(b)) and the log-determinant."""
        a, b = x.split(self._sizes, dim=1)
        parameters = self._transform_parameters(a, context)
        if self.first is None:
            b, slopes = self._transform.forward(b, parameters)
            return torch.cat([a, b], dim=1), sum_each(slopes)
        y, slopes = self._transform.forward(x, torch.cat([self.first.expand(len(x), -1, -1), parameters], dim=1))
        return y, sum_each(slopes)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return (a, b) from (a, f(b))."""
        a, b = y.split(self._sizes, dim=1)
        if self.first is not None:
            a = self._transform.inverse(a, self.first.expand(len(y), -1, -1))
        return torch.cat([a, self._transform.inverse(b, self._transform_parameters(a, context))], dim=1)

    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Initialise the network's norms from the first batch."""
        self.network.initialize(with_context(self._network_input(x), context))
        return self(x, context)[0]

    def _network_input(self, x: Tensor) -> Tensor:
        return x.split(self._sizes, dim=1)[0]

    def _transform_parameters(self, a: Tensor, context: Tensor | None) -> Tensor:
        """Return the parameters of f, (B, channels, …, P)."""
        outputs = self.network(with_context(a, context))
        return outputs.unflatten(1, (-1, self._transform.parameters)).movedim(2, -1)


class CheckerboardCoupling(Coupling):
    """A coupling that splits every channel by a checkerboard: a is on its light squares, b on its dark ones.

    RealNVP, arXiv 1605.08803, section 3.4. The network sees the image with zeros on the dark squares.

    Parameters
    ----------
    shape
        (channels, height, width).
    parity
        0: the square in the first row and column is dark; 1: it is light.
    network, transform
        As in `Coupling`, with parameters for every channel.
    """

    dark: Tensor

    def __init__(self, shape: tuple[int, int, int], parity: int, network: Network, transform: Elementwise) -> None:
        channels, height, width = shape
        super().__init__(channels, network, transform)
        squares = torch.arange(height)[:, None] + torch.arange(width)
        # Not saved with the weights: it follows from the config.
        self.register_buffer("dark", squares % 2 == parity, persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the image with transformed dark squares, and the log-determinant."""
        y, slopes = self._transform.forward(x, self._transform_parameters(self._network_input(x), context))
        return torch.where(self.dark, y, x), sum_each(slopes * self.dark)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the image before the coupling."""
        x = self._transform.inverse(y, self._transform_parameters(self._network_input(y), context))
        return torch.where(self.dark, x, y)

    def _network_input(self, x: Tensor) -> Tensor:
        return x * ~self.dark


class FlowStep(Layer):
    """A step of flow: ActNorm and a mixing of the channels, then a coupling.

    Parameters
    ----------
    mixing
        As `nfkd.flows.bijections.build_mixing` returns it.
    coupling
        A `Coupling`, or an autoregressive layer in its place.
    """

    def __init__(self, mixing: Layer, coupling: Layer) -> None:
        super().__init__()
        self.mixing = mixing
        self.coupling = coupling

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the step's output and the log-determinant."""
        x, mixed = self.mixing(x)
        x, coupled = self.coupling(x, context)
        return x, mixed + coupled

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the step's input."""
        return self.mixing.inverse(self.coupling.inverse(y, context))

    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Initialise both layers from the first batch."""
        return self.coupling.initialize(self.mixing.initialize(x), context)

    def initialize_outer(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Initialise the norm from a batch; the coupling's network keeps its norms."""
        return self.coupling(self.mixing.initialize(x), context)[0]
