"""ILKD: squared difference of the outputs of matched layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nfkd.config.terms import ILKDConfig
from nfkd.distillation.matching import weighted_mean
from nfkd.distillation.needs import Needs
from nfkd.distillation.objective import Objective
from nfkd.distillation.passes import StepPasses, require
from nfkd.flows.flow import Pass
from nfkd.protocol.records import LayerPair


class ILKD(Objective[ILKDConfig]):
    """Σ_m w_m·mean_d (h_S^{i_m}(x) − h_T^{j_m}(x))² / Σ_m w_m over the M matched pairs of layers.

    A layer of few dimensions counts as much as one of many. The pairs' weights w_m are 1 unless the user sets others.
    Walton et al. 2025, arXiv 2506.21003, section 3. Normalised: each pair's mean is divided by v_m, the variance of the
    teacher's matched layer over the batch and the dimensions.
    """

    asks = ("latents",)

    def needs(self) -> Needs:
        """Return both passes with the output of each layer, and the variances of the teacher's if normalised."""
        return Needs(trace=True, variances=self.config.normalize)

    def per_example(self, passes: StepPasses) -> Tensor:
        """Return each pair's mean over the dimensions, (B, M)."""
        errors = torch.stack(example_errors(require(passes.student), require(passes.teacher), self.pairs)).T
        if not self.config.normalize:
            return errors
        return errors / torch.cat([passes.variances(pair.teacher) for pair in self.pairs])

    def reduce(self, values: Tensor, passes: StepPasses) -> Tensor:
        """Return the mean over the examples and, by their weights, over the pairs."""
        means = torch.stack([passes.mean(pair) for pair in values.T])
        return weighted_mean(means, [pair.weight for pair in self.pairs])


def pair_errors(student: Pass, teacher: Pass, pairs: Sequence[LayerPair]) -> Tensor:
    """Return the mean squared difference of every matched pair of layers, (M,).

    Both passes must have been made with ``trace=True``.
    """
    return torch.stack([error.mean() for error in example_errors(student, teacher, pairs)])


def example_errors(student: Pass, teacher: Pass, pairs: Sequence[LayerPair]) -> list[Tensor]:
    """Return each pair's mean squared difference for each example, (B,)."""
    return [(student.trace[p.student][0] - teacher.trace[p.teacher][0]).square().flatten(1).mean(1) for p in pairs]
