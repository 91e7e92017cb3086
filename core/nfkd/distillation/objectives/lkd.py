"""LKD: squared difference of the final latents."""

from __future__ import annotations

import torch
from torch import Tensor

from nfkd.config.terms import LKDConfig
from nfkd.distillation.needs import Needs
from nfkd.distillation.objective import Objective
from nfkd.distillation.passes import StepPasses, require
from nfkd.distillation.variances import LATENTS


class LKD(Objective[LKDConfig]):
    """Latent knowledge distillation: the mean of (z_S − z_T)² over all D latents, split-off ones too.

    Walton et al. 2025, arXiv 2506.21003, section 3. Normalised: Σ_l Σ_d (z_S,ld − z_T,ld)²/v_l / D over the levels l,
    with v_l the variance of the teacher's latents of that level over the batch and the dimensions.
    """

    asks = ("latents",)
    same_latents = True

    def needs(self) -> Needs:
        """Return both passes, and the variances of the teacher's latents if normalised."""
        return Needs(variances=self.config.normalize)

    def per_example(self, passes: StepPasses) -> Tensor:
        """Return the mean over the latents, (B,)."""
        student, teacher = require(passes.student).latents.parts, require(passes.teacher).latents.parts
        squares = [(s - t).square().flatten(1) for s, t in zip(student, teacher, strict=True)]
        if self.config.normalize:
            variances = passes.variances(LATENTS)
            squares = [square / variance for square, variance in zip(squares, variances, strict=True)]
        return torch.cat(squares, dim=1).mean(1)
