"""The flows that every test of a bijection is held to, and how they are made."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nfkd.config import Config
from nfkd.config.flows import FlowConfig
from nfkd.flows.architectures import ARCHITECTURES, build_flow
from nfkd.flows.flow import Flow, Latents, Split

Shape = tuple[int, ...]
Case = tuple[FlowConfig, Shape, int]

CASES: list[Case] = [
    (config, shape, features) for kind in ARCHITECTURES.values() for config, shape, features in kind.cases()
]
"""Every architecture's own small instances: a new one is in the battery by being registered."""


def _name(case: object) -> str:
    if isinstance(case, Config):
        chosen = case.model_dump(exclude_defaults=True)
        return "-".join([case.kind, *(f"{name}={value}" for name, value in chosen.items())])  # type: ignore[attr-defined]
    return "x".join(map(str, case)) if isinstance(case, tuple) else f"context{case}"


_NAMES = ("config", "shape", "features")
every_flow = pytest.mark.parametrize(_NAMES, CASES, ids=_name)
every_conditional_flow = pytest.mark.parametrize(_NAMES, [case for case in CASES if case[2]], ids=_name)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(shape: Shape, count: int = 6, seed: int = 1) -> Tensor:
    return torch.rand(count, *shape, generator=generator(seed), dtype=torch.float64)


def given(features: int, count: int = 6, seed: int = 4) -> Tensor | None:
    """The context of a batch; None for a flow without one."""
    return torch.randn(count, features, generator=generator(seed), dtype=torch.float64) if features else None


def initialised(config: FlowConfig, shape: Shape, features: int = 0) -> Flow:
    """A flow in float64 after the first batch, in evaluation mode: its couplings still do nothing."""
    flow = build_flow(config, shape, context_features=features, generator=generator()).double()
    flow.initialize(batch(shape, 64, seed=2), given(features, 64))
    flow.train()(batch(shape, 64, seed=2), given(features, 64))  # batch norm takes its running means from this
    return flow.eval()


def perturbed(config: FlowConfig, shape: Shape, features: int = 0) -> Flow:
    """The same with every parameter moved: a fresh flow passes most tests trivially."""
    flow, rng = initialised(config, shape, features), generator(3)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
    return flow


def priors(flow: Flow, latents: Latents, context: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
    """(mean, log-deviation) of every latent, by walking back from the last one, whose own comes last."""
    *left, x = latents.parts
    standard = (torch.zeros_like(x), torch.zeros_like(x))
    found = [standard if flow.prior is None else flow.prior(x, context)]
    for layer in reversed(flow.layers):
        if isinstance(layer, Split):
            found.append(layer.prior(x))
            x = layer.inverse(x, left.pop())
        else:
            x = layer.inverse(x, context)  # type: ignore[operator]
    return found[::-1]


def standardised(flow: Flow, latents: Latents, context: Tensor | None = None) -> list[Tensor]:
    """The noise ε of z = μ(h) + σ(h)ε, for every latent."""
    pairs = zip(latents.parts, priors(flow, latents, context), strict=True)
    return [(z - mean) / log_scale.exp() for z, (mean, log_scale) in pairs]
