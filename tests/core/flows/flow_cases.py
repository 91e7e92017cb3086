"""The flows that every test of a bijection is held to, and how they are made."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nfkd.config import Glow1DConfig, GlowConfig
from nfkd.config.flows import FlowConfig
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow, Latents, Split

Shape = tuple[int, ...]

CASES: list[tuple[FlowConfig, Shape]] = [
    (GlowConfig(levels=1, steps=2, hidden=5), (1, 4, 4)),
    (GlowConfig(levels=1, steps=1, hidden=4), (3, 2, 4)),
    (GlowConfig(levels=2, steps=2, hidden=5), (1, 8, 8)),
    (GlowConfig(levels=2, steps=1, hidden=4), (3, 4, 4)),
    (GlowConfig(levels=3, steps=1, hidden=4), (1, 8, 8)),
    (GlowConfig(levels=3, steps=1, hidden=3), (3, 8, 8)),
    (Glow1DConfig(steps=3, hidden=6), (2,)),
    (Glow1DConfig(steps=2, hidden=6, depth=1), (3,)),
    (Glow1DConfig(steps=2, hidden=6, depth=3), (5,)),
]


def _name(case: object) -> str:
    if isinstance(case, GlowConfig):
        return f"glow-{case.levels}-levels"
    return "glow1d" if isinstance(case, Glow1DConfig) else "x".join(map(str, case))  # type: ignore[arg-type]


every_flow = pytest.mark.parametrize(("config", "shape"), CASES, ids=_name)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(shape: Shape, count: int = 6, seed: int = 1) -> Tensor:
    return torch.rand(count, *shape, generator=generator(seed), dtype=torch.float64)


def initialised(config: FlowConfig, shape: Shape) -> Flow:
    """A flow in float64 after the first batch: its couplings still do nothing."""
    flow = build_flow(config, shape, generator=generator()).double()
    flow.initialize(batch(shape, 64, seed=2))
    return flow


def perturbed(config: FlowConfig, shape: Shape) -> Flow:
    """The same with every parameter moved: a fresh flow passes most tests trivially."""
    flow, rng = initialised(config, shape), generator(3)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
    return flow


def priors(flow: Flow, latents: Latents) -> list[tuple[Tensor, Tensor]]:
    """(mean, log-deviation) of every split-off latent, by walking back from the last one."""
    *left, x = latents.parts
    found = []
    for layer in reversed(flow.layers):
        if isinstance(layer, Split):
            found.append(layer.prior(x))
            x = layer.inverse(x, left.pop())
        else:
            x = layer.inverse(x)  # type: ignore[operator]
    return found[::-1]


def standardised(flow: Flow, latents: Latents) -> list[Tensor]:
    """The noise ε of z = μ(h) + σ(h)ε, for every latent."""
    *left, last = latents.parts
    pairs = zip(left, priors(flow, latents), strict=True)
    return [*((z - mean) / log_scale.exp() for z, (mean, log_scale) in pairs), last]
