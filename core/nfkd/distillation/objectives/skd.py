"""SKD: difference of samples from the same noise."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from torch import Tensor

from nfkd.config import ConfigProblem
from nfkd.config.terms import SKDConfig
from nfkd.data import Dataset
from nfkd.distillation.needs import Needs, Synthesis
from nfkd.distillation.objective import Objective
from nfkd.distillation.passes import StepPasses, require
from nfkd.distillation.perceptual import PerceptualError, VGGFeatures
from nfkd.flows.flow import Flow


class SKD(Objective[SKDConfig]):
    """Synthesized knowledge distillation: mean_d |g_S(u) − g_T(u)| of the samples that both make from one noise u.

    Every level of both flows gets the same ε: z = μ(h) + τσ(h)ε. *l1*: the absolute difference; *l2*: the squared
    difference; *perceptual*: the squared difference of VGG features, see `VGGFeatures`. Walton et al. 2025, arXiv
    2506.21003, section 3.
    """

    asks = ("synthesis",)
    same_latents = True

    @cached_property
    def _features(self) -> VGGFeatures:
        return VGGFeatures.load(Path(self.config.perceptual_weights))

    def needs(self) -> Needs:
        """Return samples of both flows."""
        return Needs(Synthesis(self.config.batch_size, self.config.temperature))

    def per_example(self, passes: StepPasses) -> Tensor:
        """Return the difference, (B, *event_shape), or the perceptual distance, (B,)."""
        made = passes.synthesized[Synthesis(self.config.batch_size, self.config.temperature)]
        student, teacher = require(made.student), require(made.teacher)
        if self.config.distance == "perceptual":
            return self._features.distance(student, teacher)
        difference = student - teacher
        return difference.abs() if self.config.distance == "l1" else difference.square()

    def problems(self, student: Flow, teacher: Flow, dataset: Dataset) -> list[ConfigProblem]:
        """Return why there is no perceptual distance: no images, or no file of VGG weights."""
        if self.config.distance != "perceptual":
            return []
        if not dataset.is_image or dataset.event_shape[0] not in {1, 3}:
            return [
                ConfigProblem("distance", "VGG takes grey or colour images, and the data has none: choose l1 or l2")
            ]
        if not self.config.perceptual_weights:
            message = "give a file of VGG-16 or VGG-19 weights, such as torchvision's vgg16-397923af.pth"
            return [ConfigProblem("perceptual_weights", message)]
        try:
            VGGFeatures.load(Path(self.config.perceptual_weights))
        except PerceptualError as error:
            return [ConfigProblem("perceptual_weights", str(error))]
        return []
