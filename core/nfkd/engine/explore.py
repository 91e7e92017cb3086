"""Interactive requests: samples, interpolations and traces, computed with copies of the weights.

Nothing here uses the random numbers or the flow of a run in training, so requests do not change a run.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nfkd.config import ExperimentConfig
from nfkd.data import Batch, Dataset, load_dataset
from nfkd.evaluation.interpolation import interpolate
from nfkd.evaluation.likelihood import noisy
from nfkd.files import is_regular, is_taken
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from nfkd.planning.devices import resolve_device
from nfkd.planning.plans import flow_config, run_roles, seed_stages
from nfkd.protocol.events import DensityDrawn
from nfkd.protocol.requests import Interpolate, Interpolations, Sample, Samples, Trace, TracedLayer, TraceResult
from nfkd.protocol.roles import Role, role_name
from nfkd.runs.errors import RunError
from nfkd.runs.layout import EXPERIMENT, read_config, seed_directory
from nfkd.runs.pictures import in_units_of_run
from nfkd.runs.weights import load_weights
from nfkd.training.control import LiveWeights
from nfkd.training.monitor import draw_density, has_plane, picture_generator

_CACHE_SIZE = 8
_THUMBNAILS = 64
_MAX_EXAMPLES = 4096  # of the validation split, to choose from
_MAX_SAMPLES, _MAX_STEPS = 65_536, 1024


@dataclass(frozen=True)
class _OpenedRun:
    key: tuple[str, int]
    config: ExperimentConfig
    dataset: Dataset
    examples: Batch
    device: torch.device


class Explorer:
    """Answers interactive requests, with caches of runs and flows. Used by one thread at a time."""

    def __init__(self) -> None:
        self._runs: OrderedDict[tuple[str, int], _OpenedRun] = OrderedDict()
        self._flows: OrderedDict[tuple[object, ...], Flow] = OrderedDict()

    def sample(self, request: Sample, live: LiveWeights | None) -> Samples:
        """Sample every flow from the same latents.

        Raises
        ------
        RunError
            When the run cannot be read or has no weights yet, or too many samples are requested.
        """
        _check_count("samples", request.count, _MAX_SAMPLES)
        opened = self._open(request.run)
        flows = self._flows_of(opened, request.run, request.seed, live)
        dataset, count = in_units_of_run(opened.dataset, Path(request.run), request.seed), request.count
        context = opened.examples.to(opened.device).contexts(count)
        samples, densities, flags, log_prob = {}, {}, {}, {}
        for role, flow in flows.items():
            x = flow.sample(count, temperature=request.temperature, generator=_generator(request), context=context)
            samples[role], flags[role] = dataset.to_picture(x), dataset.sample_flags(x)
            if request.log_prob and "log_prob" not in flow.unsupported:
                log_prob[role] = _log_prob(flow, x, context)
            if has_plane(dataset):
                densities[role] = self._density(request, flow, role, dataset)
        return Samples(
            run=request.run,
            seed=request.seed,
            temperature=request.temperature,
            samples=samples,
            real=dataset.to_picture(opened.examples.x[:count]),
            densities=densities,
            flags=flags,
            log_prob=log_prob,
            noise=_plane_noise(list(flows.values()), count, _generator(request)),
            noise_seed=request.noise_seed,
        )

    @staticmethod
    def _density(request: Sample, flow: Flow, role: Role, dataset: Dataset) -> DensityDrawn:
        return draw_density(flow, dataset, run=request.run, seed=request.seed, stage=role, step=0)

    def interpolate(self, request: Interpolate, live: LiveWeights | None) -> Interpolations:
        """Interpolate between two validation examples, or samples, with every flow.

        Raises
        ------
        RunError
            As `sample`; also when an index is outside the validation split or the samples.
        """
        _check_count("steps", request.steps, _MAX_STEPS)
        _check_count("samples", request.count, _MAX_SAMPLES)
        opened = self._open(request.run)
        flows = self._flows_of(opened, request.run, request.seed, live)
        dataset, count = in_units_of_run(opened.dataset, Path(request.run), request.seed), len(opened.examples)
        ends = ((request.first, request.first_sampled), (request.second, request.second_sampled))
        for index, sampled in ends:
            _check_index(index, request.count if sampled else count)
        alpha = torch.linspace(0, 1, request.steps)
        paths, flags, log_prob = {}, {}, {}
        for role, flow in flows.items():
            first, second = (self._end(opened, request, flow, *end) for end in ends)
            path = interpolate(flow, first, second, alpha, request.mode)[0]
            paths[role], flags[role] = dataset.to_picture(path), dataset.sample_flags(path)
            if request.log_prob and "log_prob" not in flow.unsupported and first.context is None:
                log_prob[role] = _log_prob(flow, path, None)
        return Interpolations(
            run=request.run,
            seed=request.seed,
            mode=request.mode,
            alpha=alpha.numpy(),
            paths=paths,
            count=count,
            thumbnails=dataset.to_picture(opened.examples.x[:_THUMBNAILS]),
            flags=flags,
            log_prob=log_prob,
        )

    @staticmethod
    def _end(opened: _OpenedRun, request: Interpolate, flow: Flow, index: int, sampled: bool) -> Batch:
        """Return an end of a path: a validation example, or the flow's sample of that number."""
        examples = opened.examples
        if not sampled:
            return examples.take([index]).to(opened.device)
        context = examples.to(opened.device).contexts(request.count)
        x = flow.sample(request.count, temperature=request.temperature, generator=_generator(request), context=context)
        return Batch(x, context).take([index])

    @torch.no_grad()
    def trace(self, request: Trace, live: LiveWeights | None) -> TraceResult:
        """Return the output of every layer of a flow for one validation example.

        Raises
        ------
        RunError
            As `interpolate`; also when the run has no such flow yet.
        """
        opened = self._open(request.run)
        _check_index(request.index, len(opened.examples))
        flow = self._flows_of(opened, request.run, request.seed, live).get(request.stage)
        if flow is None:
            title = f"There is no {role_name(request.stage)} yet"
            raise RunError(title, "Its stage has not made its first step.", "Try again later.")
        example = opened.examples.take([request.index]).to(opened.device)
        result = flow(example.x, example.context, trace=True)
        labels = {layer.name: layer.label for layer in flow.layer_info()}
        layers = [
            TracedLayer(name=name, label=labels[name], value=value[0].cpu().numpy(), log_det=float(log_det[0]))
            for name, (value, log_det) in result.trace.items()
        ]
        return TraceResult(
            run=request.run,
            stage=request.stage,
            example=in_units_of_run(opened.dataset, Path(request.run), request.seed).to_picture(example.x)[0],
            layers=layers,
            log_prob=float(result.log_prob[0]),
        )

    def _open(self, run: str) -> _OpenedRun:
        path = Path(run) / EXPERIMENT
        key = (run, path.stat().st_mtime_ns if is_regular(path) else 0)  # another run may have the same name
        if key not in self._runs:
            config = read_config(Path(run))
            dataset = load_dataset(config.data)
            device = resolve_device(config.compute)
            examples = noisy(dataset, dataset.validation.take(slice(_MAX_EXAMPLES)))
            self._runs[key] = _OpenedRun(key, config, dataset, examples, device)
        return _newest(self._runs, key)

    def _flows_of(self, opened: _OpenedRun, run: str, seed: int, live: LiveWeights | None) -> dict[Role, Flow]:
        flows: dict[Role, Flow] = {}
        for role in run_roles(opened.config):
            flow = self._flow(opened, run, seed, role, live)
            if flow is not None:
                flows[role] = flow
        if not flows:
            title = "There are no weights yet"
            raise RunError(title, "The run has not made its first step.", "Try again later.")
        return flows

    def _flow(self, opened: _OpenedRun, run: str, seed: int, role: Role, live: LiveWeights | None) -> Flow | None:
        config = opened.config
        if role == "teacher" and config.training.teacher_from_python:
            return None  # its class belongs to another library
        stage_seed = seed if role in seed_stages(config, seed) else config.seeds.first
        if live is not None and (live.seed, live.stage) == (stage_seed, role):
            key: tuple[object, ...] = (opened.key, stage_seed, role, "live", live.step)
            return self._load(key, opened, role, live.weights)
        path = seed_directory(Path(run), config, stage_seed) / f"{role}.safetensors"
        if not is_taken(path):
            return None
        return self._load((path, path.stat().st_mtime_ns), opened, role, path)

    def _load(self, key: tuple[object, ...], opened: _OpenedRun, role: Role, source: Path | dict[str, Tensor]) -> Flow:
        if key not in self._flows:
            dataset = opened.dataset
            flow = build_flow(
                flow_config(opened.config, role), dataset.event_shape, context_features=dataset.context_features
            )
            if isinstance(source, Path):
                load_weights(source, flow)
            else:
                flow.load_state_dict(source)
            self._flows[key] = flow.to(opened.device).eval().requires_grad_(requires_grad=False)
        return _newest(self._flows, key)


def _generator(request: Sample | Interpolate) -> torch.Generator:
    """Return the generator of a request's noise: by its seed, or that of the run's own pictures."""
    if request.noise_seed is None:
        return picture_generator(request.seed)
    return torch.Generator().manual_seed(request.noise_seed)


@torch.no_grad()
def _log_prob(flow: Flow, x: Tensor, context: Tensor | None) -> np.ndarray:
    """Return log p of each example in nats; NaN where an example is not finite."""
    finite = x.flatten(1).isfinite().all(dim=1)
    usable = torch.where(finite.reshape(-1, *[1] * (x.dim() - 1)), x, torch.zeros_like(x))
    return torch.where(finite, flow.log_prob(usable, context), torch.nan).float().cpu().numpy()


def _plane_noise(flows: Sequence[Flow], count: int, generator: torch.Generator) -> np.ndarray | None:
    """Return the noise that all flows share, (count, 2); None unless each has two latents in one part."""
    if any([tuple(shape) for shape in flow.latent_shapes] != [(2,)] for flow in flows):
        return None
    return flows[0].draw_noise(count, generator)[0].cpu().numpy()


def _newest(cache: OrderedDict, key: object):  # noqa: ANN202 - the cache's values
    """Return an entry, and drop the least recently used ones."""
    cache.move_to_end(key)
    while len(cache) > _CACHE_SIZE:
        cache.popitem(last=False)
    return cache[key]


def _check_count(what: str, number: int, most: int) -> None:
    if not 1 <= number <= most:
        title = "The request is too large"
        cause = f"{number:,} {what} were requested."
        raise RunError(title, cause, f"Request 1 to {most:,}.")


def _check_index(index: int, count: int) -> None:
    if not 0 <= index < count:
        title = "There is no such example"
        cause = f"Example {index} was requested; there are {count}."
        raise RunError(title, cause, f"Choose a number from 0 to {count - 1}.")
