"""Score: gradients of the log-densities."""

from __future__ import annotations

import torch
from torch import Tensor

from nfkd.config.terms import ScoreConfig
from nfkd.distillation.objective import Objective
from nfkd.distillation.passes import Needs, StepPasses, require
from nfkd.flows.autoregressive import BatchNorm
from nfkd.flows.flow import evaluating


class Score(Objective[ScoreConfig]):
    """E ‖∇ₓ log p_S(x) − ∇ₓ log p_T(x)‖² / D over the data: the Fisher divergence where the data is the teacher's.

    Figures: (B,). The step differentiates the student's score by its parameters: second derivatives, on the plain
    path. With batch norm an example's density in training is none of its own: the student's is then taken by the
    running means, in a pass of its own. Sobolev training, Czarnecki et al. 2017, arXiv 1706.04859, with the score
    of Hyvärinen 2005 (JMLR 6:695).
    """

    label = "Score"
    summary = "squared difference of the gradients of log p in x (Fisher divergence)"
    paper = "Hyvärinen 2005, JMLR 6:695; Czarnecki et al. 2017, arXiv 1706.04859"
    unit = "squared score"
    asks = ("log_prob",)

    def needs(self) -> Needs:
        """Return both passes with a way back to x."""
        return Needs(input_gradient=True, own=(4.0, 2.0))

    def each(self, passes: StepPasses) -> Tensor:
        """Return each example's mean over the dimensions, (B,)."""
        x = require(passes.batch).x
        [ours] = torch.autograd.grad(self._log_prob(passes).sum(), x, create_graph=True)
        [theirs] = torch.autograd.grad(require(passes.teacher).log_prob.sum(), x, retain_graph=True)
        return (ours - theirs).square().flatten(1).mean(1)

    def _log_prob(self, passes: StepPasses) -> Tensor:
        batch, student = require(passes.batch), require(passes.flows)[0]
        if not any(isinstance(module, BatchNorm) for module in student.modules()):
            return require(passes.student).log_prob
        with evaluating(student):
            return student.log_prob(batch.x, batch.context)
