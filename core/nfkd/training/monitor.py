"""Live pictures of a stage, from noise and examples that are the same during the whole run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfkd.config import MonitorConfig
from nfkd.data import Dataset
from nfkd.distillation.objectives.ilkd import pair_errors
from nfkd.evaluation.interpolation import interpolate
from nfkd.evaluation.likelihood import noisy
from nfkd.flows.flow import Flow, evaluating
from nfkd.protocol.events import DensityDrawn, InterpolationDrawn, MatchingMeasured, RunEvent, SamplesDrawn
from nfkd.protocol.records import LayerPair
from nfkd.protocol.roles import Role
from nfkd.runs.schema import GRID, picture_pairs
from nfkd.training.generators import named_generator
from nfkd.training.step import device_of

_MATCHING_EXAMPLES = 256


class Monitor:
    """Publishes the live pictures of a seed as events.

    Parameters
    ----------
    run, seed
        For the events.
    config
        Counts, temperature, interpolation.
    dataset
        Its validation examples are interpolated and used for the matching error.
    pairs
        The matched layers.
    emit
        Receives the events.
    """

    def __init__(
        self,
        run: str,
        seed: int,
        config: MonitorConfig,
        dataset: Dataset,
        pairs: Sequence[LayerPair],
        emit: Callable[[RunEvent], None],
    ) -> None:
        self._run, self._seed, self._config = run, seed, config
        self._dataset, self._pairs, self._emit = dataset, pairs, emit
        self._examples = noisy(dataset, dataset.validation.take(slice(_MATCHING_EXAMPLES)))

    @torch.no_grad()
    def publish(self, stage: Role, step: int, flow: Flow, teacher: Flow | None) -> None:
        """Emit samples, interpolations, the density of 2-D data and, with a teacher, the matching error."""
        with evaluating(flow):
            self._publish_pictures(flow, stage=stage, step=step)
            if teacher is not None and self._pairs:
                batch = self._examples.to(device_of(flow))
                student_pass, teacher_pass = (each(batch.x, batch.context, trace=True) for each in (flow, teacher))
                error = pair_errors(student_pass, teacher_pass, self._pairs).double().cpu().numpy()
                self._emit(MatchingMeasured(run=self._run, seed=self._seed, stage=stage, step=step, error=error))

    @torch.no_grad()
    def publish_final(self, stage: Role, step: int, flow: Flow) -> None:
        """Emit the pictures of a stage's final weights, which are those after `step`."""
        with evaluating(flow):
            self._publish_pictures(flow, stage=stage, step=step, final=True)

    def _publish_pictures(self, flow: Flow, **fields: Any) -> None:
        fields |= {"run": self._run, "seed": self._seed}
        if "synthesis" not in flow.unsupported:
            self._emit(self._samples(flow, fields))
            if "latents" not in flow.unsupported:
                self._emit(self._interpolation(flow, fields))
        if has_plane(self._dataset) and "log_prob" not in flow.unsupported:
            self._emit(draw_density(flow, self._dataset, **fields))

    def _samples(self, flow: Flow, fields: Mapping[str, Any]) -> SamplesDrawn:
        temperature, count = self._config.temperature, self._config.sample_count
        generator = picture_generator(self._seed)
        context = self._examples.to(device_of(flow)).contexts(count)
        x = flow.sample(count, temperature=temperature, generator=generator, context=context)
        flags = self._dataset.sample_flags(x)
        return SamplesDrawn(**fields, temperature=temperature, samples=self._dataset.to_picture(x), flags=flags)

    def _interpolation(self, flow: Flow, fields: Mapping[str, Any]) -> InterpolationDrawn:
        mode, alpha = self._config.interpolation_mode, torch.linspace(0, 1, self._config.interpolation_steps)
        count = interpolation_pairs(self._dataset)
        examples = self._examples.to(device_of(flow)).take(slice(2 * count))
        path = interpolate(flow, examples.take(slice(0, None, 2)), examples.take(slice(1, None, 2)), alpha, mode)
        flat = path.flatten(0, 1)
        images, flags = self._dataset.to_picture(flat).reshape(path.shape), self._dataset.sample_flags(flat)
        flags = flags.reshape(path.shape[:2])
        return InterpolationDrawn(**fields, mode=mode, alpha=alpha.numpy(), images=images, flags=flags)


def picture_generator(seed: int) -> torch.Generator:
    """Return the generator of the noise in a seed's pictures, the same for every stage and step."""
    return named_generator(seed, "all", "pictures")


def interpolation_pairs(dataset: Dataset) -> int:
    """Return the number of pairs of validation examples in the live interpolations."""
    return picture_pairs(len(dataset.event_shape))


def has_plane(dataset: Dataset) -> bool:
    """Whether the density can be drawn: the data has two features and no context."""
    return dataset.event_shape == (2,) and not dataset.context_features


@torch.no_grad()
def draw_density(flow: Flow, dataset: Dataset, **fields: Any) -> DensityDrawn:
    """Return log p of a flow of two features on a grid over the data's extent.

    Parameters
    ----------
    flow, dataset
        The flow and its data.
    **fields
        The event's other fields: run, seed, stage, step and whether it is final.
    """
    x0, x1, y0, y1 = dataset.extent
    points, log_slopes = _scaled_axes(dataset, torch.tensor([x0, y0]), torch.tensor([x1, y1]))
    rows, columns = torch.meshgrid(points[:, 1], points[:, 0], indexing="ij")
    grid: Tensor = torch.stack([columns.flatten(), rows.flatten()], dim=1).to(device_of(flow))
    log_prob = flow.log_prob(grid).float().cpu().reshape(GRID, GRID) + log_slopes[:, 1:] + log_slopes[:, 0]
    finite = np.nan_to_num(log_prob.numpy(), nan=-np.inf)
    return DensityDrawn(**fields, extent=(x0, x1, y0, y1), log_prob=finite)


def _scaled_axes(dataset: Dataset, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scaled values of evenly spaced points of two features, and the log of the scaling's slope at each.

    The slope is the mean over a point's cell, Δz/Δx, since that of a quantile scaling jumps. Both are (GRID, 2).
    """
    shares = torch.linspace(-0.5 / (GRID - 1), 1 + 0.5 / (GRID - 1), 2 * GRID + 1, dtype=torch.float64)[:, None]
    x = low + shares * (high - low)  # the edges of the cells, and the points between them
    z = dataset.picture_units.middles(x)
    slopes = (z[2::2] - z[:-2:2]) / (x[2::2] - x[:-2:2])
    return z[1::2].float(), slopes.log().float()
