"""The layers of a foreign flow, and its base as a Gaussian."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from nfkd.flows.layer import Layer, Split, sum_each

LogProb = Callable[[Tensor, Tensor | None], Any]
ReadGaussian = Callable[[Any, Tensor | None], tuple[Tensor, Tensor]]
PROBES = 4
_TOLERANCE = 1e-3  # relative, in float32; a flow that is read wrongly differs far more


@dataclass(frozen=True)
class ForeignLayer:
    """A layer; its kind is ``step`` (can be matched), ``split``, or another one."""

    kind: str
    label: str
    layer: Layer | Split
    split_off: tuple[int, ...] = ()
    """Of a split: the shape of the split-off latent."""


@dataclass
class ForeignStack:
    """The layers of a foreign flow.

    Attributes
    ----------
    layers
        From data to latents.
    last
        Shape of the last latent.
    log_prob
        The foreign flow's own.
    base
        Log-density of the last latent, if its base is not a diagonal Gaussian; None if it is a standard normal.
    reason
        Why the base is not a diagonal Gaussian.
    """

    layers: list[ForeignLayer]
    event_shape: tuple[int, ...]
    context_features: int
    last: tuple[int, ...]
    log_prob: LogProb
    base: LogProb | None = None
    reason: str = ""


class Gaussian(nn.Module):
    """A diagonal Gaussian base; its mean and deviation may depend on the context, so every call reads them."""

    def __init__(self, base: nn.Module, read: ReadGaussian) -> None:
        super().__init__()
        self.base, self._read = base, read

    def forward(self, like: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation, each of the shape of ``like``."""
        mean, log_scale = self._read(self.base, context)
        return mean.expand_as(like), log_scale.expand_as(like)


class Standardise(Layer):
    """The affine map from a diagonal Gaussian to the standard normal: z = (x − μ)/σ, log|det| = −Σ log σ."""

    def __init__(self, gaussian: Gaussian) -> None:
        super().__init__()
        self.gaussian = gaussian

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return z and the log-determinant."""
        mean, log_scale = self.gaussian(x, context)
        return (x - mean) * (-log_scale).exp(), -sum_each(log_scale)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return μ + σ·y."""
        mean, log_scale = self.gaussian(y, context)
        return mean + log_scale.exp() * y


def gaussian_of(
    base: nn.Module, read: ReadGaussian, log_prob: LogProb, z: Tensor, context: Tensor | None
) -> Gaussian | None:
    """Return a base as a diagonal Gaussian; None if it cannot be read, or its density at z is another one."""
    gaussian = Gaussian(base, read)
    try:
        mean, log_scale = gaussian(z, context)
        expected = per_example(log_prob(z, context), z)
    except Exception:  # noqa: BLE001 - other bases may raise anything
        return None
    return gaussian if close(sum_each(Normal(mean, log_scale.exp()).log_prob(z)), expected) else None


def with_base(
    stack: ForeignStack, gaussian: Gaussian | None, log_prob: LogProb, name: str, z: Tensor, context: Tensor | None
) -> ForeignStack:
    """Add a base to the layers: as an affine layer, or as a density if it is not a Gaussian."""
    if gaussian is None:
        stack.base, stack.reason = log_prob, f"its base, {name}, is not a diagonal Gaussian"
        return stack
    mean, log_scale = gaussian(z, context)
    if mean.any() or log_scale.any():
        stack.layers.append(ForeignLayer("base", "base", Standardise(gaussian)))
    return stack


def per_example(value: Any, x: Tensor) -> Tensor:
    """Return a log-determinant or log-density as (B,).

    Other libraries return one number for the batch, a number for each example, or one for each dimension.
    """
    value = torch.as_tensor(value, dtype=x.dtype, device=x.device)
    if value.numel() == 1:
        return value.reshape(1).expand(len(x))
    return value.flatten(1).sum(1) if value.dim() > 1 else value


def close(found: Tensor, expected: Tensor, tolerance: float = _TOLERANCE) -> bool:
    """Return whether two tensors agree up to a tolerance, both absolute and relative."""
    return torch.allclose(found.double(), expected.double(), rtol=tolerance, atol=tolerance)


def origin(module: nn.Module) -> str:
    """Return the library and class of a flow, such as ``zuko MAF``."""
    return f"{type(module).__module__.partition('.')[0]} {type(module).__name__}"


def dtype_of(module: nn.Module) -> torch.dtype:
    """Return the dtype that a module computes in: its transforms', because some normflows bases have another one."""
    candidates = (getattr(module, "flows", None), getattr(module, "transform", None), module)
    modules = [candidate for candidate in candidates if isinstance(candidate, nn.Module)]
    tensors = [tensor for part in modules for tensor in (*part.parameters(), *part.buffers())]
    return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.get_default_dtype())


def probe_context(features: int, like: Tensor) -> Tensor | None:
    """Return a random context for each example of a batch; None without context features."""
    return torch.randn(len(like), features, dtype=like.dtype) if features else None


def context_features(log_prob: LogProb, module: nn.Module, x: Tensor) -> int:
    """Return the length of the context that a flow takes.

    Tries no context, then every length up to the widest linear layer.

    Raises
    ------
    ValueError
        When none works.
    """
    widest = max((parameter.shape[-1] for parameter in module.parameters() if parameter.dim() == 2), default=0)
    reason: Exception | None = None
    for features in range(widest + 1):
        try:
            log_prob(x, probe_context(features, x))
        except NotImplementedError:
            return 0  # it has no log_prob, whatever the context
        except Exception as error:  # noqa: BLE001 - a network may raise anything for a wrong length
            reason = reason or error
        else:
            return features
    refused = f"{origin(module)} does not take a batch of shape {tuple(x.shape)}: {reason}"
    msg = f"{refused}. Give event_shape and context_features"
    raise ValueError(msg) from reason
