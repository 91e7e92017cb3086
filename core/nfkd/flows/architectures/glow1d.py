"""Glow for vectors: its steps on features, with linear layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nfkd.config import Fault, Glow1DConfig
from nfkd.flows.architecture import Architecture, Shape, Stack, vector_faults
from nfkd.flows.coupling import GlowStep
from nfkd.flows.flow import Flow
from nfkd.flows.networks import CouplingNetwork


class Glow1D(Architecture[Glow1DConfig]):
    """Steps of ActNorm, linear mixing and coupling."""

    config = Glow1DConfig
    takes = "vectors"
    paper = "Kingma & Dhariwal 2018, arXiv 1807.03039; Dinh et al. 2017, arXiv 1605.08803"

    def faults(self, config: Glow1DConfig, shape: Shape) -> list[Fault]:
        """Return a fault for what is no vector of at least two features."""
        return vector_faults("Glow for vectors", shape, least=2)

    def build(
        self, config: Glow1DConfig, shape: Shape, context_features: int, generator: torch.Generator | None
    ) -> Flow:
        """Return the flow."""
        stack, features = Stack(), shape[0]
        for step in range(1, config.steps + 1):
            network = CouplingNetwork(
                features // 2 + context_features,
                config.hidden,
                2 * (features - features // 2),
                kernels=(None,) * config.depth,
                last_kernel=None,
                generator=generator,
            )
            stack.add(f"step{step}", f"step {step}", "step", shape, GlowStep(features, network, generator))
        return Flow(shape, stack.entries, stack.layers, context_features=context_features)

    def words(self, config: Glow1DConfig) -> str:
        """Return the number of steps."""
        return f"Glow-1D {config.steps}"

    def cases(self) -> Sequence[tuple[Glow1DConfig, Shape, int]]:
        """Return even and odd numbers of features, one to three hidden layers, with and without context."""
        return [
            (Glow1DConfig(steps=3, hidden=6), (2,), 0),
            (Glow1DConfig(steps=2, hidden=6, depth=1), (3,), 3),
            (Glow1DConfig(steps=2, hidden=6, depth=3), (5,), 0),
        ]


ARCHITECTURES = (Glow1D(),)
