"""Glow for vectors: its steps on features, with linear layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from nfkd.config import ConfigProblem, Glow1DConfig
from nfkd.config.flows import Permutation
from nfkd.flows.architecture import Architecture, Shape, Stack, vector_problems
from nfkd.flows.bijections import LearnedPrior, build_mixing
from nfkd.flows.coupling import Coupling, FlowStep
from nfkd.flows.flow import Flow
from nfkd.flows.networks import CouplingNetwork, Network, ResidualNetwork
from nfkd.flows.transforms import coupling_transform


def _network(config: Glow1DConfig, inputs: int, outputs: int, generator: torch.Generator | None) -> Network:
    if config.network == "residual":
        return ResidualNetwork(inputs, config.hidden, outputs, blocks=config.depth, generator=generator)
    kernels = (None,) * config.depth
    return CouplingNetwork(inputs, config.hidden, outputs, kernels=kernels, last_kernel=None, generator=generator)


class Glow1D(Architecture[Glow1DConfig]):
    """Steps of ActNorm, mixing and coupling; with a fixed order it is RealNVP for vectors.

    Without ``actnorm`` the steps have no norm; the network inside each coupling keeps its own, because of its small
    first weights.
    """

    config = Glow1DConfig
    takes = "vectors"
    paper = "Kingma & Dhariwal 2018, arXiv 1807.03039; Dinh et al. 2017, arXiv 1605.08803"

    def problems(self, config: Glow1DConfig, shape: Shape) -> list[ConfigProblem]:
        """Return a problem where examples are not vectors of at least two features."""
        return vector_problems("Glow for vectors", shape, least=2)

    def build(
        self, config: Glow1DConfig, shape: Shape, context_features: int, generator: torch.Generator | None
    ) -> Flow:
        """Return the flow."""
        stack, features = Stack(), shape[0]
        transform = coupling_transform(config.coupling, config.scale)
        outputs = (features - features // 2) * transform.parameters
        for number in range(1, config.steps + 1):
            network = _network(config, features // 2 + context_features, outputs, generator)
            mixing = build_mixing(config.permutation, features, generator, actnorm=config.actnorm)
            step = FlowStep(mixing, Coupling(features, network, transform))
            stack.add(f"step{number}", f"step {number}", "step", shape, step)
        prior = LearnedPrior(features, context_features) if config.learned_prior else None
        return Flow(shape, stack.entries, stack.layers, prior=prior, context_features=context_features)

    def summary(self, config: Glow1DConfig) -> str:
        """Return the number of steps."""
        return f"Glow-1D {config.steps}"

    def cases(self) -> Sequence[tuple[Glow1DConfig, Shape, int]]:
        """Return even and odd numbers of features, and every option, each with and without context."""
        return [
            (Glow1DConfig(steps=3, hidden=6), (2,), 0),
            (Glow1DConfig(steps=2, hidden=6, depth=1), (3,), 3),
            (Glow1DConfig(steps=2, hidden=6, depth=3), (5,), 0),
            (Glow1DConfig(steps=1, hidden=5, actnorm=False, scale="tanh"), (3,), 0),
            (_small("reverse", scale="tanh", network="residual"), (4,), 0),
            (_small("reverse", scale="tanh", network="residual", depth=1, actnorm=False), (3,), 3),
            (_small("shuffle"), (4,), 0),
            (_small("shuffle", coupling="additive", network="residual", learned_prior=True), (5,), 3),
            (_small("dense", coupling="additive"), (2,), 1),
            (_small("dense", coupling="additive", actnorm=False, learned_prior=True), (3,), 0),
        ]


def _small(permutation: Permutation, **options: Any) -> Glow1DConfig:
    return Glow1DConfig(steps=2, hidden=5, permutation=permutation, **options)


ARCHITECTURES = (Glow1D(),)
