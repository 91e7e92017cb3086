"""Paths between two examples through a flow's latents."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from nfkd.data import Batch
from nfkd.flows.flow import Flow, Latents
from nfkd.protocol.requests import InterpolationMode


def interpolate_latents(first: Tensor, second: Tensor, alpha: Tensor, mode: InterpolationMode) -> Tensor:
    """Return the path from one latent vector to another.

    Parameters
    ----------
    first, second
        (D,) all latents of one example, concatenated.
    alpha
        (steps,) from 0 (the first) to 1 (the second).
    mode
        *linear*; *spherical* (Shoemake's slerp of the directions, times the linearly interpolated norm);
        *norm_corrected* (linear, then rescaled to the linearly interpolated norm, as in the authors' earlier code).

    Returns
    -------
    Tensor
        (steps, D).
    """
    weight = alpha[:, None].to(first)
    norm = (1 - weight) * first.norm() + weight * second.norm()
    if mode == "spherical":
        return norm * _slerp(first / first.norm(), second / second.norm(), weight)
    straight = (1 - weight) * first + weight * second
    if mode == "linear":
        return straight
    return norm * functional.normalize(straight)


def _slerp(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    angle = torch.arccos((first @ second).clamp(-1, 1))
    if angle.sin().abs() < 1e-4:  # parallel or opposite: use the limit, a straight line
        return (1 - weight) * first + weight * second
    return (((1 - weight) * angle).sin() * first + (weight * angle).sin() * second) / angle.sin()


@torch.no_grad()
def interpolate(flow: Flow, first: Batch, second: Batch, alpha: Tensor, mode: InterpolationMode) -> Tensor:
    """Return the images between pairs of examples.

    Parameters
    ----------
    flow
        Encodes and decodes the examples.
    first, second
        One example of each per pair. Contexts are interpolated linearly.
    alpha, mode
        As in `interpolate_latents`.

    Returns
    -------
    Tensor
        (pairs, steps, *event_shape); the first and last step are the examples themselves.
    """
    starts, ends = flow.encode(first.x, first.context).flat(), flow.encode(second.x, second.context).flat()
    paths = torch.cat([interpolate_latents(a, b, alpha, mode) for a, b in zip(starts, ends, strict=True)])
    context = None
    if first.context is not None and second.context is not None:
        context = torch.lerp(first.context[:, None], second.context[:, None], alpha[:, None].to(first.x)).flatten(0, 1)
    decoded = flow.decode(_unflatten(flow, paths), context)
    return decoded.reshape(len(first), len(alpha), *flow.event_shape)


def _unflatten(flow: Flow, flat: Tensor) -> Latents:
    sizes = [torch.Size(shape).numel() for shape in flow.latent_shapes]
    latents = [
        values.reshape(len(flat), *shape)
        for values, shape in zip(flat.split(sizes, dim=1), flow.latent_shapes, strict=True)
    ]
    return Latents(tuple(latents), flat.new_zeros(len(flat)))
