"""Jet: what each split changes, that the flow starts as a scaling, and what its scale is bounded by."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nfkd.config.flows import JetConfig
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from tests.core.flows.flow_cases import batch, generator, shared


def changed_by(flow: Flow, x: Tensor, step: int) -> Tensor:
    """Return which numbers of an image a step changes, (height, width) for one channel."""
    trace = flow.trace(x)
    names = ["scale", *(f"step{number}" for number in range(1, step + 1))]
    return (trace[names[-1]][0] != trace[names[-2]][0]).any(0)[0]


def test_spatial_couplings_change_every_second_patch_by_turns() -> None:
    flow, x = shared(JetConfig(steps=4, hidden=6, spatial=2), (1, 8, 8)), batch((1, 8, 8))
    rows, columns = torch.arange(8)[:, None] // 2, torch.arange(8)[None] // 2
    light = (rows + columns) % 2 == 0
    assert torch.equal(changed_by(flow, x, 2), ~light)
    assert torch.equal(changed_by(flow, x, 4), light)


@pytest.mark.parametrize(("split", "axis"), [("rows", 0), ("columns", 1)])
def test_rows_and_columns_of_patches(split: str, axis: int) -> None:
    config = JetConfig.model_validate({"steps": 2, "hidden": 6, "spatial": 1, "split": split})
    flow, x = shared(config, (1, 8, 8)), batch((1, 8, 8))
    odd = (torch.arange(8) // 2 % 2 == 1).view((8, 1) if axis == 0 else (1, 8)).expand(8, 8)
    assert torch.equal(changed_by(flow, x, 1), odd)
    assert torch.equal(changed_by(flow, x, 2), ~odd)


def test_channel_couplings_change_the_same_half_of_every_patch() -> None:
    flow, x = shared(JetConfig(steps=3, hidden=6, spatial=0, patch=4), (1, 8, 8)), batch((1, 8, 8))
    patches = [changed_by(flow, x, step).unfold(0, 4, 4).unfold(1, 4, 4).reshape(4, 16) for step in (1, 2, 3)]
    assert all(bool((patch == patch[0]).all()) and int(patch[0].sum()) == 8 for patch in patches)
    assert not torch.equal(patches[0], patches[1])


def test_the_untrained_flow_only_scales() -> None:
    flow, x = build_flow(JetConfig(), (1, 8, 8), generator=generator()).double(), batch((1, 8, 8))
    latents = flow.encode(x)
    assert torch.equal(latents.parts[0], 2 * x - 1)
    assert torch.allclose(latents.log_det, torch.full((6,), 64.0, dtype=torch.float64) * torch.tensor(2.0).log())


@pytest.mark.parametrize(("scale", "largest"), [("double_sigmoid", 2.0), ("exponential", 1000.0)])
def test_the_scale_of_a_coupling_is_bounded(scale: str, largest: float) -> None:
    config = JetConfig.model_validate({"steps": 1, "hidden": 6, "scale": scale})
    flow, x = build_flow(config, (1, 8, 8), generator=generator()).double(), batch((1, 8, 8))
    with torch.no_grad():
        flow.get_parameter("layers.1.network.bias").fill_(1e3)
    expected = 64 * math.log(2) + 32 * math.log(largest)  # the scale of the image, then half of the numbers
    assert torch.allclose(flow.encode(x).log_det, torch.full((6,), expected, dtype=torch.float64), rtol=0, atol=1e-9)
