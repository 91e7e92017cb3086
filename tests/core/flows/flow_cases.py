"""The flows that the tests run on, and how they are built."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch
from torch import Tensor

from nfkd.config import Config
from nfkd.config.flows import FlowConfig
from nfkd.flows.architectures import ARCHITECTURES, build_flow
from nfkd.flows.flow import Flow, Latents
from nfkd.flows.layer import Split

Shape = tuple[int, ...]
Case = tuple[FlowConfig, Shape, int]

CASES: list[Case] = [
    (config, shape, features) for kind in ARCHITECTURES.values() for config, shape, features in kind.cases()
]
"""The small instances of every registered architecture."""


def _name(case: object) -> str:
    if isinstance(case, Config):
        chosen = case.model_dump(exclude_defaults=True)
        return "-".join([case.kind, *(f"{name}={value}" for name, value in chosen.items())])  # type: ignore[attr-defined]
    return "x".join(map(str, case)) if isinstance(case, tuple) else f"context{case}"


every_flow = pytest.mark.parametrize(("config", "shape", "features"), CASES, ids=_name)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(shape: Shape, count: int = 6, seed: int = 1) -> Tensor:
    return torch.rand(count, *shape, generator=generator(seed), dtype=torch.float64)


def context_of(features: int, count: int = 6, seed: int = 4) -> Tensor | None:
    """The context of a batch; None for an unconditional flow."""
    return torch.randn(count, features, generator=generator(seed), dtype=torch.float64) if features else None


def initialised(config: FlowConfig, shape: Shape, features: int = 0) -> Flow:
    """A float64 flow after the first batch, in evaluation mode; its couplings are still the identity."""
    flow = build_flow(config, shape, context_features=features, generator=generator()).double()
    flow.initialize(batch(shape, 64, seed=2), context_of(features, 64))
    flow.train()(batch(shape, 64, seed=2), context_of(features, 64))  # sets the running means of batch norm
    return flow.eval()


def perturbed(config: FlowConfig, shape: Shape, features: int = 0) -> Flow:
    """The same with noise on every parameter, because a fresh flow passes most tests trivially."""
    flow, rng = initialised(config, shape, features), generator(3)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
    return flow


shared = lru_cache(maxsize=None)(perturbed)
"""`perturbed`, built once for tests that do not change the flow."""


def priors(flow: Flow, latents: Latents, context: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
    """(mean, log-deviation) of every latent, computed from the last to the first."""
    *split_off, x = latents.parts
    standard = (torch.zeros_like(x), torch.zeros_like(x))
    found = [standard if flow.prior is None else flow.prior(x, context)]
    for layer in reversed(flow.layers):
        if isinstance(layer, Split):
            found.append(layer.prior(x))
            x = layer.inverse(x, split_off.pop())
        else:
            x = layer.inverse(x, context)  # type: ignore[operator]
    return found[::-1]


def standardised(flow: Flow, latents: Latents, context: Tensor | None = None) -> list[Tensor]:
    """The noise ε of z = μ(h) + σ(h)ε, for every latent."""
    pairs = zip(latents.parts, priors(flow, latents, context), strict=True)
    return [(z - mean) / log_scale.exp() for z, (mean, log_scale) in pairs]
