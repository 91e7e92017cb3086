"""A flow: a list of named layers between data and Gaussian noise, with latents that leave on the way."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from nfkd.protocol.requests import LayerInfo

Capability = Literal["log_prob", "latents", "synthesis"]
_LOG_TWO_PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Latents:
    """Where a flow takes its data.

    Attributes
    ----------
    parts
        Every split-off latent in the order of the splits, then the last; each (B, …).
    log_det
        Log-determinant of the data-to-latents Jacobian, (B,) nats.
    """

    parts: tuple[Tensor, ...]
    log_det: Tensor

    def flat(self) -> Tensor:
        """Return all latents of each example side by side, (B, D)."""
        return torch.cat([part.flatten(1) for part in self.parts], dim=1)


@dataclass(frozen=True)
class Pass:
    """One pass from data to latents.

    Attributes
    ----------
    log_prob
        (B,) nats.
    latents
        Where the data went.
    trace
        The tensor after each layer and the log-determinant so far, by the layer's name, in order; empty unless asked.
    """

    log_prob: Tensor
    latents: Latents
    trace: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


class Layer(nn.Module, ABC):
    """A bijection of a whole batch, given the batch's context, (B, context features), where the flow has one."""

    @abstractmethod
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the image of x and the log-determinant, (B,) nats."""

    @abstractmethod
    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return what `forward` maps to y."""

    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Initialise from the first batch where the layer depends on data; return the image of x."""
        return self(x, context)[0]


class Split(nn.Module, ABC):
    """Half of the dimensions leaves; its prior is a Gaussian whose parameters depend on the half that stays."""

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the half that stays and the half that leaves."""

    @abstractmethod
    def prior(self, stays: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation of the half that leaves."""

    @abstractmethod
    def inverse(self, stays: Tensor, left: Tensor) -> Tensor:
        """Put both halves together."""


class Prior(nn.Module, ABC):
    """The Gaussian of the last latent, where it is not the standard one."""

    @abstractmethod
    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation, each of z's shape; z's values are not looked at."""


@dataclass(frozen=True)
class Entry:
    """A layer in its place: its name, its name in words, what it is, and the shape of what comes out."""

    name: str
    label: str
    kind: str
    shape: tuple[int, ...]


class Flow(nn.Module):
    """A normalizing flow.

    Parameters
    ----------
    event_shape
        Shape of one example.
    entries
        The layers' names and shapes, in order from data to latents.
    layers
        The layers themselves.
    prior
        Of the last latent; standard normal where left out.
    context_features
        Length of the vector that every example comes with; zero for an unconditional flow.

    Attributes
    ----------
    unsupported
        What the flow cannot do, with the reason: empty but for flows of other libraries (`nfkd.flows.foreign`). Without
        ``latents`` there is no trace either; without ``synthesis`` no sample.

    Notes
    -----
    ActNorm layers take their first values from the first batch:
    `initialize` does that once, and the flow keeps a flag of it in its state.
    """

    _initialized: Tensor

    def __init__(
        self,
        event_shape: Sequence[int],
        entries: Sequence[Entry],
        layers: Sequence[Layer | Split],
        *,
        prior: Prior | None = None,
        context_features: int = 0,
    ) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.context_features = context_features
        self._entries = list(entries)
        self.layers = nn.ModuleList(layers)
        self.prior = prior
        self.unsupported: dict[Capability, str] = {}
        self.register_buffer("_initialized", torch.tensor(0, dtype=torch.uint8))
        self._ready: bool | None = None  # read from the buffer once: a look at every step would wait for the device

    @property
    def latent_shapes(self) -> list[tuple[int, ...]]:
        """Shape of each latent of one example: the split-off ones, then the last."""
        shapes = [entry.shape for entry in self._entries if entry.kind == "split"]
        return [*shapes, self._entries[-1].shape]

    @property
    def initialized(self) -> bool:
        """Whether the data-dependent initialisation has been done."""
        if self._ready is None:
            self._ready = bool(self._initialized)
        return self._ready

    def _load_from_state_dict(self, *arguments: Any, **named: Any) -> None:
        self._ready = None
        super()._load_from_state_dict(*arguments, **named)

    def _stack(self) -> list[Layer | Split]:
        return cast("list[Layer | Split]", list(self.layers))  # a ModuleList forgets what it was made of

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Initialise every ActNorm from a batch; does nothing the second time.

        Parameters
        ----------
        x
            (B, *event_shape), the first batch.
        context
            (B, context_features) for a conditional flow.
        """
        if self.initialized:
            return
        for layer in self._stack():
            x = layer(x)[0] if isinstance(layer, Split) else layer.initialize(x, context)
        self._initialized.fill_(1)
        self._ready = True

    def forward(self, x: Tensor, context: Tensor | None = None, *, trace: bool = False) -> Pass:
        """Take data to latents in one pass.

        Parameters
        ----------
        x
            (B, *event_shape).
        context
            (B, context_features) for a conditional flow.
        trace
            Whether to keep what comes out of each layer.

        Raises
        ------
        TypeError
            When x has another dtype than the flow.
        ValueError
            When x has another shape, or the context is not what the flow takes.
        """
        self._check(x, context)
        log_prob = log_det = x.new_zeros(len(x))
        parts: list[Tensor] = []
        kept: dict[str, tuple[Tensor, Tensor]] = {}
        for entry, layer in zip(self._entries, self._stack(), strict=True):
            if isinstance(layer, Split):
                x, left = layer(x)
                log_prob = log_prob + _normal(left, *layer.prior(x))
                parts.append(left)
            else:
                x, change = layer(x, context)
                log_det = log_det + change
            if trace:
                kept[entry.name] = (x, log_det)
        log_prob = log_prob + self._last_log_prob(x, context) + log_det
        return Pass(log_prob, Latents((*parts, x), log_det), kept)

    def _last_log_prob(self, z: Tensor, context: Tensor | None) -> Tensor:
        """Return the log-density of the last latent, (B,) nats."""
        return _standard_normal(z) if self.prior is None else _normal(z, *self.prior(z, context))

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the log-density of each example, (B,) nats; arguments and errors as `forward`."""
        return self(x, context).log_prob

    def encode(self, x: Tensor, context: Tensor | None = None) -> Latents:
        """Return the latents of each example; arguments and errors as `forward`."""
        return self(x, context).latents

    def trace(self, x: Tensor, context: Tensor | None = None) -> dict[str, tuple[Tensor, Tensor]]:
        """Return ``{layer: (tensor after it, log-determinant so far)}`` in order; arguments as `forward`."""
        return self(x, context, trace=True).trace

    def decode(self, latents: Latents, context: Tensor | None = None) -> Tensor:
        """Return the examples of some latents, (B, *event_shape): the exact inverse of `encode`."""
        return self.decode_trace(latents, context)[0]

    def decode_trace(self, latents: Latents, context: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the examples of some latents, and what the way back passes through.

        Returns
        -------
        tuple[Tensor, dict[str, Tensor]]
            As `decode` has it; and what stands in the place of each layer's output, by the layer's name, from the last
            to the first: what `trace` has of the examples.
        """
        *left, x = latents.parts
        self._check_context(context, len(x))
        kept: dict[str, Tensor] = {}
        for entry, layer in zip(reversed(self._entries), reversed(self._stack()), strict=True):
            kept[entry.name] = x
            x = layer.inverse(x, left.pop()) if isinstance(layer, Split) else layer.inverse(x, context)
        return x, kept

    def draw_noise(self, n: int, generator: torch.Generator | None = None) -> list[Tensor]:
        """Return standard normal noise for every latent, drawn on the CPU, on the flow's device and in its dtype."""
        like = next(self.parameters())
        noise = [
            torch.randn(n, *shape, generator=generator, dtype=torch.float32, device="cpu")
            for shape in self.latent_shapes
        ]
        return [part.to(like) for part in noise]

    def synthesize(self, noise: Sequence[Tensor], temperature: float = 1.0, context: Tensor | None = None) -> Tensor:
        """Return the samples of a noise; gradients flow through.

        Parameters
        ----------
        noise
            Standardised ε for every latent, as `draw_noise` returns it: the latents are z = μ(h) + τσ(h)ε.
        temperature
            τ.
        context
            (B, context_features) for a conditional flow.
        """
        *left, last = noise
        self._check_context(context, len(last))
        x = temperature * last
        if self.prior is not None:
            mean, log_scale = self.prior(last, context)
            x = mean + log_scale.exp() * x
        for layer in reversed(self._stack()):
            if isinstance(layer, Split):
                mean, log_scale = layer.prior(x)
                x = layer.inverse(x, mean + temperature * log_scale.exp() * left.pop())
            else:
                x = layer.inverse(x, context)
        return x

    @torch.no_grad()
    def sample(
        self,
        n: int,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        context: Tensor | None = None,
    ) -> Tensor:
        """Return n samples, (n, *event_shape).

        Parameters
        ----------
        n
            How many.
        temperature
            Scale of the noise.
        generator
            On the CPU; torch's own where left out.
        context
            (n, context_features) for a conditional flow.
        """
        return self.synthesize(self.draw_noise(n, generator), temperature, context)

    def layer_info(self) -> list[LayerInfo]:
        """Return every layer's name, kind, output shape and number of parameters."""
        return [
            LayerInfo(
                name=entry.name,
                label=entry.label,
                kind=entry.kind,
                shape=list(entry.shape),
                parameters=sum(parameter.numel() for parameter in layer.parameters()),
            )
            for entry, layer in zip(self._entries, self.layers, strict=True)
        ]

    def _check(self, x: Tensor, context: Tensor | None) -> None:
        if tuple(x.shape[1:]) != self.event_shape:
            msg = f"x has shape {tuple(x.shape)}; this flow takes (B, {', '.join(map(str, self.event_shape))})"
            raise ValueError(msg)
        dtype = next(self.parameters()).dtype
        if x.dtype != dtype:
            msg = f"x is {x.dtype}; this flow computes in {dtype}"
            raise TypeError(msg)
        self._check_context(context, len(x))

    def _check_context(self, context: Tensor | None, count: int) -> None:
        if context is None and self.context_features:
            msg = f"this flow is conditional: it takes a context of shape ({count}, {self.context_features})"
            raise ValueError(msg)
        if context is None:
            return
        if not self.context_features:
            msg = "this flow is not conditional: it takes no context"
            raise ValueError(msg)
        if tuple(context.shape) != (count, self.context_features):
            msg = f"the context has shape {tuple(context.shape)}; needed is ({count}, {self.context_features})"
            raise ValueError(msg)


@contextmanager
def evaluating(flow: Flow) -> Iterator[Flow]:
    """Put a flow into evaluation mode for a while: batch norm then takes its running means."""
    training = flow.training
    flow.eval()
    try:
        yield flow
    finally:
        flow.train(training)


def sum_each(x: Tensor) -> Tensor:
    """Return the sum of each example's numbers, (B,)."""
    return x.sum(tuple(range(1, x.dim())))


def _normal(z: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    standard = (z - mean) * (-log_scale).exp()
    return _standard_normal(standard) - sum_each(log_scale)


def _standard_normal(z: Tensor) -> Tensor:
    return -0.5 * (sum_each(z.square()) + math.prod(z.shape[1:]) * _LOG_TWO_PI)
