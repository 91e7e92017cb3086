"""The results of a pass from data to latents."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Latents:
    """The latents of a batch.

    Attributes
    ----------
    parts
        The split-off latents in the order of the splits, then the last one; each (B, …).
    log_det
        Log-determinant of the data-to-latents Jacobian, (B,) nats.
    """

    parts: tuple[Tensor, ...]
    log_det: Tensor

    def flat(self) -> Tensor:
        """Return the latents of each example as one vector, (B, D)."""
        return torch.cat([part.flatten(1) for part in self.parts], dim=1)


@dataclass(frozen=True)
class Pass:
    """The results of one pass from data to latents.

    Attributes
    ----------
    log_prob
        (B,) nats.
    latents
        Of the batch.
    trace
        ``{layer: (tensor after it, log-determinant so far)}`` in order; empty unless requested.
    """

    log_prob: Tensor
    latents: Latents
    trace: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def base_log_prob(self) -> Tensor:
        """The log-density of the latents under their priors, (B,) nats: `log_prob` without the log-determinant."""
        return self.log_prob - self.latents.log_det
