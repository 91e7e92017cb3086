"""Which flows fit which data, and what they cost."""

from __future__ import annotations

import pytest
import torch

from nfkd.config import Glow1DConfig, GlowConfig
from nfkd.config.flows import FlowConfig
from nfkd.flows.architectures import FlowError, build_flow, flow_faults
from nfkd.flows.cost import flow_cost


@pytest.mark.parametrize(
    ("config", "shape", "path", "words"),
    [
        (GlowConfig(levels=3), (1, 4, 4), "levels", "level 3 cannot squeeze"),
        (GlowConfig(levels=2), (1, 6, 6), "levels", "level 2 cannot squeeze 2×3×3: use at most 1 levels"),
        (GlowConfig(levels=1), (1, 7, 8), "levels", "sides must be even"),
        (GlowConfig(), (2,), "kind", "choose glow1d"),
        (Glow1DConfig(), (1, 8, 8), "kind", "choose glow"),
        (Glow1DConfig(), (1,), "kind", "two features"),
    ],
)
def test_what_does_not_fit_is_named(config: FlowConfig, shape: tuple[int, ...], path: str, words: str) -> None:
    with pytest.raises(FlowError) as refused:
        build_flow(config, shape)
    [fault] = refused.value.faults
    assert fault.path == path
    assert words in fault.message
    assert flow_faults(config, shape) == [fault]


@pytest.mark.parametrize(
    ("config", "shape"), [(GlowConfig(levels=2, steps=3, hidden=7), (1, 8, 8)), (Glow1DConfig(steps=4), (5,))]
)
def test_parameters_are_counted_without_building(config: FlowConfig, shape: tuple[int, ...]) -> None:
    real = sum(parameter.numel() for parameter in build_flow(config, shape).parameters())
    assert flow_cost(config, shape, 8).parameters == real


def test_multiply_adds_of_a_vector_flow_by_hand() -> None:
    cost = flow_cost(Glow1DConfig(steps=1, hidden=16, depth=1), (6,), 1)
    composing = 2 * 6**3  # P·L·U, once a call
    assert cost.multiply_adds == 6 * 6 + 3 * 16 + 16 * 6 + composing


def test_memory_is_what_autograd_keeps() -> None:
    config, shape, size = GlowConfig(levels=2, steps=3, hidden=32), (1, 8, 8), 64
    flow = build_flow(config, shape)
    storages: dict[int, int] = {}
    keep = []

    def save(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        keep.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        flow.log_prob(torch.rand(size, *shape))
    real = sum(storages.values()) + 20 * sum(parameter.numel() for parameter in flow.parameters())
    assert 0.5 < flow_cost(config, shape, size).training_memory / real < 2


def test_a_monstrous_flow_is_measured_without_being_built() -> None:
    import psutil

    before = psutil.Process().memory_info().rss
    cost = flow_cost(GlowConfig(levels=3, steps=16, hidden=2048), (3, 32, 32), 4096)
    assert cost.training_memory > 100 * 2**30
    assert psutil.Process().memory_info().rss - before < 2**29
