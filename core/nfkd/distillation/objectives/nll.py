"""NLL: maximum likelihood on the data."""

from __future__ import annotations

from torch import Tensor

from nfkd.config.terms import NLLConfig
from nfkd.distillation.needs import Needs
from nfkd.distillation.objective import Objective
from nfkd.distillation.passes import StepPasses, require


class NLL(Objective[NLLConfig]):
    """Maximum likelihood: the mean over the batch of −log p_S(x).

    Images in bits/dim, −log₂ p_S(x)/D + log₂ levels, vectors in nats per dimension.
    """

    def needs(self) -> Needs:
        """Return the student's pass."""
        return Needs(teacher=False)

    def per_example(self, passes: StepPasses) -> Tensor:
        """Return the negative log-likelihood of each example, (B,)."""
        return self.nll_loss(require(passes.student).log_prob)
