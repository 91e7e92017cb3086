"""Noisy reverse: the student's way back from the teacher's latents."""

from __future__ import annotations

import torch
from torch import Tensor

from nfkd.config.terms import NoisyReverseConfig
from nfkd.data import Batch
from nfkd.distillation.matching import weighted_mean
from nfkd.distillation.objective import Objective
from nfkd.distillation.passes import Needs, StepPasses, require
from nfkd.flows.flow import Flow, Latents


class NoisyReverse(Objective[NoisyReverseConfig]):
    """The weighted mean over matched layers m of mean_d (h̃_S^m − h_T^m)².

    h_T is the teacher's trace of x, from x itself to its latents Z; h̃_S the student's way back from Z + s·ε, with ε
    standard normal for every latent and s ~ U[0, noise] for each example. The data counts as a matched layer (h_T = x),
    so that the steps before the first one learn too, with the weight 1 that a pair has unless it is given another; the
    last layer does not, for what is there does not depend on the student. Figures: (B, M). FARMER's distillation of the
    reverse path, Zheng et al. 2025, arXiv 2510.23588.
    """

    label = "Noisy reverse"
    summary = "squared error of the student's way back from the teacher's noisy latents, at matched layers and the data"
    paper = "Zheng et al. 2025 (FARMER), arXiv 2510.23588"
    unit = "squared latent"
    asks = ("latents",)
    matches = True
    same_latents = True

    def needs(self) -> Needs:
        """Return the teacher's pass with what comes out of each layer, and a way back of its own."""
        return Needs(student=False, trace=True, random={"noisy reverse": self._noise}, extra_decodes=3.0)

    def each(self, passes: StepPasses) -> Tensor:
        """Return each example's mean over the dimensions of every matched layer, (B, M)."""
        batch, teacher, (student, _) = require(passes.batch), require(passes.teacher), require(passes.flows)
        clean, noise = teacher.latents, passes.random["noisy reverse"]
        noisy = tuple(part.detach() + some.to(part) for part, some in zip(clean.parts, noise, strict=True))
        x, way = student.decode_trace(Latents(noisy, clean.log_det), batch.context)
        last = next(iter(way))
        points = [(way[p.student], teacher.trace[p.teacher][0]) for p in self.pairs if p.student != last]
        points.insert(0, (x, batch.x.detach()))
        return torch.stack([(ours - theirs).square().flatten(1).mean(1) for ours, theirs in points], dim=1)

    def reduce(self, values: Tensor, passes: StepPasses) -> Tensor:
        """Return the weighted mean over the examples of the mean over data and layers, each pair by its weight."""
        weights = [1.0, *(pair.weight for pair in self.pairs)]  # that of the last layer has no figures
        return passes.mean(weighted_mean(values, weights[: values.shape[1]]))

    def _noise(self, student: Flow, batch: Batch, generator: torch.Generator) -> tuple[Tensor, ...]:
        scale = self.config.noise * torch.rand(len(batch), generator=generator)
        noise = (torch.randn(len(batch), *shape, generator=generator) for shape in student.latent_shapes)
        return tuple((part * scale.view(-1, *[1] * (part.dim() - 1))).to(batch.x) for part in noise)
