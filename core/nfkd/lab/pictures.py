"""Pictures of one flow of the lab: density, samples, and points on their way through its layers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfkd.flows.flow import Entry, Flow, evaluating
from nfkd.flows.layer import Layer
from nfkd.inspect.plane_states import noise_lines, plane_flow
from nfkd.protocol.lab import LabPicture, ProbePath

DENSITY = 72
"""Rows and columns of a density."""
SAMPLES = 500
"""Number of samples."""


def picture(
    flow: Flow,
    noise: Tensor,
    extent: tuple[float, float, float, float],
    *,
    step: int = 0,
    temperature: float = 1.0,
    off: Collection[str] = (),
) -> LabPicture:
    """Return the picture of a flow of two features.

    Parameters
    ----------
    flow
        The flow.
    noise
        Of the samples, (n, 2).
    extent
        Rectangle (x0, x1, y0, y1) of the density.
    step
        Steps that the flow has made.
    temperature
        Of the samples.
    off
        Names of layers that are left out.
    """
    with evaluating(flow), torch.no_grad():
        shown = without_layers(flow, off)
        rows = shown.log_prob(_cells(extent)).reshape(DENSITY, DENSITY).numpy()
        plane = plane_flow(shown, temperature * noise, noise_lines(), from_noise=True)
        return LabPicture(step=step, density=np.nan_to_num(rows, nan=-np.inf), plane=plane)


def probe_path(flow: Flow, point: tuple[float, float], off: Collection[str] = ()) -> ProbePath:
    """Return a point on its way through a flow, (x, y) scaled as the flow sees it."""
    with evaluating(flow), torch.no_grad():
        x = torch.tensor([point], dtype=torch.float32)
        passed = without_layers(flow, off)(x, trace=True)
        states = torch.cat([x, *(state for state, _ in passed.trace.values())])
        totals = torch.cat([torch.zeros(1), *(total for _, total in passed.trace.values())])
        return ProbePath(
            states=states.numpy(), log_dets=totals.diff().double().numpy(), base_log_prob=float(passed.base_log_prob)
        )


def without_layers(flow: Flow, names: Collection[str]) -> Flow:
    """Return a flow that shares the weights of another, in which some layers are the identity."""
    if not names:
        return flow
    infos = flow.layer_info()
    entries = [Entry(info.name, info.label, info.kind, tuple(info.shape)) for info in infos]
    layers: list[Any] = [
        _Off(layer) if info.name in names and isinstance(layer, Layer) else layer
        for info, layer in zip(infos, flow.layers, strict=True)
    ]
    return Flow(flow.event_shape, entries, layers, prior=flow.prior)


class _Off(Layer):
    """The identity, in place of a layer."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer  # a flow finds its device and type by its parameters

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        del context
        return x, x.new_zeros(len(x))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        del context
        return y


def _cells(extent: tuple[float, float, float, float]) -> Tensor:
    """Return the centres of the cells of a density, (cells, 2), row by row from the lowest y."""
    x0, x1, y0, y1 = extent
    shares = (torch.arange(DENSITY) + 0.5) / DENSITY
    rows, columns = torch.meshgrid(y0 + shares * (y1 - y0), x0 + shares * (x1 - x0), indexing="ij")
    return torch.stack([columns.flatten(), rows.flatten()], dim=1)
