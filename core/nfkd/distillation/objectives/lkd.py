"""LKD: squared difference of the final latents."""

from __future__ import annotations

from torch import Tensor

from nfkd.config.terms import LKDConfig
from nfkd.distillation.objective import Objective
from nfkd.distillation.passes import StepPasses, require


class LKD(Objective[LKDConfig]):
    """Latent knowledge distillation: the mean of (z_S − z_T)² over all D latents, split-off ones too.

    Walton et al. 2025, arXiv 2506.21003, section 3.
    """

    asks = ("latents",)
    same_latents = True

    def per_example(self, passes: StepPasses) -> Tensor:
        """Return the mean over the latents, (B,)."""
        student, teacher = require(passes.student).latents.flat(), require(passes.teacher).latents.flat()
        return (student - teacher).square().mean(1)
