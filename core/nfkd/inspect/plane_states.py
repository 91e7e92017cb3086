"""Points, a grid and rings on their way through flows of two features."""

from __future__ import annotations

import os
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from nfkd.flows.flow import Flow, Latents
from nfkd.inspect.opened import OpenedRun, open_run
from nfkd.inspect.origin import check_count, noise_generator
from nfkd.protocol.inspection import PlaneFlow, PlaneStates
from nfkd.protocol.roles import Role
from nfkd.runs.errors import RunError
from nfkd.training.monitor import has_plane

_MAX_POINTS = 20_000
_LINES, _LINE_POINTS, _RING_POINTS = 17, 97, 193
_NOISE_EXTENT = 3.0
_RADII = (1.0, 2.0)


def plane(
    run: str | os.PathLike[str] | OpenedRun,
    *,
    seed: int | None = None,
    count: int = 2000,
    noise_seed: int | None = None,
    grid: Literal["noise", "data"] = "noise",
) -> PlaneStates:
    """Return points, a grid and rings after each layer of each flow of two features.

    The points are the samples that each flow makes of the same noise; the rings are circles of one and two standard
    deviations of the latents.

    Parameters
    ----------
    run, seed
        As in `layers`.
    count
        Number of points.
    noise_seed
        None for the noise of the run's pictures.
    grid
        Whether the grid is regular among the latents, or among the data.

    Raises
    ------
    RunError
        When the run cannot be read, has not two features without context, or has no flow that can be inverted.
    """
    opened = open_run(run, seed)
    check_count("points", count, _MAX_POINTS)
    dataset = opened.dataset
    if not has_plane(dataset):
        cause = f"An example of {dataset.name} has {'×'.join(map(str, dataset.event_shape))} values."
        title = "The flows cannot be drawn in the plane"
        raise RunError(title, cause, "Choose a run with two features, no context.")
    x0, x1, y0, y1 = dataset.extent
    lines = noise_lines() if grid == "noise" else _lines((x0, x1, y0, y1))
    flows: dict[Role, PlaneFlow] = {}
    shared = np.empty((0, 2), np.float32)
    for role, flow in opened.flows.items():
        opened.work.check(len(flows) / len(opened.flows))
        if not {"latents", "synthesis"} & flow.unsupported.keys():
            noise = flow.draw_noise(count, noise_generator(opened.seed, noise_seed))[0]
            shared = noise.cpu().numpy()
            flows[role] = plane_flow(flow, noise, lines.to(noise), from_noise=grid == "noise")
    if not flows:
        title = "The layers cannot be shown"
        raise RunError(title, "No flow of the run gives its latents.", "Choose another run.")
    return PlaneStates(
        run=opened.run,
        seed=opened.seed,
        flows=flows,
        noise=shared,
        columns=dataset.picture_columns,
        extent=(x0, x1, y0, y1),
    )


def noise_lines() -> Tensor:
    """Return the lines of a regular grid of the latents, first the vertical ones: (lines, n, 2)."""
    return _lines((-_NOISE_EXTENT, _NOISE_EXTENT) * 2)


def _lines(extent: tuple[float, ...]) -> Tensor:
    """Return the lines of a regular grid, first the vertical ones: (lines, n, 2)."""
    x0, x1, y0, y1 = extent
    x, y = (torch.linspace(low, high, _LINES) for low, high in ((x0, x1), (y0, y1)))
    along_x, along_y = (torch.linspace(low, high, _LINE_POINTS) for low, high in ((x0, x1), (y0, y1)))
    vertical = torch.stack(torch.broadcast_tensors(x[:, None], along_y), dim=-1)
    horizontal = torch.stack(torch.broadcast_tensors(along_x, y[:, None]), dim=-1)
    return torch.cat([vertical, horizontal])


def _rings() -> Tensor:
    """Return closed circles of one and two standard deviations, (2, n, 2)."""
    angle = torch.linspace(0, 2 * torch.pi, _RING_POINTS)
    circle = torch.stack([angle.cos(), angle.sin()], dim=-1)
    return torch.stack([radius * circle for radius in _RADII])


@torch.no_grad()
def plane_flow(flow: Flow, noise: Tensor, lines: Tensor, *, from_noise: bool) -> PlaneFlow:
    """Return points, a grid and rings after each layer of a flow.

    Parameters
    ----------
    flow
        A flow of two features.
    noise
        The noise of the points, (n, 2).
    lines
        The lines of the grid, (lines, m, 2).
    from_noise
        Whether the lines are latents; otherwise they are examples.
    """
    rings = _rings().to(noise)
    pulled = [noise, *([lines.flatten(0, 1)] if from_noise else []), rings.flatten(0, 1)]
    states = _pulled(flow, flow.last_latent(torch.cat(pulled)))
    points, rest = states[:, : len(noise)], states[:, len(noise) :]
    size = lines.shape[0] * lines.shape[1]
    grid = rest[:, :size] if from_noise else _pushed(flow, lines.flatten(0, 1))
    count = len(states)
    names = flow.layer_info()
    return PlaneFlow(
        names=[layer.name for layer in names],
        labels=[layer.label for layer in names],
        points=points,
        grid=grid.reshape(count, *lines.shape),
        rings=rest[:, -rings.shape[0] * rings.shape[1] :].reshape(count, *rings.shape),
    )


def _pulled(flow: Flow, latents: Tensor) -> np.ndarray:
    """Return the states of latents from the data to the noise, (L + 1, N, 2) float32."""
    x, traced = flow.decode_trace(Latents((latents,), latents.new_zeros(len(latents))))
    return _stacked([x, *reversed(traced.values())])


def _pushed(flow: Flow, x: Tensor) -> np.ndarray:
    """Return the states of data from the data to the noise, (L + 1, N, 2) float32."""
    return _stacked([x, *(value for value, _ in flow.trace(x).values())])


def _stacked(states: list[Tensor]) -> np.ndarray:
    return torch.stack(states).float().cpu().numpy()
