"""normflows' flows: a base ``q0`` and transforms from latents to data, on one scale or several."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from nfkd.flows.flow import Layer, Split
from nfkd.flows.foreign.parts import (
    PROBES,
    ForeignLayer,
    Gaussian,
    LogProb,
    Parts,
    context_features,
    dtype_of,
    gaussian_of,
    origin,
    per_example,
    probe_context,
    with_base,
)

_STILL = {"ActNorm", "AffineConstFlow", "Permute", "Invertible1x1Conv", "InvertibleAffine", "LULinearPermute"}
"""Transforms without a network, which only scale, shift or mix: a matching passes them by."""


class NormflowsLayer(Layer):
    """A flow of normflows, whose ``forward`` leads from latents to data."""

    def __init__(self, flow: nn.Module, *, conditional: bool = False) -> None:
        super().__init__()
        self.flow, self._conditional = flow, conditional

    def _given(self, context: Tensor | None) -> dict[str, Tensor | None]:
        return {"context": context} if self._conditional else {}

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return what its inverse gives, and that one's log-determinant."""
        inverse = cast("Callable[..., tuple[Tensor, Any]]", self.flow.inverse)
        y, log_det = inverse(x.clone(), **self._given(context))  # some write into what they are given
        return y, per_example(log_det, x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return what it maps y to."""
        return self.flow(y.clone(), **self._given(context))[0]


class NormflowsSplit(Split):
    """A merge of normflows seen from the data: what leaves has a Gaussian base of its own."""

    def __init__(self, merge: nn.Module, gaussian: Gaussian, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.merge, self.gaussian, self._shape = merge, gaussian, shape

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what stays and what leaves."""
        (stays, leaves), _ = cast("Callable[..., Any]", self.merge.inverse)(x)
        return stays, leaves

    def prior(self, stays: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-deviation of what leaves; they do not depend on what stays."""
        return self.gaussian(stays.new_empty(len(stays), *self._shape), None)

    def inverse(self, stays: Tensor, left: Tensor) -> Tensor:
        """Put both together."""
        return self.merge([stays, left])[0]


def is_normflows(module: nn.Module) -> bool:
    """Return whether a module is made as normflows' flows are."""
    return isinstance(getattr(module, "q0", None), nn.Module) and hasattr(module, "flows")


def normflows_parts(module: Any, event_shape: tuple[int, ...] | None, features: int | None) -> Parts:
    """Take a flow of normflows apart; arguments and errors as `wrap_teacher`."""
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
    stack = _scales(module, bases) if multiscale else _stack(module.flows, conditional=conditional)
    gaussian = gaussian_of(bases[0], _read_diagonal, base_log_prob, z, context)
    parts = Parts(stack, shape, features, last, log_prob)
    return with_base(parts, gaussian, base_log_prob, type(bases[0]).__name__, z, context)


def _refuse(module: Any, bases: list[Any], *, by_class: bool) -> None:
    if by_class or any(getattr(base, "num_classes", None) for base in bases):
        msg = f"{origin(module)} is conditional on a class, which NFKD gives to no base: it cannot be made a teacher"
        raise ValueError(msg)
    seen = [buffer for name, buffer in module.named_buffers() if name.endswith("data_dep_init_done")]
    if any(not done for done in seen):
        msg = f"{origin(module)} has an ActNorm that has seen no data yet: call its log_prob with a batch first"
        raise ValueError(msg)


def _features(log_prob: LogProb, module: nn.Module, x: Tensor) -> int:
    """Return the length of the context; a flow may do without one that it was made for, so that lengths come first."""
    widest = max((parameter.shape[-1] for parameter in module.parameters() if parameter.dim() == 2), default=0)
    for features in range(1, widest + 1):
        try:
            values = [log_prob(x, probe_context(features, x)) for _ in range(2)]
        except Exception:  # noqa: BLE001, S112 - a wrong length fails in as many ways as there are networks
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
    except Exception:  # noqa: BLE001 - it has no way from latents to data, and says so in its own way
        return last


def _stack(flows: Any, *, conditional: bool = False) -> list[ForeignLayer]:
    return [
        ForeignLayer(_kind(flow), type(flow).__name__, NormflowsLayer(flow, conditional=conditional))
        for flow in reversed(list(flows))
    ]


def _kind(flow: nn.Module) -> str:
    name = type(flow).__name__
    if name == "Squeeze":
        return "squeeze"
    return "transform" if name in _STILL else "step"


def _scales(module: Any, bases: list[Any]) -> list[ForeignLayer]:
    stack: list[ForeignLayer] = []
    if module.transform is not None:
        stack.append(ForeignLayer("transform", type(module.transform).__name__, NormflowsLayer(module.transform)))
    for number in reversed(range(len(bases))):
        stack += _stack(module.flows[number])
        if number:
            stack.append(_split(module, module.merges[number - 1], bases[number]))
    return stack


def _split(module: Any, merge: nn.Module, base: Any) -> ForeignLayer:
    shape = _base_shape(base)
    z = torch.randn(PROBES, *shape, dtype=dtype_of(module))
    gaussian = gaussian_of(base, _read_diagonal, lambda z, _: base.log_prob(z), z, None)
    if gaussian is None:
        msg = f"{origin(module)}: {type(base).__name__}, the base of a latent that leaves, is no diagonal Gaussian"
        raise ValueError(msg)
    return ForeignLayer("split", "split", NormflowsSplit(merge, gaussian, shape), shape)


def _read_diagonal(base: Any, context: Tensor | None) -> tuple[Tensor, Tensor]:
    if hasattr(base, "context_encoder"):
        mean, log_scale = base.context_encoder(context).chunk(2, dim=-1)
        return mean, log_scale
    mean, log_scale = base.loc, base.log_scale
    if hasattr(base, "loc_logs"):  # Glow's: a mean and a deviation for each channel, each with a learned scale
        factor = base.logscale_factor
        mean, log_scale = mean * (factor * base.loc_logs).exp(), log_scale * (factor * base.log_scale_logs).exp()
    return mean, log_scale
