"""Reverse KL: both densities of the student's own samples."""

from __future__ import annotations

from torch import Tensor

from nfkd.config.terms import ReverseKLConfig
from nfkd.distillation.needs import Needs, Synthesis
from nfkd.distillation.objective import Objective
from nfkd.distillation.passes import StepPasses, require


class ReverseKL(Objective[ReverseKLConfig]):
    """KL(p_S ‖ p_T) = E_u [log p_S(x) − log p_T(x)] with x = g_S(u), u standard normal.

    Reparametrised: the gradient reaches the student through x in both densities, so also through the frozen teacher.
    Probability density distillation of Parallel WaveNet, van den Oord et al. 2018, arXiv 1711.10433.
    """

    asks = ("log_prob",)

    def needs(self) -> Needs:
        """Return samples of the student and both densities of them."""
        return Needs(Synthesis(self.config.batch_size), teacher=False, densities=True)

    def per_example(self, passes: StepPasses) -> Tensor:
        """Return the difference of the log-densities of each sample, (B,)."""
        student, teacher = require(passes.synthesized[Synthesis(self.config.batch_size)].densities)
        return self.nll_loss(teacher) - self.nll_loss(student)
