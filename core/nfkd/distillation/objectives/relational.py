"""Relational: how far examples are from each other."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from nfkd.config.terms import RelationalConfig
from nfkd.distillation.objective import Objective
from nfkd.distillation.passes import Needs, StepPasses, require


class Relational(Objective[RelationalConfig]):
    """Huber loss on the distances ψ(i, j) = ‖z_i − z_j‖/μ of a batch's latents, μ their mean over all pairs i ≠ j.

    Huber is ½d² up to d = 1 and d − ½ beyond. Whatever turns, moves or scales all latents of a flow leaves its ψ as it
    is. Figures: (B,), each the mean over the B − 1 pairs of an example. RKD-D of Park et al. 2019, arXiv 1904.05068.
    """

    label = "Relational"
    summary = "Huber loss on the normalised distances between the latents of a batch's examples"
    paper = "Park et al. 2019 (RKD), arXiv 1904.05068"
    asks = ("latents",)
    unit = "relative distance"
    compares = True

    def needs(self) -> Needs:
        """Return both passes."""
        return Needs()

    def each(self, passes: StepPasses) -> Tensor:
        """Return each example's mean over the others, (B,)."""
        ours, theirs = (_distances(require(made).latents.flat()) for made in (passes.student, passes.teacher))
        others = max(1, len(ours) - 1)
        return functional.huber_loss(ours, theirs, reduction="none").sum(1) / others

    def finite(self, values: Tensor, passes: StepPasses) -> Tensor:
        """Return which examples have finite latents: one that has not makes all distances so."""
        both = torch.stack([require(made).latents.flat() for made in (passes.student, passes.teacher)])
        return torch.isfinite(both).all(2).all(0)


def _distances(z: Tensor) -> Tensor:
    """Return ψ, (B, B), zero on its diagonal; the gradient of a distance of zero is zero."""
    # Through products of matrices the distances of near latents would lose their digits.
    distances = torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist")
    pairs = len(z) * (len(z) - 1)
    return distances * pairs / distances.sum().clamp(min=torch.finfo(z.dtype).tiny)
