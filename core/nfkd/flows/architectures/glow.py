"""Glow for images (Kingma & Dhariwal 2018, arXiv 1807.03039)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from nfkd.config import ConfigProblem, GlowConfig
from nfkd.config.flows import Permutation
from nfkd.flows.architecture import Architecture, Shape, Stack, format_shape, image_problems
from nfkd.flows.bijections import ActNormPermutation, GaussianSplit, LearnedPrior, Squeeze, build_mixing
from nfkd.flows.coupling import Bound, ChannelCoupling, CheckerboardCoupling, FlowStep, bound_of, outputs_of
from nfkd.flows.flow import Flow
from nfkd.flows.networks import CouplingNetwork


class _Parts:
    """Makes the steps of one flow."""

    def __init__(self, config: GlowConfig, context_features: int, generator: torch.Generator | None) -> None:
        self._config, self._context_features, self._generator = config, context_features, generator
        self._bound: Bound = bound_of(config.coupling, config.scale)

    def _network(self, channels: int, changed: int) -> CouplingNetwork:
        return CouplingNetwork(
            channels + self._context_features,
            self._config.hidden,
            outputs_of(self._bound, changed),
            kernels=(3, 1),
            last_kernel=3,
            generator=self._generator,
        )

    def step(self, channels: int) -> FlowStep:
        """Return a step whose coupling parts the channels."""
        config = self._config
        network = self._network(channels // 2, channels - channels // 2)
        mixing = build_mixing(config.permutation, channels, self._generator, actnorm=config.actnorm)
        return FlowStep(mixing, ChannelCoupling(channels, network, self._bound))

    def checker(self, shape: tuple[int, int, int], parity: int) -> FlowStep:
        """Return a step whose coupling parts the places; nothing mixes the channels."""
        channels = shape[0]
        coupling = CheckerboardCoupling(shape, parity, self._network(channels, channels), self._bound)
        return FlowStep(ActNormPermutation(channels, actnorm=self._config.actnorm), coupling)


class Glow(Architecture[GlowConfig]):
    """Levels of squeeze, steps and split; with checkerboard steps before each squeeze and a fixed order it is RealNVP.

    Without ``actnorm`` the steps have no norm; the network inside each coupling keeps its own, which its small first
    weights presume. The prior of a split knows the half that stays, not the context: that reaches the couplings and the
    learned prior of the last latent. RealNVP ends with checkerboard steps alone; here the last level is as the others.
    """

    config = GlowConfig
    takes = "images"
    paper = "Kingma & Dhariwal 2018, arXiv 1807.03039; Dinh et al. 2017, arXiv 1605.08803"

    def problems(self, config: GlowConfig, shape: Shape) -> list[ConfigProblem]:
        """Return a problem for what is no image, or cannot be squeezed often enough."""
        problems = image_problems("Glow", shape)
        if problems:
            return problems
        channels, height, width = shape
        for level in range(1, config.levels + 1):
            if height % 2 or width % 2:
                words = format_shape((channels, height, width))
                message = f"level {level} cannot squeeze {words}: use at most {level - 1} levels"
                if level == 1:
                    message = f"an image of {words} cannot be squeezed: its sides must be even"
                return [ConfigProblem("levels", message)]
            channels, height, width = 4 * channels // (1 if level == config.levels else 2), height // 2, width // 2
        return []

    def build(self, config: GlowConfig, shape: Shape, context_features: int, generator: torch.Generator | None) -> Flow:
        """Return the flow."""
        stack, parts = Stack(), _Parts(config, context_features, generator)
        channels, height, width = shape
        for level in range(1, config.levels + 1):
            for number in range(1, config.checkerboard + 1):
                checker = parts.checker((channels, height, width), (number - 1) % 2)
                name, words = f"level{level}.checker{number}", f"level {level} checkerboard {number}"
                stack.add(name, words, "step", (channels, height, width), checker)
            channels, height, width = 4 * channels, height // 2, width // 2
            squeezed = (channels, height, width)
            stack.add(f"level{level}.squeeze", f"level {level} squeeze", "squeeze", squeezed, Squeeze())
            for number in range(1, config.steps + 1):
                name, words = f"level{level}.step{number}", f"level {level} step {number}"
                stack.add(name, words, "step", squeezed, parts.step(channels))
            if level < config.levels:
                split, channels = GaussianSplit(channels), channels // 2
                stack.add(f"level{level}.split", f"level {level} split", "split", (channels, height, width), split)
        prior = LearnedPrior(channels, context_features) if config.learned_prior else None
        return Flow(shape, stack.entries, stack.layers, prior=prior, context_features=context_features)

    def summary(self, config: GlowConfig) -> str:
        """Return steps times levels; checkerboard steps, where there are any, first."""
        checkers = f"{config.checkerboard}+" if config.checkerboard else ""
        return f"Glow {checkers}{config.steps}×{config.levels}"

    def cases(self) -> Sequence[tuple[GlowConfig, Shape, int]]:
        """Return one to three levels, grey and colour, and every option with and without a context."""
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
