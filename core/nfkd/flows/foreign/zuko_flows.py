"""zuko's lazy flows: a transform from data to latents and a base; both take the context when they are called."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from nfkd.flows.foreign.layers import (
    PROBES,
    ForeignLayer,
    ForeignStack,
    context_features,
    dtype_of,
    gaussian_of,
    origin,
    per_example,
    probe_context,
    with_base,
)
from nfkd.flows.layer import Layer


class ZukoLayer(Layer):
    """A lazy zuko transform."""

    def __init__(self, transform: nn.Module) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the transformed x and the log-determinant."""
        y, log_det = self.transform(context).call_and_ladj(x)
        return y, per_example(log_det, x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the result of the inverse transform."""
        return self.transform(context).inv(y)


def is_zuko(module: nn.Module) -> bool:
    """Return whether a module has the attributes of a zuko flow."""
    return all(isinstance(getattr(module, name, None), nn.Module) for name in ("transform", "base"))


def zuko_stack(module: Any, event_shape: tuple[int, ...] | None, features: int | None) -> ForeignStack:
    """Return the layers of a zuko flow; arguments and errors as `wrap_teacher`."""

    def log_prob(x: Tensor, context: Tensor | None) -> Tensor:
        return module(context).log_prob(x)

    def base_log_prob(z: Tensor, context: Tensor | None) -> Tensor:
        return module.base(context).log_prob(z)

    shape = event_shape or _event_shape(module)
    x = torch.randn(PROBES, *shape, dtype=dtype_of(module))
    if features is None:
        features = context_features(log_prob, module, x)
    context = probe_context(features, x)
    layers = [
        ForeignLayer("transform" if _is_unconditional(part) else "step", type(part).__name__, ZukoLayer(part))
        for part in _flattened(module.transform)
    ]
    gaussian = gaussian_of(module.base, _read_normal, base_log_prob, x, context)
    distribution = getattr(module.base, "f", module.base)  # a lazy base has the distribution's constructor
    name = getattr(distribution, "__name__", type(distribution).__name__)
    stack = ForeignStack(layers, shape, features, shape, log_prob)
    return with_base(stack, gaussian, base_log_prob, name, x, context)


def _event_shape(module: Any) -> tuple[int, ...]:
    try:
        return tuple(module.base(None).sample().shape)
    except Exception as error:
        msg = f"the base of {origin(module)} does not have the shape of an example: give event_shape"
        raise ValueError(msg) from error


def _flattened(transform: Any) -> list[nn.Module]:
    inner = getattr(transform, "transforms", None)
    if isinstance(inner, nn.ModuleList):
        return [part for each in inner for part in _flattened(each)]
    return [transform]


def _is_unconditional(transform: nn.Module) -> bool:
    return any(kind.__name__ == "UnconditionalTransform" for kind in type(transform).__mro__)


def _read_normal(base: Any, context: Tensor | None) -> tuple[Tensor, Tensor]:
    found: Distribution = base(context)
    while isinstance(found, Independent):
        found = found.base_dist
    if not isinstance(found, Normal):
        msg = f"{type(found).__name__} is not a diagonal Gaussian"
        raise TypeError(msg)
    return found.loc, found.scale.log()
