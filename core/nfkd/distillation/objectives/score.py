"""Score: squared difference of the gradients of log p by x."""

from __future__ import annotations

import torch
from torch import Tensor

from nfkd.config.terms import ScoreConfig
from nfkd.distillation.needs import Needs
from nfkd.distillation.objective import Objective
from nfkd.distillation.passes import StepPasses, require
from nfkd.flows.autoregressive import BatchNorm
from nfkd.flows.flow import evaluating


class Score(Objective[ScoreConfig]):
    """E ‖∇ₓ log p_S(x) − ∇ₓ log p_T(x)‖² / D over the data: the Fisher divergence where the data is the teacher's.

    The backward pass takes second derivatives of the student. With batch norm an example's density depends on the other
    examples of the batch; the student's density is then taken with the running means, in one more pass. Sobolev
    training, Czarnecki et al. 2017, arXiv 1706.04859, with the score of Hyvärinen 2005 (JMLR 6:695).
    """

    asks = ("log_prob",)
    recomputes = False

    def needs(self) -> Needs:
        """Return both passes, differentiable by x."""
        return Needs(input_gradient=True, extra_encodes=(4.0, 2.0))

    def per_example(self, passes: StepPasses) -> Tensor:
        """Return the mean over the dimensions, (B,)."""
        x = require(passes.batch).x
        [student] = torch.autograd.grad(self._log_prob(passes).sum(), x, create_graph=True)
        [teacher] = torch.autograd.grad(require(passes.teacher).log_prob.sum(), x, retain_graph=True)
        return (student - teacher).square().flatten(1).mean(1)

    def _log_prob(self, passes: StepPasses) -> Tensor:
        batch, student = require(passes.batch), require(passes.flows)[0]
        if not any(isinstance(module, BatchNorm) for module in student.modules()):
            return require(passes.student).log_prob
        with evaluating(student):
            return student.log_prob(batch.x, batch.context)
