"""Jet: couplings with vision transformers (Kolesnikov et al. 2024, arXiv 2412.15129)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nfkd.config import ConfigProblem
from nfkd.config.flows import JetConfig
from nfkd.flows.architecture import Architecture, Shape, Stack, image_problems, token_problem
from nfkd.flows.bijections import Centre
from nfkd.flows.flow import Flow
from nfkd.flows.jet import TokenCoupling, TokenVision, token_split
from nfkd.flows.transformer import Tokens, head_problem
from nfkd.flows.transforms import ShiftScale


def _split_problem(config: JetConfig, shape: Shape) -> ConfigProblem | None:
    """Return why a coupling would change all or none of the numbers."""
    rows, columns = shape[1] // config.patch, shape[2] // config.patch
    if shape[0] * config.patch**2 == 1 and config.spatial != 1:
        message = "a patch is one number, which cannot be split: use patches of 2, or 1 for every coupling here"
        return ConfigProblem("spatial", message)
    if config.spatial and {"rows": rows, "columns": columns}.get(config.split) == 1:
        message = f"the image has one of the {config.split} of patches, which cannot be split: choose checkerboard"
        return ConfigProblem("split", message)
    return None


class Jet(Architecture[JetConfig]):
    """Couplings of patches with vision transformers: no norm, no mixing, no levels.

    A coupling changes half of the numbers of every patch, or every second patch. Images in [0, 1) are first scaled to
    [−1, 1). A number becomes (x + t)·2·sigmoid(s), or (x + t)·exp(b·tanh(s/b)) with b = log 1000, which is
    the identity at first. The states after all couplings have the layout of the data.
    """

    config = JetConfig
    takes = "images"
    paper = "Kolesnikov et al. 2024, arXiv 2412.15129"

    def problems(self, config: JetConfig, shape: Shape) -> list[ConfigProblem]:
        """Return a problem where examples are not images, patches do not divide them, or nothing can be split."""
        problems = image_problems("Jet", shape)
        if problems:
            return problems
        heads = head_problem(config.hidden)
        tokens = token_problem("patch", config.patch, shape, "a coupling") or _split_problem(config, shape)
        return [*([tokens] if tokens else []), *([ConfigProblem("hidden", heads)] if heads else [])]

    def build(self, config: JetConfig, shape: Shape, context_features: int, generator: torch.Generator | None) -> Flow:
        """Return the flow; the last of every `spatial` steps changes patches, the others a half of every patch."""
        stack, tokens, transform = Stack(), Tokens(shape, config.patch), ShiftScale(config.scale)
        grid = (shape[1] // config.patch, shape[2] // config.patch)
        stack.add("scale", "scale", "scale", shape, Centre())
        for step in range(1, config.steps + 1):
            spatial = config.spatial and step % config.spatial == 0
            network = TokenVision(
                tokens,
                transform.parameters,
                config.hidden,
                config.depth,
                context_features=context_features,
                generator=generator,
            )
            changed = token_split(
                config.split if spatial else "channels",
                grid,
                tokens.width,
                parity=step // config.spatial % 2 if spatial else 0,
                generator=generator,
            )
            coupling = TokenCoupling(tokens, changed, network, transform)
            stack.add(f"step{step}", f"step {step}", "step", shape, coupling)
        return Flow(shape, stack.entries, stack.layers, context_features=context_features)

    def summary(self, config: JetConfig) -> str:
        """Return couplings times layers."""
        return f"Jet {config.steps}×{config.depth}"

    def cases(self) -> Sequence[tuple[JetConfig, Shape, int]]:
        """Return every split, grey and colour, one and several heads, with and without context."""
        few = JetConfig(steps=3, hidden=6)
        return [
            (few, (1, 4, 4), 0),
            (few.model_copy(update={"depth": 2, "split": "rows", "spatial": 2, "steps": 4}), (3, 4, 2), 2),
            (few.model_copy(update={"split": "columns", "spatial": 1, "patch": 1, "steps": 2}), (1, 2, 3), 0),
            (few.model_copy(update={"hidden": 128, "spatial": 0, "steps": 2}), (1, 2, 4), 3),
            (few.model_copy(update={"patch": 1, "spatial": 1, "scale": "exponential"}), (3, 3, 3), 2),
        ]


ARCHITECTURES = (Jet(),)
