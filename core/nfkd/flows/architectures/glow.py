"""Glow for images (Kingma & Dhariwal 2018, arXiv 1807.03039)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from nfkd.config import ConfigProblem, GlowConfig
from nfkd.config.flows import Permutation
from nfkd.flows.architecture import Architecture, Shape, Stack, format_shape, image_problems
from nfkd.flows.bijections import ActNormPermutation, GaussianSplit, LearnedPrior, Squeeze, build_mixing
from nfkd.flows.coupling import CheckerboardCoupling, Coupling, FlowStep
from nfkd.flows.flow import Flow
from nfkd.flows.networks import CouplingNetwork
from nfkd.flows.transforms import coupling_transform


class _StepBuilder:
    """Builds the steps of one flow."""

    def __init__(self, config: GlowConfig, context_features: int, generator: torch.Generator | None) -> None:
        self._config, self._context_features, self._generator = config, context_features, generator
        self._transform = coupling_transform(config.coupling, config.scale)

    def _network(self, channels: int, changed: int) -> CouplingNetwork:
        return CouplingNetwork(
            channels + self._context_features,
            self._config.hidden,
            changed * self._transform.parameters,
            kernels=(3, 1),
            last_kernel=3,
            generator=self._generator,
        )

    def step(self, channels: int) -> FlowStep:
        """Return a step whose coupling splits the channels."""
        config = self._config
        network = self._network(channels // 2, channels - channels // 2)
        mixing = build_mixing(config.permutation, channels, self._generator, actnorm=config.actnorm)
        return FlowStep(mixing, Coupling(channels, network, self._transform))

    def checkerboard_step(self, shape: tuple[int, int, int], parity: int) -> FlowStep:
        """Return a step whose coupling splits the pixels; it does not mix the channels."""
        channels = shape[0]
        coupling = CheckerboardCoupling(shape, parity, self._network(channels, channels), self._transform)
        return FlowStep(ActNormPermutation(channels, actnorm=self._config.actnorm), coupling)


class Glow(Architecture[GlowConfig]):
    """Levels of squeeze, steps and split; with checkerboard steps before each squeeze and a fixed order it is RealNVP.

    Without ``actnorm`` the steps have no norm; the network inside each coupling keeps its own, because of its small
    first weights. The context goes to the couplings and to the learned prior of the last latent, not to the prior of a
    split. RealNVP's last level has checkerboard steps only; here it is like the others.
    """

    config = GlowConfig
    takes = "images"
    paper = "Kingma & Dhariwal 2018, arXiv 1807.03039; Dinh et al. 2017, arXiv 1605.08803"

    def problems(self, config: GlowConfig, shape: Shape) -> list[ConfigProblem]:
        """Return a problem where examples are not images, or cannot be squeezed often enough."""
        problems = image_problems("Glow", shape)
        if problems:
            return problems
        channels, height, width = shape
        for level in range(1, config.levels + 1):
            if height % 2 or width % 2:
                size = format_shape((channels, height, width))
                message = f"level {level} cannot squeeze {size}: use at most {level - 1} levels"
                if level == 1:
                    message = f"an image of {size} cannot be squeezed: its sides must be even"
                return [ConfigProblem("levels", message)]
            channels, height, width = 4 * channels // (1 if level == config.levels else 2), height // 2, width // 2
        return []

    def build(self, config: GlowConfig, shape: Shape, context_features: int, generator: torch.Generator | None) -> Flow:
        """Return the flow."""
        stack, builder = Stack(), _StepBuilder(config, context_features, generator)
        channels, height, width = size = (shape[0], shape[1], shape[2])
        for level in range(1, config.levels + 1):
            name, label = f"level{level}", f"level {level}"
            for number in range(1, config.checkerboard + 1):
                step = builder.checkerboard_step(size, (number - 1) % 2)
                stack.add(f"{name}.checker{number}", f"{label} checkerboard {number}", "step", size, step)
            channels, height, width = size = 4 * channels, height // 2, width // 2
            stack.add(f"{name}.squeeze", f"{label} squeeze", "squeeze", size, Squeeze())
            for number in range(1, config.steps + 1):
                stack.add(f"{name}.step{number}", f"{label} step {number}", "step", size, builder.step(channels))
            if level < config.levels:
                split, channels = GaussianSplit(channels), channels // 2
                size = (channels, height, width)
                stack.add(f"{name}.split", f"{label} split", "split", size, split)
        prior = LearnedPrior(channels, context_features) if config.learned_prior else None
        return Flow(shape, stack.entries, stack.layers, prior=prior, context_features=context_features)

    def summary(self, config: GlowConfig) -> str:
        """Return steps times levels, with the checkerboard steps, if any, first."""
        checkers = f"{config.checkerboard}+" if config.checkerboard else ""
        return f"Glow {checkers}{config.steps}×{config.levels}"

    def cases(self) -> Sequence[tuple[GlowConfig, Shape, int]]:
        """Return one to three levels, grey and colour, and every option, each with and without context."""
        return [
            (GlowConfig(levels=1, steps=2, hidden=5), (1, 4, 4), 0),
            (GlowConfig(levels=1, steps=1, hidden=4), (3, 2, 4), 0),
            (GlowConfig(levels=2, steps=2, hidden=5), (1, 8, 8), 0),
            (GlowConfig(levels=2, steps=1, hidden=4), (3, 4, 4), 2),
            (GlowConfig(levels=3, steps=1, hidden=4), (1, 8, 8), 0),
            (GlowConfig(levels=3, steps=1, hidden=3), (3, 8, 8), 0),
            (GlowConfig(levels=1, steps=1, hidden=3, actnorm=False), (1, 4, 4), 0),
            (GlowConfig(levels=2, steps=1, hidden=3, permutation="shuffle", learned_prior=True), (1, 4, 4), 2),
            (GlowConfig(levels=1, steps=2, hidden=3, permutation="shuffle", coupling="additive"), (1, 4, 4), 0),
            (_small("dense", coupling="additive", checkerboard=1), (1, 4, 2), 3),
            (_small("dense", coupling="additive", actnorm=False, learned_prior=True), (2, 2, 4), 0),
            (_small("reverse", scale="tanh", checkerboard=2), (1, 4, 4), 0),
            (_small("reverse", scale="tanh", checkerboard=2, actnorm=False, learned_prior=True), (1, 2, 4), 2),
        ]


def _small(permutation: Permutation, **options: Any) -> GlowConfig:
    return GlowConfig(levels=1, steps=2, hidden=4, permutation=permutation, **options)


ARCHITECTURES = (Glow(),)
