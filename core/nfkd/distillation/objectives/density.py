"""Density: squared difference of log-densities."""

from __future__ import annotations

from torch import Tensor

from nfkd.config.terms import DensityConfig
from nfkd.distillation.objective import Objective
from nfkd.distillation.passes import StepPasses, require


class Density(Objective[DensityConfig]):
    """E ((log p_S(x) − log p_T(x))/D)² over the data.

    Regression on the teacher's output, as Ba & Caruana 2014, arXiv 1312.6184, regress on logits.
    """

    asks = ("log_prob",)

    def per_example(self, passes: StepPasses) -> Tensor:
        """Return the squared difference of each example, (B,)."""
        student = require(passes.student)
        dimensions = sum(part[0].numel() for part in student.latents.parts)
        return ((student.log_prob - require(passes.teacher).log_prob) / dimensions).square()
