"""Paths between latents."""

from __future__ import annotations

import math

import pytest
import torch

from nfkd.evaluation.interpolation import interpolate_latents
from nfkd.protocol.requests import InterpolationMode

ALPHA = torch.linspace(0, 1, 11, dtype=torch.float64)


def ends() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return tuple(torch.randn(2, 40, generator=generator, dtype=torch.float64) * torch.tensor([[1.0], [3.0]]))  # type: ignore[return-value]


@pytest.mark.parametrize("mode", ["linear", "spherical", "norm_corrected"])
def test_the_path_starts_and_ends_at_the_latents(mode: InterpolationMode) -> None:
    first, second = ends()
    path = interpolate_latents(first, second, ALPHA, mode)
    torch.testing.assert_close(path[0], first)
    torch.testing.assert_close(path[-1], second)


def test_norm_corrected_has_the_interpolated_norm_and_the_straight_direction() -> None:
    first, second = ends()
    path = interpolate_latents(first, second, ALPHA, "norm_corrected")
    torch.testing.assert_close(path.norm(dim=1), (1 - ALPHA) * first.norm() + ALPHA * second.norm())
    straight = interpolate_latents(first, second, ALPHA, "linear")
    torch.testing.assert_close(torch.cosine_similarity(path, straight), torch.ones(len(ALPHA), dtype=torch.float64))


def test_spherical_turns_at_a_constant_angle() -> None:
    first, second = ends()
    path = interpolate_latents(first, second, ALPHA, "spherical")
    unit = path / path.norm(dim=1, keepdim=True)
    turns = torch.arccos((unit[1:] * unit[:-1]).sum(1))
    whole = math.acos(float(first @ second / (first.norm() * second.norm())))
    torch.testing.assert_close(turns, torch.full_like(turns, whole / 10))


@pytest.mark.parametrize("mode", ["linear", "spherical", "norm_corrected"])
def test_equal_and_opposite_ends_stay_finite(mode: InterpolationMode) -> None:
    first, _ = ends()
    for second in (first, -first):
        assert torch.isfinite(interpolate_latents(first, second, ALPHA, mode)).all()
