"""Reverse KL: the student's own samples."""

from __future__ import annotations

from torch import Tensor

from nfkd.config.terms import ReverseKLConfig
from nfkd.distillation.objective import Objective
from nfkd.distillation.passes import Needs, StepPasses, Synthesis, require


class ReverseKL(Objective[ReverseKLConfig]):
    """KL(p_S ‖ p_T) = E_u [log p_S(x) − log p_T(x)] with x = g_S(u), u standard normal.

    Reparametrised: the gradient reaches the student through x in both densities, and so through the frozen teacher. In
    the unit of the likelihood, bits/dim or nats per dimension. Figures: (B',), for B' samples. Probability density
    distillation of Parallel WaveNet, van den Oord et al. 2018, arXiv 1711.10433.
    """

    label = "Reverse KL"
    summary = "log p of the student minus the teacher's, on the student's own samples"
    paper = "van den Oord et al. 2018, arXiv 1711.10433"
    asks = ("log_prob",)

    def needs(self) -> Needs:
        """Return samples of the student and both densities there."""
        return Needs(Synthesis(self.config.batch_size), teacher=False, densities=True)

    def each(self, passes: StepPasses) -> Tensor:
        """Return the difference of the log-densities of each sample, (B',)."""
        ours, theirs = require(passes.synthesized[Synthesis(self.config.batch_size)].densities)
        return self.nll_loss(theirs) - self.nll_loss(ours)

    def reduce(self, values: Tensor, passes: StepPasses) -> Tensor:
        """Return the mean over the samples: the examples' weights are not theirs."""
        return values.mean()
