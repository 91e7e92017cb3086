"""Interactive requests, computed with copies of the weights.

Nothing here uses the random numbers or the flow of a run in training, so requests do not change a run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nfkd.data import Batch, Dataset
from nfkd.evaluation.interpolation import interpolate
from nfkd.flows.flow import Flow
from nfkd.inspect.layer_states import layers
from nfkd.inspect.log_probs import likelihood
from nfkd.inspect.opened import OpenedRun, RunCache, log_prob
from nfkd.inspect.origin import can_sample, check_count, draw_samples, examples_of, noise_generator
from nfkd.inspect.plane_states import plane
from nfkd.inspect.sample_details import can_rate, sample
from nfkd.inspect.sampling import is_iterated
from nfkd.inspect.table_rows import column_tests, table
from nfkd.inspect.work import Work
from nfkd.protocol import inspection
from nfkd.protocol.inspection import Origin
from nfkd.protocol.requests import Interpolate, Interpolations, Sample, Samples
from nfkd.protocol.roles import Role
from nfkd.runs.pictures import in_units_of_run
from nfkd.training.control import LiveWeights
from nfkd.training.monitor import draw_density, has_plane

_MAX_STEPS = 1024
InteractiveRequest = Sample | Interpolate | inspection.InspectMessage


class Explorer:
    """Answers interactive requests, with caches of runs and flows. Used by one thread at a time."""

    def __init__(self) -> None:
        self._cache = RunCache()

    def answer(self, request: InteractiveRequest, live: LiveWeights | None = None, work: Work | None = None) -> Any:
        """Return the reply to a request.

        Parameters
        ----------
        request
            The request.
        live
            Weights of the stage in training.
        work
            Checked while something is computed.

        Raises
        ------
        RunError
            When the run cannot be read or has no weights yet, or the request does not fit it.
        """
        return _ANSWERS[type(request)](self._cache.open(request.run, request.seed, live, work), request)


def _samples(opened: OpenedRun, request: Sample) -> Samples:
    """Sample every flow from the same latents."""
    dataset, count = in_units_of_run(opened.dataset, Path(opened.run), opened.seed), request.count
    origin = Origin(
        kind="sample",
        count=count,
        temperature=request.temperature,
        noise_seed=request.noise_seed,
        options=request.options,
    )
    samples, densities, flags, values = {}, {}, {}, {}
    for role, flow in opened.flows.items():
        batch = draw_samples(opened, flow, origin)
        samples[role], flags[role] = dataset.to_picture(batch.x), dataset.sample_flags(batch.x)
        if request.log_prob and can_rate(flow):
            values[role] = log_prob(flow, batch.x, batch.context).astype(np.float32)
        if has_plane(dataset):
            densities[role] = draw_density(flow, dataset, run=request.run, seed=request.seed, stage=role, step=0)
    return Samples(
        run=request.run,
        seed=request.seed,
        temperature=request.temperature,
        samples=samples,
        real=dataset.to_picture(opened.data.examples.x[:count]),
        densities=densities,
        flags=flags,
        log_prob=values,
        noise=_plane_noise(opened, list(opened.flows.values()), request),
        noise_seed=request.noise_seed,
        options=request.options,
        guided=[role for role, flow in opened.flows.items() if request.options.guidance and flow.takes_guidance],
        iterated=[role for role, flow in opened.flows.items() if is_iterated(flow, request.options)],
    )


def _interpolations(opened: OpenedRun, request: Interpolate) -> Interpolations:
    """Interpolate between two examples, or samples, with every flow that can decode."""
    check_count("steps", request.steps, _MAX_STEPS)
    dataset, count = in_units_of_run(opened.dataset, Path(opened.run), opened.seed), len(opened.data.examples)
    first, second = (examples_of(opened, origin) for origin in (request.first, request.second))
    alpha = torch.linspace(0, 1, request.steps)
    paths, flags, values = {}, {}, {}
    for role, flow in opened.flows.items():
        if role not in first or role not in second or not can_sample(flow) or "latents" in flow.unsupported:
            continue
        path = interpolate(flow, first[role], second[role], alpha, request.mode)[0]
        paths[role], flags[role] = dataset.to_picture(path), dataset.sample_flags(path)
        if request.log_prob and can_rate(flow) and first[role].context is None:
            values[role] = log_prob(flow, path).astype(np.float32)
    return Interpolations(
        run=request.run,
        seed=request.seed,
        mode=request.mode,
        alpha=alpha.numpy(),
        paths=paths,
        count=count,
        flags=flags,
        log_prob=values,
        ends=[_end_picture(dataset, ends) for ends in (first, second)],
    )


def _end_picture(dataset: Dataset, ends: dict[Role, Batch]) -> np.ndarray:
    """Return an end of a path, as it is for the student, or else for the last flow."""
    return dataset.to_picture((ends.get("student") or list(ends.values())[-1]).x)[0]


def _plane_noise(opened: OpenedRun, flows: Sequence[Flow], request: Sample) -> np.ndarray | None:
    """Return the noise that all flows share, (count, 2); None unless each has two latents in one part."""
    if any([tuple(shape) for shape in flow.latent_shapes] != [(2,)] for flow in flows):
        return None
    generator = noise_generator(opened.seed, request.noise_seed)
    return flows[0].draw_noise(request.count, generator)[0].cpu().numpy()


def _drawing(request: inspection.ReadTable | inspection.CompareColumns) -> dict[str, Any]:
    return {"count": request.count, "temperature": request.temperature, "noise_seed": request.noise_seed}


_ANSWERS: dict[type, Callable[[OpenedRun, Any], Any]] = {
    Sample: _samples,
    Interpolate: _interpolations,
    inspection.ReadLayers: lambda opened, ask: layers(opened, ask.origin, rest=ask.rest),
    inspection.ReadPlane: lambda opened, ask: plane(opened, count=ask.count, noise_seed=ask.noise_seed, grid=ask.grid),
    inspection.InspectSample: lambda opened, ask: sample(opened, ask.origin),
    inspection.ReadLikelihood: lambda opened, ask: likelihood(opened, count=ask.count, second=ask.second),
    inspection.ReadTable: lambda opened, ask: table(opened, **_drawing(ask)),
    inspection.CompareColumns: lambda opened, ask: column_tests(opened, ask.columns, **_drawing(ask)),
}
