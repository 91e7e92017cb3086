"""Relational: the distances between the latents of a batch's examples."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from nfkd.config.terms import RelationalConfig
from nfkd.distillation.objective import Objective
from nfkd.distillation.passes import StepPasses, require


class Relational(Objective[RelationalConfig]):
    """Huber loss on the distances ψ(i, j) = ‖z_i − z_j‖/μ of a batch's latents, μ their mean over all pairs i ≠ j.

    Huber is ½d² up to d = 1 and d − ½ beyond. Rotating, shifting or scaling all latents of a flow does not change its
    ψ. RKD-D of Park et al. 2019, arXiv 1904.05068.
    """

    asks = ("latents",)
    compares = True

    def per_example(self, passes: StepPasses) -> Tensor:
        """Return each example's mean over the other examples, (B,)."""
        student, teacher = (_distances(require(p).latents.flat()) for p in (passes.student, passes.teacher))
        return functional.huber_loss(student, teacher, reduction="none").sum(1) / max(1, len(student) - 1)

    def finite(self, values: Tensor, passes: StepPasses) -> Tensor:
        """Return which examples have finite latents; one that is not makes all distances non-finite."""
        both = torch.stack([require(p).latents.flat() for p in (passes.student, passes.teacher)])
        return torch.isfinite(both).all(2).all(0)


def _distances(z: Tensor) -> Tensor:
    """Return ψ, (B, B), zero on its diagonal; the gradient of a distance of zero is zero."""
    # By matrix products, small distances would lose their digits.
    distances = torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist")
    pairs = len(z) * (len(z) - 1)
    return distances * pairs / distances.sum().clamp(min=torch.finfo(z.dtype).tiny)
