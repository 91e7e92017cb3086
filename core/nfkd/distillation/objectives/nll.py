"""NLL: maximum likelihood on the data."""

from __future__ import annotations

from torch import Tensor

from nfkd.config.terms import NLLConfig
from nfkd.distillation.objective import Objective
from nfkd.distillation.passes import Needs, StepPasses, require


class NLL(Objective[NLLConfig]):
    """Maximum likelihood: the mean over the batch of −log p_S(x).

    Images in bits/dim, −log₂ p_S(x)/D + log₂ levels, vectors in nats per dimension. Figures: (B,).
    """

    label = "NLL"
    summary = "maximum likelihood: −log p of the data, in bits/dim for images and nats per dimension for vectors"
    paper = "Dinh et al. 2015, arXiv 1410.8516"

    def needs(self) -> Needs:
        """Return the student's pass."""
        return Needs(teacher=False)

    def each(self, passes: StepPasses) -> Tensor:
        """Return each example's figure, (B,)."""
        return self.nll_loss(require(passes.student).log_prob)
