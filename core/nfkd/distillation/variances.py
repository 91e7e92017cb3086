"""Variances of the teacher's latents and layers over a whole batch, for terms that are divided by them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from nfkd.distillation.ranks import Ranks
from nfkd.flows.flow import Pass

LATENTS = ""
"""Names the latents where other names are those of layers."""
Variances = Mapping[str, Tensor]
"""By the name of a layer, (1,), or of the latents, one for each split-off part and the last, (L,)."""
_SMALLEST = 1e-6


@torch.no_grad()
def teacher_variances(passes: Iterable[Pass], *names: str, ranks: Ranks | None = None) -> Variances:
    """Return variances over the examples of a batch and over dimensions, without gradients.

    For values h of B examples and D dimensions the variance is Σ_b Σ_d (h_bd − h̄)²/(B·D), with one mean h̄ of them all,
    and at least 10⁻⁶. Examples with values that are not finite do not count. All others count alike, whatever their
    weights.

    Parameters
    ----------
    passes
        The teacher's, over the micro-batches of the batch, one after another.
    *names
        `LATENTS` or layers that the passes trace; by default all of them.
    ranks
        The processes that have the other passes over the batch; by default there are none.
    """
    moments: dict[str, list[Tensor]] = {}
    for each in passes:
        for name in names or (LATENTS, *each.trace):
            found = torch.stack([_moments(values) for values in _levels(each, name)])
            moments.setdefault(name, []).append(found)
    gather = (ranks or Ranks()).gather
    own = {name: _combine(torch.stack(found)) for name, found in moments.items()}
    return {name: _combine(gather(each))[:, 2].clamp(min=_SMALLEST) for name, each in own.items()}


def _levels(teacher: Pass, name: str) -> Sequence[Tensor]:
    return teacher.latents.parts if name == LATENTS else [teacher.trace[name][0]]


def _moments(values: Tensor) -> Tensor:
    """Return number, mean and variance of the values, (3,), over the examples whose values are all finite."""
    flat = values.flatten(1)
    finite = torch.isfinite(flat).all(1, keepdim=True)
    count = finite.sum() * flat.shape[1]
    mean = flat.where(finite, 0).sum() / count.clamp(min=1)
    variance = (flat - mean).square().where(finite, 0).sum() / count.clamp(min=1)
    return torch.stack([count.to(mean.dtype), mean, variance])


def _combine(moments: Tensor) -> Tensor:
    """Return number, mean and variance of all values, (L, 3), from those of P parts, (P, L, 3).

    The variance is the mean of the variances plus the variance of the means.
    """
    count, mean, variance = moments.unbind(2)
    total = count.sum(0)
    share = count / total.clamp(min=1)
    middle = (share * mean).sum(0)
    return torch.stack([total, middle, (share * (variance + (mean - middle).square())).sum(0)], dim=1)
