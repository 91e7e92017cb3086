"""What a foreign flow is taken apart into, and its base as a Gaussian."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from nfkd.flows.flow import Layer, Split, sum_each

LogProb = Callable[[Tensor, Tensor | None], Any]
Read = Callable[[Any, Tensor | None], tuple[Tensor, Tensor]]
PROBES = 4
_AGREES = 1e-3  # relative, in float32: a flow that was read wrongly is far off


@dataclass(frozen=True)
class ForeignLayer:
    """A layer; its kind is ``step``, ``split``, or anything that a matching passes by."""

    kind: str
    label: str
    layer: Layer | Split
    left: tuple[int, ...] = ()
    """Shape of what leaves at a split."""


@dataclass
class Parts:
    """A foreign flow taken apart.

    Attributes
    ----------
    stack
        The layers, from data to latents.
    last
        Shape of the last latent.
    log_prob
        The foreign flow's own.
    base
        Log-density of the last latent, where that is no diagonal Gaussian; None where the layers lead to a standard
        normal.
    why
        Why it is none.
    """

    stack: list[ForeignLayer]
    event_shape: tuple[int, ...]
    context_features: int
    last: tuple[int, ...]
    log_prob: LogProb
    base: LogProb | None = None
    why: str = ""


class Gaussian(nn.Module):
    """A diagonal Gaussian base; it is read at every call, for its mean and deviation may depend on the context."""

    def __init__(self, base: nn.Module, read: Read) -> None:
        super().__init__()
        self.base, self._read = base, read

    def forward(self, like: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and log-deviation in the shape of a batch."""
        mean, log_scale = self._read(self.base, context)
        return mean.expand_as(like), log_scale.expand_as(like)


class Standardise(Layer):
    """The affine map from a diagonal Gaussian to the standard one: z = (x − μ)/σ."""

    def __init__(self, gaussian: Gaussian) -> None:
        super().__init__()
        self.gaussian = gaussian

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the standardised x and −Σ log σ."""
        mean, log_scale = self.gaussian(x, context)
        return (x - mean) * (-log_scale).exp(), -sum_each(log_scale)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return μ + σ·y."""
        mean, log_scale = self.gaussian(y, context)
        return mean + log_scale.exp() * y


def gaussian_of(base: nn.Module, read: Read, log_prob: LogProb, z: Tensor, context: Tensor | None) -> Gaussian | None:
    """Return a base as a diagonal Gaussian; None where its density is not the one that was read."""
    gaussian = Gaussian(base, read)
    try:
        mean, log_scale = gaussian(z, context)
        theirs = per_example(log_prob(z, context), z)
    except Exception:  # noqa: BLE001 - a base of any other kind fails in its own way
        return None
    return gaussian if close(sum_each(Normal(mean, log_scale.exp()).log_prob(z)), theirs) else None


def with_base(
    parts: Parts, gaussian: Gaussian | None, log_prob: LogProb, words: str, z: Tensor, context: Tensor | None
) -> Parts:
    """Return the parts with the base's affine layer, or with its density where it is no Gaussian."""
    if gaussian is None:
        parts.base, parts.why = log_prob, f"its base, {words}, is no diagonal Gaussian"
        return parts
    mean, log_scale = gaussian(z, context)
    if mean.any() or log_scale.any():
        parts.stack.append(ForeignLayer("base", "base", Standardise(gaussian)))
    return parts


def per_example(value: Any, x: Tensor) -> Tensor:
    """Return a log-determinant or log-density for each example, (B,).

    Other libraries give a number, a tensor of one number for the whole batch, or a number for each dimension.
    """
    value = torch.as_tensor(value, dtype=x.dtype, device=x.device)
    if value.numel() == 1:
        return value.reshape(1).expand(len(x))
    return value.flatten(1).sum(1) if value.dim() > 1 else value


def close(ours: Tensor, theirs: Tensor, tolerance: float = _AGREES) -> bool:
    """Return whether two tensors agree but for rounding."""
    return torch.allclose(ours.double(), theirs.double(), rtol=tolerance, atol=tolerance)


def origin(module: nn.Module) -> str:
    """Return whose flow it is, such as ``zuko MAF``."""
    return f"{type(module).__module__.partition('.')[0]} {type(module).__name__}"


def dtype_of(module: nn.Module) -> torch.dtype:
    """Return the type that a module computes in: its transforms', for some bases of normflows are in another."""
    transforms = (getattr(module, name, None) for name in ("flows", "transform"))
    looked_at = [part for part in (*transforms, module) if isinstance(part, nn.Module)]
    tensors = [tensor for part in looked_at for tensor in (*part.parameters(), *part.buffers())]
    return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.get_default_dtype())


def probe_context(features: int, like: Tensor) -> Tensor | None:
    """Return a random context for a probe."""
    return torch.randn(len(like), features, dtype=like.dtype) if features else None


def context_features(log_prob: LogProb, module: nn.Module, x: Tensor) -> int:
    """Return the length of the context that a flow takes, found by trying.

    Without one first; then every length that its linear layers leave room for.

    Raises
    ------
    ValueError
        When it works with none.
    """
    widest = max((parameter.shape[-1] for parameter in module.parameters() if parameter.dim() == 2), default=0)
    reason: Exception | None = None
    for features in range(widest + 1):
        try:
            log_prob(x, probe_context(features, x))
        except NotImplementedError:
            return 0  # it has no such direction, which says nothing of a context
        except Exception as error:  # noqa: BLE001 - a wrong length fails in as many ways as there are networks
            reason = reason or error
        else:
            return features
    msg = f"{origin(module)} takes no batch of shape {tuple(x.shape)}: {reason}. Give event_shape and context_features"
    raise ValueError(msg) from reason
