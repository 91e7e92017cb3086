"""Forward KL: the student's likelihood of the teacher's samples."""

from __future__ import annotations

from torch import Tensor

from nfkd.config.terms import ForwardKLConfig
from nfkd.distillation.needs import Needs, TeacherSamples
from nfkd.distillation.objective import Objective
from nfkd.distillation.passes import StepPasses


class ForwardKL(Objective[ForwardKLConfig]):
    """−E_{x~p_T} log p_S(x): KL(p_T ‖ p_S) up to the teacher's entropy, on samples of the teacher.

    No gradient flows through the samples. With this term alone the student learns without data. The idea for
    classifiers: Bucilă et al. 2006, "Model compression", doi 10.1145/1150402.1150464.
    """

    asks = ("synthesis",)

    def needs(self) -> Needs:
        """Return the student's pass over the teacher's samples."""
        return Needs(_source(self.config))

    def per_example(self, passes: StepPasses) -> Tensor:
        """Return the negative log-likelihood of each sample, (B,)."""
        return self.nll_loss(passes.samples[_source(self.config)].log_prob)


def _source(config: ForwardKLConfig) -> TeacherSamples:
    return TeacherSamples(config.batch_size, config.temperature)
