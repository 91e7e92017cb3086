"""Forward KL: the student's likelihood of the teacher's samples."""

from __future__ import annotations

from torch import Tensor

from nfkd.config.terms import ForwardKLConfig
from nfkd.distillation.objective import Objective
from nfkd.distillation.passes import Needs, StepPasses, TeacherSamples


class ForwardKL(Objective[ForwardKLConfig]):
    """−E_{x~p_T} log p_S(x): KL(p_T ‖ p_S) up to the teacher's entropy, on a batch of teacher samples of its own.

    In the unit of the likelihood, bits/dim or nats per dimension. Figures: (B',), for B' samples. No gradient flows
    through the samples. With this term alone the student learns without data. Teacher-sample augmentation, as in
    Bucilă et al. 2006, "Model compression", doi 10.1145/1150402.1150464, for densities.
    """

    label = "Forward KL"
    summary = "−log p of samples that the teacher draws, a batch of its own"
    paper = "Bucilă et al. 2006, doi 10.1145/1150402.1150464"
    asks = ("synthesis",)

    def needs(self) -> Needs:
        """Return the student's pass over samples of the teacher."""
        return Needs(_source(self.config))

    def each(self, passes: StepPasses) -> Tensor:
        """Return the figure of each sample, (B',)."""
        return self.nll_loss(passes.samples[_source(self.config)].log_prob)

    def reduce(self, values: Tensor, passes: StepPasses) -> Tensor:
        """Return the mean over the samples: the examples' weights are not theirs."""
        return values.mean()


def _source(config: ForwardKLConfig) -> TeacherSamples:
    return TeacherSamples(config.batch_size, config.temperature)
