"""Log-det: the volume change between matched layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nfkd.config.terms import LogDetConfig
from nfkd.distillation.matching import weighted_mean
from nfkd.distillation.objective import Objective
from nfkd.distillation.passes import Needs, StepPasses, require
from nfkd.flows.flow import Pass


class LogDet(Objective[LogDetConfig]):
    """Σ_m ((Δ_S,m − Δ_T,m)/D)² with Δ_m the log-determinant between matched point m − 1 and m, the data being point 0.

    Each block of the student is asked for the volume change of the teacher's block that faces it; a block's pair counts
    by its weight, relative to the mean of all. In nats per dimension, squared. Figures: (B,), the sum over the M
    matched points. Beside ILKD (arXiv 2506.21003): its matching, for the other half of what a layer gives.
    """

    label = "Log-det"
    summary = "squared difference of the log-determinants between matched layers, per dimension"
    paper = "beside ILKD, on the matching of Walton et al. 2025, arXiv 2506.21003"
    unit = "(nat/dim)²"
    asks = ("latents",)
    matches = True

    def needs(self) -> Needs:
        """Return both passes with what comes out of each layer."""
        return Needs(trace=True)

    def each(self, passes: StepPasses) -> Tensor:
        """Return the sum over the matched points of each example, (B,)."""
        student, teacher = require(passes.student), require(passes.teacher)
        dimensions = sum(part[0].numel() for part in student.latents.parts)
        ours = _increments(student, [pair.student for pair in self.pairs])
        theirs = _increments(teacher, [pair.teacher for pair in self.pairs])
        squares = ((ours - theirs) / dimensions).square()
        return len(self.pairs) * weighted_mean(squares, [pair.weight for pair in self.pairs])


def _increments(made: Pass, names: Sequence[str]) -> Tensor:
    """Return the change of the log-determinant from each named layer to the next, (B, M); the first from the data."""
    totals = torch.stack([made.trace[name][1] for name in names], dim=1)
    return totals.diff(dim=1, prepend=torch.zeros_like(totals[:, :1]))
