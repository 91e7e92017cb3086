"""normflows' flows: a base ``q0`` and transforms from latents to data, on one scale or several."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from nfkd.flows.foreign.layers import (
    PROBES,
    ForeignLayer,
    ForeignStack,
    Gaussian,
    LogProb,
    context_features,
    dtype_of,
    gaussian_of,
    origin,
    per_example,
    probe_context,
    with_base,
)
from nfkd.flows.layer import Layer, Split

_WITHOUT_NETWORK = {"ActNorm", "AffineConstFlow", "Permute", "Invertible1x1Conv", "InvertibleAffine", "LULinearPermute"}
"""Transforms without a network, which only scale, shift or mix; they are not matched."""


class NormflowsLayer(Layer):
    """A normflows flow; its own ``forward`` maps latents to data."""

    def __init__(self, flow: nn.Module, *, conditional: bool = False) -> None:
        super().__init__()
        self.flow, self._conditional = flow, conditional

    def _arguments(self, context: Tensor | None) -> dict[str, Tensor | None]:
        return {"context": context} if self._conditional else {}

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the result of the flow's inverse, and its log-determinant."""
        inverse = cast("Callable[..., tuple[Tensor, Any]]", self.flow.inverse)
        y, log_det = inverse(x.clone(), **self._arguments(context))  # some flows change their input
        return y, per_example(log_det, x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the result of the flow's forward."""
        return self.flow(y.clone(), **self._arguments(context))[0]


class NormflowsSplit(Split):
    """A normflows merge as a split; the split-off latent has its own Gaussian base."""

    def __init__(self, merge: nn.Module, gaussian: Gaussian, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.merge, self.gaussian, self._shape = merge, gaussian, shape

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the kept and the split-off half."""
        (kept, split_off), _ = cast("Callable[..., Any]", self.merge.inverse)(x)
        return kept, split_off

    def prior(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation of the split-off half; they do not depend on the kept half."""
        return self.gaussian(kept.new_empty(len(kept), *self._shape), None)

    def inverse(self, kept: Tensor, split_off: Tensor) -> Tensor:
        """Join both halves."""
        return self.merge([kept, split_off])[0]


def is_normflows(module: nn.Module) -> bool:
    """Return whether a module has the attributes of a normflows flow."""
    return isinstance(getattr(module, "q0", None), nn.Module) and hasattr(module, "flows")


def normflows_stack(module: Any, event_shape: tuple[int, ...] | None, features: int | None) -> ForeignStack:
    """Return the layers of a normflows flow; arguments and errors as `wrap_teacher`."""
    multiscale = hasattr(module, "merges")
    bases: list[Any] = list(module.q0) if multiscale else [module.q0]
    arguments = inspect.signature(module.log_prob).parameters
    _refuse(module, bases, by_class="y" in arguments and not multiscale)
    conditional = "context" in arguments

    def log_prob(x: Tensor, context: Tensor | None) -> Tensor:
        if multiscale:
            return module.log_prob(x.clone(), None)
        return module.log_prob(x.clone(), context=context) if conditional else module.log_prob(x.clone())

    def base_log_prob(z: Tensor, context: Tensor | None) -> Tensor:
        return bases[0].log_prob(z, context=context) if conditional else bases[0].log_prob(z)

    last = _base_shape(bases[0])
    shape = event_shape or _data_shape(module, last)
    z = torch.randn(PROBES, *last, dtype=dtype_of(module))
    if features is None:
        features = _features(log_prob, module, torch.randn(PROBES, *shape).to(z)) if conditional else 0
    context = probe_context(features, z)
    layers = _multiscale_layers(module, bases) if multiscale else _layers(module.flows, conditional=conditional)
    gaussian = gaussian_of(bases[0], _read_diagonal, base_log_prob, z, context)
    stack = ForeignStack(layers, shape, features, last, log_prob)
    return with_base(stack, gaussian, base_log_prob, type(bases[0]).__name__, z, context)


def _refuse(module: Any, bases: list[Any], *, by_class: bool) -> None:
    if by_class or any(getattr(base, "num_classes", None) for base in bases):
        msg = f"{origin(module)} is conditional on a class, which NFKD does not support: it cannot be made a teacher"
        raise ValueError(msg)
    initialised = [buffer for name, buffer in module.named_buffers() if name.endswith("data_dep_init_done")]
    if any(not done for done in initialised):
        msg = f"{origin(module)} has an ActNorm that has seen no data yet: call its log_prob with a batch first"
        raise ValueError(msg)


def _features(log_prob: LogProb, module: nn.Module, x: Tensor) -> int:
    """Return the length of the context, trying lengths before no context: some conditional flows accept none."""
    widest = max((parameter.shape[-1] for parameter in module.parameters() if parameter.dim() == 2), default=0)
    for features in range(1, widest + 1):
        try:
            values = [log_prob(x, probe_context(features, x)) for _ in range(2)]
        except Exception:  # noqa: BLE001, S112 - a network may raise anything for a wrong length
            continue
        if not torch.equal(*values):
            return features
    return context_features(log_prob, module, x)


def _base_shape(base: Any) -> tuple[int, ...]:
    shape = getattr(base, "shape", None)
    if isinstance(shape, (tuple, torch.Size)):
        return tuple(int(size) for size in shape)
    return tuple(base.sample(2).shape[1:])


def _data_shape(module: Any, last: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return tuple(module.sample(2)[0].shape[1:])
    except Exception:  # noqa: BLE001 - a flow without a forward direction may raise anything
        return last


def _layers(flows: Any, *, conditional: bool = False) -> list[ForeignLayer]:
    return [
        ForeignLayer(_kind(flow), type(flow).__name__, NormflowsLayer(flow, conditional=conditional))
        for flow in reversed(list(flows))
    ]


def _kind(flow: nn.Module) -> str:
    name = type(flow).__name__
    if name == "Squeeze":
        return "squeeze"
    return "transform" if name in _WITHOUT_NETWORK else "step"


def _multiscale_layers(module: Any, bases: list[Any]) -> list[ForeignLayer]:
    layers: list[ForeignLayer] = []
    if module.transform is not None:
        layers.append(ForeignLayer("transform", type(module.transform).__name__, NormflowsLayer(module.transform)))
    for number in reversed(range(len(bases))):
        layers += _layers(module.flows[number])
        if number:
            layers.append(_split(module, module.merges[number - 1], bases[number]))
    return layers


def _split(module: Any, merge: nn.Module, base: Any) -> ForeignLayer:
    shape = _base_shape(base)
    z = torch.randn(PROBES, *shape, dtype=dtype_of(module))
    gaussian = gaussian_of(base, _read_diagonal, lambda z, _: base.log_prob(z), z, None)
    if gaussian is None:
        msg = f"{origin(module)}: {type(base).__name__}, the base of a split-off latent, is not a diagonal Gaussian"
        raise ValueError(msg)
    return ForeignLayer("split", "split", NormflowsSplit(merge, gaussian, shape), shape)


def _read_diagonal(base: Any, context: Tensor | None) -> tuple[Tensor, Tensor]:
    if hasattr(base, "context_encoder"):
        mean, log_scale = base.context_encoder(context).chunk(2, dim=-1)
        return mean, log_scale
    mean, log_scale = base.loc, base.log_scale
    if hasattr(base, "loc_logs"):  # Glow's base has a learned scale for each mean and deviation
        factor = base.logscale_factor
        mean, log_scale = mean * (factor * base.loc_logs).exp(), log_scale * (factor * base.log_scale_logs).exp()
    return mean, log_scale
