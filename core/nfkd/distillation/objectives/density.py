"""Density: regression on the teacher's log-density."""

from __future__ import annotations

from torch import Tensor

from nfkd.config.terms import DensityConfig
from nfkd.distillation.objective import Objective
from nfkd.distillation.passes import Needs, StepPasses, require


class Density(Objective[DensityConfig]):
    """E ((log p_S(x) − log p_T(x))/D)² over the data, in nats per dimension, squared.

    Figures: (B,). Regression on the teacher's output, as Ba & Caruana 2014, arXiv 1312.6184, regress on logits.
    """

    label = "Density"
    summary = "squared difference of log p of student and teacher on the data, per dimension"
    paper = "Ba & Caruana 2014, arXiv 1312.6184, for log-densities"
    unit = "(nat/dim)²"
    asks = ("log_prob",)

    def needs(self) -> Needs:
        """Return both passes."""
        return Needs()

    def each(self, passes: StepPasses) -> Tensor:
        """Return the squared difference of each example, (B,)."""
        student = require(passes.student)
        dimensions = sum(part[0].numel() for part in student.latents.parts)
        return ((student.log_prob - require(passes.teacher).log_prob) / dimensions).square()
