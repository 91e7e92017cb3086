"""The normalizing flow: named layers from data to Gaussian noise, with latents split off on the way."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor

from nfkd.flows.activations import layers_of_pass
from nfkd.flows.denoising import denoised
from nfkd.flows.fused_steps import StepRun
from nfkd.flows.guidance import guided, takes_guidance
from nfkd.flows.inputs import check_context, check_examples, check_parts, check_sampling, describe_type
from nfkd.flows.jacobi import TOLERANCE, Direction, JacobiReport, SampleMethod, SequentialLayer, check_method, jacobi
from nfkd.flows.latents import Latents, Pass
from nfkd.flows.layer import Layer, Prior, Split, normal, standard_normal, standardize
from nfkd.flows.layer_stack import LayerStack
from nfkd.protocol.requests import LayerInfo
from nfkd.transfer import to_device

Capability = Literal["log_prob", "latents", "synthesis"]


@dataclass(frozen=True)
class Entry:
    """A layer's name, label, kind and output shape for one example; see `nfkd.flows.architecture.Stack.add`."""

    name: str
    label: str
    kind: str
    shape: tuple[int, ...]


class Flow(LayerStack):
    """A normalizing flow.

    Parameters
    ----------
    event_shape
        Shape of one example.
    entries
        Names and shapes of the layers, in order from data to latents.
    layers
        The layers.
    prior
        Of the last latent; the standard normal if None.
    context_features
        Length of the context vector of each example; zero for an unconditional flow.

    Attributes
    ----------
    unsupported
        What the flow cannot do, with the reason; empty except for flows of other libraries (`nfkd.flows.foreign`).
        Without ``latents`` there is no trace; without ``synthesis`` there are no samples.

    Notes
    -----
    `initialize` sets the ActNorm layers from the first batch, once; a flag in the flow's state records it.
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
        super().__init__(layers, prior)
        self.event_shape = tuple(event_shape)
        self.context_features = context_features
        self._entries = list(entries)
        self.unsupported: dict[Capability, str] = {}
        self.register_buffer("_initialized", torch.tensor(0, dtype=torch.uint8))
        self._ready: bool | None = None  # reading the buffer at every step would wait for the device

    @property
    def unservable(self) -> dict[Capability, str]:
        """The old name of `unsupported`."""
        warnings.warn("Flow.unservable is now Flow.unsupported", DeprecationWarning, stacklevel=2)
        return self.unsupported

    @property
    def latent_shapes(self) -> list[tuple[int, ...]]:
        """Shape of each latent of one example: the split-off ones, then the last one."""
        return [*(entry.shape for entry in self._entries if entry.kind == "split"), self._entries[-1].shape]

    @property
    def initialized(self) -> bool:
        """Whether the data-dependent initialisation has been done."""
        if self._ready is None:
            self._ready = bool(self._initialized)
        return self._ready

    def _load_from_state_dict(self, *arguments: Any, **named: Any) -> None:
        self._ready = None
        super()._load_from_state_dict(*arguments, **named)

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Initialise every ActNorm from a batch; only the first call has an effect.

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
        self._mark_initialized()

    @torch.no_grad()
    def initialize_outer(self, x: Tensor, context: Tensor | None = None) -> None:
        """Initialise the norms between the networks only, for networks that are trained; arguments as `initialize`."""
        for layer in self._stack():
            x = layer(x)[0] if isinstance(layer, Split) else layer.initialize_outer(x, context)
        self._mark_initialized()

    def _mark_initialized(self) -> None:
        self._initialized.fill_(1)
        self._ready = True

    def forward(self, x: Tensor, context: Tensor | None = None, *, trace: bool = False) -> Pass:
        """Map data to latents.

        Parameters
        ----------
        x
            (B, *event_shape).
        context
            (B, context_features) for a conditional flow.
        trace
            Whether to return the output of each layer.

        Raises
        ------
        TypeError
            When x or the context is no tensor of the flow's dtype.
        ValueError
            When x or the context has the wrong shape or device, or the context is missing or not expected.
        """
        self._check(x, context)
        zero = log_prob = log_det = x.new_zeros(len(x))
        parts: list[Tensor] = []
        traced: dict[str, tuple[Tensor, Tensor]] = {}
        entries = iter(self._entries)
        standard: Tensor | None = None  # log N(x; 0, 1) where the last layer knows it
        for layer in self._pass(x, context, every=trace):
            standard = None
            if isinstance(layer, StepRun) and trace:
                for state, change in layer.trace(x, context):
                    x, log_det = traced[next(entries).name] = state, change if log_det is zero else log_det + change
                continue
            if isinstance(layer, Split):
                x, split_off = layer(x)
                log_prob = log_prob + normal(split_off, *layer.prior(x))
                parts.append(split_off)
            else:
                if isinstance(layer, StepRun):
                    x, change, standard = layer.with_density(x, context)
                else:
                    x, change = layer(x, context)
                log_det = change if log_det is zero else log_det + change
            if trace:
                traced[next(entries).name] = x, log_det
        density = self._last_log_prob(x, context, standard) + log_det
        return Pass(log_prob + density if parts else density, Latents((*parts, x), log_det), traced)

    def _last_log_prob(self, z: Tensor, context: Tensor | None, standard: Tensor | None) -> Tensor:
        """Return the log-density of the last latent, (B,) nats; `standard`, if known, is under the standard normal."""
        if self.prior is not None:
            return normal(z, *self.prior(z, context))
        return standard_normal(z) if standard is None else standard

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
        """Return the examples of latents, (B, *event_shape): the exact inverse of `encode`."""
        return self.decode_trace(latents, context)[0]

    def decode_trace(self, latents: Latents, context: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the examples of latents, and each layer's output on the way back.

        Returns
        -------
        tuple[Tensor, dict[str, Tensor]]
            The examples, (B, *event_shape); and ``{layer: tensor}`` from the last layer to the first, with the tensors
            that `trace` returns for these examples.
        """
        if not isinstance(latents, Latents):
            msg = f"latents is a {describe_type(latents)}: give Latents, as encode returns them"
            raise TypeError(msg)
        check_parts(latents.parts, self.latent_shapes, "latents.parts")
        *split_off, x = latents.parts
        self._check_context(context, len(x))
        traced: dict[str, Tensor] = {}
        for entry, layer in reversed(list(zip(self._entries, layers_of_pass(self._stack(), every=True), strict=True))):
            traced[entry.name] = x
            x = layer.inverse(x, split_off.pop()) if isinstance(layer, Split) else layer.inverse(x, context)
        return x, traced

    def invert_to(self, name: str, state: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the examples whose state after a layer, (B, *shape of the layer), is given.

        Raises
        ------
        ValueError
            When there is no such layer, latents have left before it, or the state has another shape; also as `forward`
            for the context.
        """
        count = next((count for count, entry in enumerate(self._entries, start=1) if entry.name == name), 0)
        passed, shape = self._entries[:count], tuple(state.shape[1:])
        if not passed or shape != passed[-1].shape or any(entry.kind == "split" for entry in passed):
            msg = f"a state of {'×'.join(map(str, shape))} values after {name} cannot be inverted"
            raise ValueError(msg)
        self._check_context(context, len(state))
        for layer in reversed(cast("list[Layer]", self._stack()[:count])):
            state = layer.inverse(state, context)
        return state

    def draw_noise(self, n: int, generator: torch.Generator | None = None) -> list[Tensor]:
        """Return standard normal noise for every latent, drawn on the CPU and moved to the flow's device and dtype."""
        like = next(self.parameters())
        noise = [
            torch.randn(n, *shape, generator=generator, dtype=torch.float32, device="cpu")
            for shape in self.latent_shapes
        ]
        return [to_device(part, like.device, like.dtype) for part in noise]

    def synthesize(self, noise: Sequence[Tensor], temperature: float = 1.0, context: Tensor | None = None) -> Tensor:
        """Return the samples that noise is mapped to; differentiable.

        Parameters
        ----------
        noise
            ε for every latent, as `draw_noise` returns it: the latents are z = μ(h) + τσ(h)ε.
        temperature
            τ.
        context
            (B, context_features) for a conditional flow.
        """
        check_parts(noise, self.latent_shapes, "noise")
        *split_off, last = noise
        self._check_context(context, len(last))
        x = self.last_latent(last, temperature, context)
        for layer in reversed(layers_of_pass(self._stack())):
            if isinstance(layer, Split):
                mean, log_scale = layer.prior(x)
                x = layer.inverse(x, mean + temperature * log_scale.exp() * split_off.pop())
            else:
                x = layer.inverse(x, context)
        return x

    def last_latent(self, noise: Tensor, temperature: float = 1.0, context: Tensor | None = None) -> Tensor:
        """Return the last latent z = μ + τσε of its noise ε; arguments as `synthesize`."""
        if self.prior is None:
            return temperature * noise
        mean, log_scale = self.prior(noise, context)
        return mean + log_scale.exp() * temperature * noise

    def noise_of(self, x: Tensor, context: Tensor | None = None) -> list[Tensor]:
        """Return the noise that `synthesize` maps to x at temperature 1; arguments and errors as `forward`.

        Returns
        -------
        list[Tensor]
            ε = (z − μ(h))/σ(h) of every latent z: the split-off ones, then the last one; each (B, …).
        """
        self._check(x, context)
        noise: list[Tensor] = []
        for layer in self._stack():
            if isinstance(layer, Split):
                x, split_off = layer(x)
                noise.append(standardize(split_off, *layer.prior(x)))
            else:
                x = layer(x, context)[0]
        return [*noise, x if self.prior is None else standardize(x, *self.prior(x, context))]

    @torch.no_grad()
    def sample(
        self,
        n: int,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        context: Tensor | None = None,
        *,
        method: SampleMethod = "exact",
        tolerance: float = TOLERANCE,
        segment: int | None = None,
        guidance: float = 0.0,
        attention_temperature: float | None = None,
        denoise: float = 0.0,
    ) -> Tensor:
        """Return n samples, (n, *event_shape).

        Parameters
        ----------
        n
            Number of samples.
        temperature
            Scale of the noise.
        generator
            On the CPU; torch's global one if None.
        context
            (n, context_features) for a conditional flow.
        method
            ``exact``, or ``jacobi`` for `jacobi` iteration of the autoregressive layers, by `tolerance` and `segment`.
        guidance, attention_temperature
            Weight of the guidance, and the temperature of guidance without classes; see `guided`.
        denoise
            Standard deviation of the Gaussian noise that the flow's data had, to remove it (`denoised`).

        Raises
        ------
        TypeError, ValueError
            When an argument is of another type, shape or device; the message says what to write.
        """
        check_sampling(n, temperature, generator)
        check_method(method)
        self._check_context(context, n)
        if attention_temperature is not None and not guidance:
            msg = "attention_temperature has no effect without guidance: give guidance, such as 0.5, or leave it out"
            raise ValueError(msg)
        with ExitStack() as stack:
            if guidance:
                stack.enter_context(self.guided(guidance, attention_temperature, context))
            if method == "jacobi":
                stack.enter_context(self.jacobi(tolerance, segment))
            x = self.synthesize(self.draw_noise(n, generator), temperature, context)
        return denoised(self.log_prob, x, denoise, context) if denoise else x

    def guided(
        self, weight: float, attention_temperature: float | None = None, context: Tensor | None = None
    ) -> AbstractContextManager[None]:
        """Guide `synthesize` and `decode` inside a ``with`` block; see `nfkd.flows.guidance.guided`."""
        return guided(self.layers, weight, attention_temperature, context)

    @property
    def takes_guidance(self) -> bool:
        """Whether samples can be guided."""
        return takes_guidance(self.layers)

    def jacobi(self, tolerance: float = TOLERANCE, segment: int | None = None) -> AbstractContextManager[JacobiReport]:
        """Solve this flow's autoregressive layers by Jacobi iteration inside a ``with`` block; see `jacobi.jacobi`.

        It serves `sample`, `synthesize` and `decode`; of an inverse autoregressive flow also `forward` and `log_prob`.
        """
        layers = {entry.label: layer for entry, layer in zip(self._entries, self.layers, strict=True)}
        return jacobi(layers, tolerance, segment)

    @property
    def iterated(self) -> set[Direction]:
        """The directions that `jacobi` iterates; empty where both are one pass."""
        return {part.iterated for part in self.modules() if isinstance(part, SequentialLayer)}

    def layer_info(self) -> list[LayerInfo]:
        """Return the name, label, kind, output shape and number of parameters of every layer."""
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
        like = next(self.parameters())
        check_examples(x, self.event_shape, like)
        check_context(context, self.context_features, len(x), like)

    def _check_context(self, context: Tensor | None, count: int) -> None:
        check_context(context, self.context_features, count, next(self.parameters()))


@contextmanager
def evaluating(flow: Flow) -> Iterator[Flow]:
    """Put a flow into evaluation mode inside a ``with`` block: batch norm uses its running means."""
    training = flow.training
    flow.eval()
    try:
        yield flow
    finally:
        flow.train(training)
