"""Neural spline flows (Durkan et al. 2019, arXiv 1906.04032), coupling and autoregressive."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nfkd.config import ConfigProblem
from nfkd.config.flows import NSFConfig
from nfkd.flows.architecture import Architecture, Shape, Stack, vector_problems
from nfkd.flows.autoregressive import MaskedAutoregressive
from nfkd.flows.bijections import ActNormPermutation, build_mixing
from nfkd.flows.coupling import Coupling, FlowStep
from nfkd.flows.flow import Flow
from nfkd.flows.layer import Layer
from nfkd.flows.networks import ResidualNetwork
from nfkd.flows.splines import Spline


def _spline_layer(config: NSFConfig, features: int, context_features: int, generator: torch.Generator | None) -> Layer:
    spline = Spline(config.bins, config.tail_bound)
    if config.transform == "autoregressive":
        return MaskedAutoregressive(
            torch.arange(features),
            spline,
            hidden=config.hidden,
            depth=config.depth,
            context_features=context_features,
            generator=generator,
        )
    half = features // 2
    outputs = (features - half) * spline.parameters
    inputs = half + context_features
    network = ResidualNetwork(inputs, config.hidden, outputs, blocks=config.depth, generator=generator)
    return Coupling(features, network, spline, transforms_first=True)


class NSF(Architecture[NSFConfig]):
    """Steps of ActNorm, mixing and splines.

    The paper uses ActNorm only for images. Here it also scales vectors to the range in which the splines work.
    """

    config = NSFConfig
    takes = "vectors"
    paper = "Durkan et al. 2019, arXiv 1906.04032"
    sampling = "one pass, D where autoregressive"

    def problems(self, config: NSFConfig, shape: Shape) -> list[ConfigProblem]:
        """Return a problem where examples are not vectors, or have too few features for a coupling."""
        problems = vector_problems("A neural spline flow", shape)
        if not problems and config.transform == "coupling" and shape[0] < 2:
            message = "a coupling needs at least two features, and the data has one: choose autoregressive"
            return [ConfigProblem("transform", message)]
        return problems

    def build(self, config: NSFConfig, shape: Shape, context_features: int, generator: torch.Generator | None) -> Flow:
        """Return the flow."""
        stack, features = Stack(), shape[0]
        for step in range(1, config.steps + 1):
            mixing: Layer = ActNormPermutation(1)  # one feature: nothing to mix
            if features > 1:
                mixing = build_mixing(config.permutation, features, generator, rotated=False)
            layer = FlowStep(mixing, _spline_layer(config, features, context_features, generator))
            stack.add(f"step{step}", f"step {step}", "step", shape, layer)
        return Flow(shape, stack.entries, stack.layers, context_features=context_features)

    def summary(self, config: NSFConfig) -> str:
        """Return the number of steps and the transform."""
        return f"NSF {config.steps} ({config.transform})"

    def cases(self) -> Sequence[tuple[NSFConfig, Shape, int]]:
        """Return one to five features, both transforms and every mixing, with and without context."""
        few = NSFConfig(steps=2, hidden=5, bins=4)
        autoregressive = few.model_copy(update={"transform": "autoregressive"})
        return [
            (few, (2,), 0),
            (few.model_copy(update={"permutation": "shuffle", "depth": 1}), (5,), 3),
            (few.model_copy(update={"permutation": "reverse", "bins": 2, "steps": 3}), (5,), 0),
            (few.model_copy(update={"permutation": "dense", "tail_bound": 2.0}), (2,), 3),
            (autoregressive, (2,), 0),
            (autoregressive.model_copy(update={"permutation": "reverse", "depth": 1}), (5,), 3),
            (autoregressive.model_copy(update={"permutation": "dense", "tail_bound": 1.0}), (5,), 0),
            (autoregressive.model_copy(update={"permutation": "shuffle", "bins": 2}), (2,), 3),
            (autoregressive, (1,), 0),
            (autoregressive.model_copy(update={"depth": 3}), (1,), 3),
        ]


ARCHITECTURES = (NSF(),)
