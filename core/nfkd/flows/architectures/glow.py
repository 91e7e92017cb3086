"""Glow for images (Kingma & Dhariwal 2018, arXiv 1807.03039)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nfkd.config import Fault, GlowConfig
from nfkd.flows.architecture import Architecture, Shape, Stack, image_faults, shape_words
from nfkd.flows.bijections import GaussianSplit, Squeeze
from nfkd.flows.coupling import GlowStep
from nfkd.flows.flow import Flow
from nfkd.flows.networks import CouplingNetwork


class Glow(Architecture[GlowConfig]):
    """Levels of squeeze, steps and split."""

    config = GlowConfig
    takes = "images"
    paper = "Kingma & Dhariwal 2018, arXiv 1807.03039"

    def faults(self, config: GlowConfig, shape: Shape) -> list[Fault]:
        """Return a fault for what is no image, or cannot be squeezed often enough."""
        faults = image_faults("Glow", shape)
        if faults:
            return faults
        channels, height, width = shape
        for level in range(1, config.levels + 1):
            if height % 2 or width % 2:
                words = shape_words((channels, height, width))
                message = f"level {level} cannot squeeze {words}: use at most {level - 1} levels"
                if level == 1:
                    message = f"an image of {words} cannot be squeezed: its sides must be even"
                return [Fault("levels", message)]
            channels, height, width = 4 * channels // (1 if level == config.levels else 2), height // 2, width // 2
        return []

    def build(self, config: GlowConfig, shape: Shape, context_features: int, generator: torch.Generator | None) -> Flow:
        """Return the flow."""
        stack, event_shape = Stack(), shape
        for level in range(1, config.levels + 1):
            channels, height, width = 4 * shape[0], shape[1] // 2, shape[2] // 2
            shape = (channels, height, width)
            stack.add(f"level{level}.squeeze", f"level {level} squeeze", "squeeze", shape, Squeeze())
            for step in range(1, config.steps + 1):
                network = CouplingNetwork(
                    channels // 2 + context_features,
                    config.hidden,
                    channels,
                    kernels=(3, 1),
                    last_kernel=3,
                    generator=generator,
                )
                layer = GlowStep(channels, network, generator)
                stack.add(f"level{level}.step{step}", f"level {level} step {step}", "step", shape, layer)
            if level < config.levels:
                shape = (channels // 2, height, width)
                stack.add(f"level{level}.split", f"level {level} split", "split", shape, GaussianSplit(channels))
        return Flow(event_shape, stack.entries, stack.layers, context_features=context_features)

    def words(self, config: GlowConfig) -> str:
        """Return steps times levels."""
        return f"Glow {config.steps}×{config.levels}"

    def cases(self) -> Sequence[tuple[GlowConfig, Shape, int]]:
        """Return one to three levels, grey and colour."""
        return [
            (GlowConfig(levels=1, steps=2, hidden=5), (1, 4, 4), 0),
            (GlowConfig(levels=1, steps=1, hidden=4), (3, 2, 4), 0),
            (GlowConfig(levels=2, steps=2, hidden=5), (1, 8, 8), 0),
            (GlowConfig(levels=2, steps=1, hidden=4), (3, 4, 4), 2),
            (GlowConfig(levels=3, steps=1, hidden=4), (1, 8, 8), 0),
            (GlowConfig(levels=3, steps=1, hidden=3), (3, 8, 8), 0),
        ]


ARCHITECTURES = (Glow(),)
