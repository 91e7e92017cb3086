"""Noisy reverse: the student's inverse of the teacher's noisy latents."""

from __future__ import annotations

import torch
from torch import Tensor

from nfkd.config.terms import NoisyReverseConfig
from nfkd.data import Batch
from nfkd.distillation.matching import weighted_mean
from nfkd.distillation.needs import Needs
from nfkd.distillation.objective import Objective
from nfkd.distillation.passes import StepPasses, require
from nfkd.flows.flow import Flow, Latents
from nfkd.transfer import to_device


class NoisyReverse(Objective[NoisyReverseConfig]):
    """The weighted mean over matched layers m of mean_d (h̃_S^m − h_T^m)².

    h_T is the teacher's trace of x, from x to its latents z; h̃_S is the student's trace of the inverse of z + s·ε,
    with ε standard normal for every latent and s ~ U[0, noise] for each example. The data counts as a matched layer
    (h_T = x) with the weight 1, so that the steps before the first matched layer learn too. The last layer does not
    count: the inverse begins there, and it does not depend on the student. FARMER's distillation of the reverse path,
    Zheng et al. 2025, arXiv 2510.23588.
    """

    asks = ("latents",)
    same_latents = True

    def needs(self) -> Needs:
        """Return the teacher's pass with the output of each layer; the term makes its own inverse pass."""
        return Needs(student=False, trace=True, random={"noisy reverse": self._noise}, extra_decodes=3.0)

    def per_example(self, passes: StepPasses) -> Tensor:
        """Return the mean over the dimensions of the data and each matched layer but the last, (B, M)."""
        batch, teacher, (student, _) = require(passes.batch), require(passes.teacher), require(passes.flows)
        clean, noise = teacher.latents, passes.random["noisy reverse"]
        noisy = tuple(part.detach() + extra.to(part) for part, extra in zip(clean.parts, noise, strict=True))
        x, trace = student.decode_trace(Latents(noisy, clean.log_det), batch.context)
        last = next(iter(trace))
        points = [(x, batch.x.detach())]
        points += [(trace[p.student], teacher.trace[p.teacher][0]) for p in self.pairs if p.student != last]
        return torch.stack([(mine - target).square().flatten(1).mean(1) for mine, target in points], dim=1)

    def reduce(self, values: Tensor, passes: StepPasses) -> Tensor:
        """Return the weighted mean over the examples, the data and the matched layers."""
        weights = [1.0, *(pair.weight for pair in self.pairs)]  # the last layer has no value
        return passes.mean(weighted_mean(values, weights[: values.shape[1]]))

    def _noise(self, student: Flow, batch: Batch, generator: torch.Generator) -> tuple[Tensor, ...]:
        scale = self.config.noise * torch.rand(len(batch), generator=generator)
        noise = (torch.randn(len(batch), *shape, generator=generator) for shape in student.latent_shapes)
        scaled = (part * scale.view(-1, *[1] * (part.dim() - 1)) for part in noise)
        return tuple(to_device(part, batch.x.device, batch.x.dtype) for part in scaled)
