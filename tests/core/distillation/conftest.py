"""Tiny flows in float64 with perturbed parameters."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from nfkd.config import DigitsConfig, Glow1DConfig, GlowConfig
from nfkd.data import Dataset, load_dataset
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow


def perturbed(config: GlowConfig | Glow1DConfig, shape: tuple[int, ...], seed: int) -> Flow:
    generator = torch.Generator().manual_seed(seed)
    flow = build_flow(config, shape, generator=generator).double()
    flow.initialize(torch.rand(64, *shape, generator=generator, dtype=torch.float64))
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.03 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return flow


@pytest.fixture
def make_flow() -> Callable[..., Flow]:
    def make(steps: int, seed: int, levels: int = 2) -> Flow:
        return perturbed(GlowConfig(levels=levels, steps=steps, hidden=6), (1, 8, 8), seed)

    return make


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset(DigitsConfig())


@pytest.fixture
def x() -> torch.Tensor:
    return torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(11), dtype=torch.float64)
