"""Masked autoregressive flow (MAF) and inverse autoregressive flow (IAF)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar, cast

import torch

from nfkd.config import ConfigProblem
from nfkd.config.flows import IAFConfig, MAFConfig
from nfkd.flows.architecture import Architecture, Shape, Stack, vector_problems
from nfkd.flows.autoregressive import BatchNorm, InverseAutoregressive, MaskedAutoregressive
from nfkd.flows.flow import Flow
from nfkd.flows.transforms import Affine

ConfigT = TypeVar("ConfigT", MAFConfig, IAFConfig)


def _order(config: MAFConfig | IAFConfig, step: int, features: int, generator: torch.Generator | None) -> torch.Tensor:
    if config.order == "permuted":
        return torch.randperm(features, generator=generator)
    order = torch.arange(features)
    return order if step % 2 else order.flip(0)


class _Autoregressive(Architecture[ConfigT], Generic[ConfigT]):
    takes = "vectors"
    layer: ClassVar[type[MaskedAutoregressive]]
    short: ClassVar[str]

    def problems(self, config: ConfigT, shape: Shape) -> list[ConfigProblem]:
        """Return a problem where examples are not vectors; one feature is enough."""
        return vector_problems(self.short, shape)

    def build(self, config: ConfigT, shape: Shape, context_features: int, generator: torch.Generator | None) -> Flow:
        """Return the flow; features keep their positions, and each step has its own autoregressive order."""
        stack, features = Stack(), shape[0]
        for step in range(1, config.steps + 1):
            if config.batch_norm and step > 1:
                name, label = f"batch_norm{step - 1}", f"batch norm {step - 1}"
                stack.add(name, label, "batch_norm", shape, BatchNorm(features))
            layer = self.layer(
                _order(config, step, features, generator),
                Affine(),
                hidden=config.hidden,
                depth=config.depth,
                context_features=context_features,
                generator=generator,
            )
            stack.add(f"step{step}", f"step {step}", "step", shape, layer)
        return Flow(shape, stack.entries, stack.layers, context_features=context_features)

    def summary(self, config: ConfigT) -> str:
        """Return the number of steps."""
        return f"{self.short} {config.steps}"

    def cases(self) -> Sequence[tuple[ConfigT, Shape, int]]:
        """Return one to five features, both orders, with and without batch norm and context."""
        config = cast("type[ConfigT]", self.config)
        return [
            (config(steps=3, hidden=6), (2,), 0),
            (config(steps=2, hidden=8, depth=3, order="permuted"), (5,), 0),
            (config(steps=2, hidden=7, depth=1, order="permuted", batch_norm=True), (5,), 3),
            (config(steps=3, hidden=6, batch_norm=True), (2,), 3),
            (config(steps=2, hidden=4, depth=1), (5,), 3),  # fewer units than degrees
            (config(steps=2, hidden=4, batch_norm=True), (1,), 0),
            (config(steps=2, hidden=4), (1,), 3),
        ]


class MAF(_Autoregressive[MAFConfig]):
    """Steps conditioned on the data: density in one pass, sampling feature by feature."""

    config = MAFConfig
    paper = "Papamakarios et al. 2017, arXiv 1705.07057"
    sampling = "D passes"
    layer = MaskedAutoregressive
    short = "MAF"


class IAF(_Autoregressive[IAFConfig]):
    """Steps conditioned on the latents: sampling in one pass, density feature by feature."""

    config = IAFConfig
    paper = "Kingma et al. 2016, arXiv 1606.04934"
    density = "D passes"
    layer = InverseAutoregressive
    short = "IAF"


ARCHITECTURES = (MAF(), IAF())
