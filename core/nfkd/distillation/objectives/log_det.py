"""Log-det: squared difference of the log-determinants between matched layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nfkd.config.terms import LogDetConfig
from nfkd.distillation.matching import weighted_mean
from nfkd.distillation.needs import Needs
from nfkd.distillation.objective import Objective
from nfkd.distillation.passes import StepPasses, require
from nfkd.flows.flow import Pass


class LogDet(Objective[LogDetConfig]):
    """Σ_m ((Δ_S,m − Δ_T,m)/D)², with Δ_m the log-determinant from matched layer m − 1 to m; layer 0 is the data.

    A pair counts by its weight, relative to the mean weight. The counterpart of ILKD (arXiv 2506.21003), with the same
    matching.
    """

    asks = ("latents",)

    def needs(self) -> Needs:
        """Return both passes with the output of each layer."""
        return Needs(trace=True)

    def per_example(self, passes: StepPasses) -> Tensor:
        """Return the sum over the matched layers, (B,)."""
        student, teacher = require(passes.student), require(passes.teacher)
        dimensions = sum(part[0].numel() for part in student.latents.parts)
        differences = _increments(student, [pair.student for pair in self.pairs])
        differences = differences - _increments(teacher, [pair.teacher for pair in self.pairs])
        squares = (differences / dimensions).square()
        return len(self.pairs) * weighted_mean(squares, [pair.weight for pair in self.pairs])


def _increments(flow_pass: Pass, names: Sequence[str]) -> Tensor:
    """Return the change of the log-determinant from each named layer to the next, (B, M); the first from the data."""
    totals = torch.stack([flow_pass.trace[name][1] for name in names], dim=1)
    return totals.diff(dim=1, prepend=torch.zeros_like(totals[:, :1]))
