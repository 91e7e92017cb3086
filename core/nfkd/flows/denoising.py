"""Denoising of samples of a flow whose data had Gaussian noise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_BATCH = 256  # samples whose gradients are held at once


def denoised(
    log_prob: Callable[[Tensor, Tensor | None], Tensor], x: Tensor, deviation: float, context: Tensor | None = None
) -> Tensor:
    """Return x + σ²·∇ₓ log p(x), (B, …): the mean of the examples whose sum with Gaussian noise is x.

    Tweedie's formula with the flow's own score, as in TarFlow (Zhai et al. 2024, arXiv 2412.06329).

    Parameters
    ----------
    log_prob
        From samples and contexts to log-densities, (B,) nats.
    x
        Samples with noise.
    deviation
        σ, in the units of x.
    context
        (B, context features) for a conditional flow.
    """
    parts = []
    for start in range(0, len(x), _BATCH):
        rows = slice(start, start + _BATCH)
        with torch.enable_grad():
            part = x[rows].detach().requires_grad_()
            [score] = torch.autograd.grad(log_prob(part, None if context is None else context[rows]).sum(), part)
        parts.append(part.detach() + deviation**2 * score)
    return torch.cat(parts) if parts else x
