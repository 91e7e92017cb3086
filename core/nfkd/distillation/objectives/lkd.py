"""LKD: the final latents."""

from __future__ import annotations

from torch import Tensor

from nfkd.config.terms import LKDConfig
from nfkd.distillation.objective import Objective
from nfkd.distillation.passes import Needs, StepPasses, require


class LKD(Objective[LKDConfig]):
    """Latent knowledge distillation: the mean of (z_S − z_T)² over all D latents, split-off ones too, raw z.

    Figures: (B,), each the mean over the D latents of an example. Walton et al. 2025, arXiv 2506.21003, section 3.
    """

    label = "LKD"
    summary = "squared difference of all final latents of student and teacher"
    paper = "Walton et al. 2025, arXiv 2506.21003"
    unit = "squared latent"
    asks = ("latents",)
    same_latents = True

    def needs(self) -> Needs:
        """Return both passes."""
        return Needs()

    def each(self, passes: StepPasses) -> Tensor:
        """Return each example's mean over its latents, (B,)."""
        ours, theirs = require(passes.student).latents.flat(), require(passes.teacher).latents.flat()
        return (ours - theirs).square().mean(1)
