"""Transformer autoregressive flows (TarFlow; Zhai et al. 2024, arXiv 2412.06329)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nfkd.config import ConfigProblem
from nfkd.config.flows import TarFlowConfig
from nfkd.flows.architecture import Architecture, Shape, Stack, token_problem
from nfkd.flows.bijections import Centre
from nfkd.flows.flow import Flow
from nfkd.flows.tarflow import TokenAutoregressive
from nfkd.flows.transformer import Tokens, head_problem


def _size(config: TarFlowConfig, shape: Shape) -> int:
    return config.patch if len(shape) == 3 else config.token


class TarFlow(Architecture[TarFlowConfig]):
    """Blocks of a causal transformer over patches or groups of features, in alternating orders.

    Images in [0, 1) are first scaled to [−1, 1). Each block undoes its order, so the states after all blocks have the
    layout of the data.
    """

    config = TarFlowConfig
    takes = "images, vectors"
    paper = "Zhai et al. 2024, arXiv 2412.06329"
    sampling = "one pass for each token"

    def problems(self, config: TarFlowConfig, shape: Shape) -> list[ConfigProblem]:
        """Return a problem where tokens do not divide the examples, or heads the channels."""
        heads = head_problem(config.hidden)
        tokens = token_problem("patch" if len(shape) == 3 else "token", _size(config, shape), shape, "a block")
        return [*([tokens] if tokens else []), *([ConfigProblem("hidden", heads)] if heads else [])]

    def build(
        self, config: TarFlowConfig, shape: Shape, context_features: int, generator: torch.Generator | None
    ) -> Flow:
        """Return the flow."""
        stack, tokens = Stack(), Tokens(shape, _size(config, shape))
        if len(shape) == 3:
            stack.add("scale", "scale", "scale", shape, Centre())
        for step in range(1, config.steps + 1):
            block = TokenAutoregressive(
                tokens,
                reverse=step % 2 == 0,
                channels=config.hidden,
                layers=config.depth,
                context_features=context_features,
                generator=generator,
            )
            stack.add(f"step{step}", f"block {step}", "step", shape, block)
        return Flow(shape, stack.entries, stack.layers, context_features=context_features)

    def summary(self, config: TarFlowConfig) -> str:
        """Return blocks times layers."""
        return f"TarFlow {config.steps}×{config.depth}"

    def cases(self) -> Sequence[tuple[TarFlowConfig, Shape, int]]:
        """Return images and vectors, one and several heads, with and without context."""
        few = TarFlowConfig(steps=2, hidden=6, depth=1)
        return [
            (few, (1, 4, 4), 0),
            (few.model_copy(update={"steps": 3, "depth": 2}), (3, 2, 4), 2),
            (few.model_copy(update={"patch": 1, "steps": 1}), (2, 2, 3), 0),
            (few.model_copy(update={"hidden": 128}), (1, 2, 4), 0),
            (few, (3,), 0),
            (few.model_copy(update={"token": 2, "depth": 2}), (6,), 3),
        ]


ARCHITECTURES = (TarFlow(),)
