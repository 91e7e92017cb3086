"""Interactive requests: samples, interpolations and traces from copies of the weights.

Everything here has random numbers of its own and touches no flow that is in training: a run that answered a
thousand requests is the run that answered none.
"""

from __future__ import annotations

from collections import OrderedDict
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
from nfkd.runs.weights import load_weights
from nfkd.training.control import LiveWeights
from nfkd.training.monitor import draw_density, has_plane

_KEPT = 8
_THUMBNAILS = 64
_MOST_EXAMPLES = 4096  # of the validation part, to choose from
_MOST_SAMPLES, _MOST_STEPS = 65_536, 1024


@dataclass(frozen=True)
class _Opened:
    key: tuple[str, int]
    config: ExperimentConfig
    dataset: Dataset
    examples: Batch
    device: torch.device


class Explorer:
    """Answers interactive requests; used from one thread."""

    def __init__(self) -> None:
        self._runs: OrderedDict[tuple[str, int], _Opened] = OrderedDict()
        self._flows: OrderedDict[tuple[object, ...], Flow] = OrderedDict()

    def sample(self, request: Sample, live: LiveWeights | None) -> Samples:
        """Draw samples of every flow from the same latents.

        Raises
        ------
        RunError
            When the run cannot be read or has no weights yet, or more is asked for than can be drawn at once.
        """
        _check_number("samples", request.count, _MOST_SAMPLES)
        opened = self._open(request.run)
        flows = self._all(opened, request.run, request.seed, live)
        dataset, count = opened.dataset, request.count
        context = opened.examples.to(opened.device).contexts(count)
        samples, densities = {}, {}
        for role, flow in flows.items():
            generator = torch.Generator().manual_seed(request.noise_seed)
            x = flow.sample(count, temperature=request.temperature, generator=generator, context=context)
            samples[role] = dataset.to_picture(x)
            if has_plane(dataset):
                densities[role] = self._density(request, flow, role, dataset)
        return Samples(
            run=request.run,
            seed=request.seed,
            temperature=request.temperature,
            samples=samples,
            real=dataset.to_picture(opened.examples.x[:count]),
            densities=densities,
        )

    @staticmethod
    def _density(request: Sample, flow: Flow, role: Role, dataset: Dataset) -> DensityDrawn:
        return draw_density(flow, dataset, run=request.run, seed=request.seed, stage=role, step=0)

    def interpolate(self, request: Interpolate, live: LiveWeights | None) -> Interpolations:
        """Walk between two validation examples through every flow.

        Raises
        ------
        RunError
            As `sample`; also when an index is not in the validation part.
        """
        _check_number("steps", request.steps, _MOST_STEPS)
        opened = self._open(request.run)
        flows = self._all(opened, request.run, request.seed, live)
        count = len(opened.examples)
        for index in (request.first, request.second):
            _check_index(index, count)
        alpha = torch.linspace(0, 1, request.steps)
        first, second = (opened.examples.take([n]).to(opened.device) for n in (request.first, request.second))
        paths: dict[str, np.ndarray] = {}
        for role, flow in flows.items():
            path = interpolate(flow, first, second, alpha, request.mode)[0]
            paths[role] = opened.dataset.to_picture(path)
        return Interpolations(
            run=request.run,
            seed=request.seed,
            mode=request.mode,
            alpha=alpha.numpy(),
            paths=paths,
            count=count,
            thumbnails=opened.dataset.to_picture(opened.examples.x[:_THUMBNAILS]),
        )

    @torch.no_grad()
    def trace(self, request: Trace, live: LiveWeights | None) -> TraceResult:
        """Follow one validation example through a flow.

        Raises
        ------
        RunError
            As `interpolate`; also when the run has no such flow yet.
        """
        opened = self._open(request.run)
        _check_index(request.index, len(opened.examples))
        flow = self._all(opened, request.run, request.seed, live).get(request.stage)
        if flow is None:
            title = f"There is no {role_name(request.stage)} yet"
            raise RunError(title, "Its stage has not reached its first step.", "Look again a little later.")
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
            example=opened.dataset.to_picture(example.x)[0],
            layers=layers,
            log_prob=float(result.log_prob[0]),
        )

    def _open(self, run: str) -> _Opened:
        path = Path(run) / EXPERIMENT
        key = (run, path.stat().st_mtime_ns if is_regular(path) else 0)  # another run may have taken the name
        if key not in self._runs:
            config = read_config(Path(run))
            dataset = load_dataset(config.data)
            device = resolve_device(config.compute)
            examples = noisy(dataset, dataset.validation.take(slice(_MOST_EXAMPLES)))
            self._runs[key] = _Opened(key, config, dataset, examples, device)
        return _keep(self._runs, key)

    def _all(self, opened: _Opened, run: str, seed: int, live: LiveWeights | None) -> dict[Role, Flow]:
        flows: dict[Role, Flow] = {}
        for role in run_roles(opened.config):
            flow = self._flow(opened, run, seed, role, live)
            if flow is not None:
                flows[role] = flow
        if not flows:
            title = "There are no weights yet"
            raise RunError(title, "The run has not made its first step.", "Look again a little later.")
        return flows

    def _flow(self, opened: _Opened, run: str, seed: int, role: Role, live: LiveWeights | None) -> Flow | None:
        config = opened.config
        if role == "teacher" and config.training.teacher_from_python:
            return None  # its code is another library's, and not here
        own = seed if role in seed_stages(config, seed) else config.seeds.first
        if live is not None and (live.seed, live.stage) == (own, role):
            key: tuple[object, ...] = (opened.key, own, role, "live", live.step)
            return self._cached(key, opened, role, live.weights)
        path = seed_directory(Path(run), config, own) / f"{role}.safetensors"
        if not is_taken(path):
            return None
        return self._cached((path, path.stat().st_mtime_ns), opened, role, path)

    def _cached(self, key: tuple[object, ...], opened: _Opened, role: Role, source: Path | dict[str, Tensor]) -> Flow:
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
        return _keep(self._flows, key)


def _keep(cache: OrderedDict, key: object):  # noqa: ANN202 - whatever the cache holds
    cache.move_to_end(key)
    while len(cache) > _KEPT:
        cache.popitem(last=False)
    return cache[key]


def _check_number(what: str, number: int, most: int) -> None:
    if not 1 <= number <= most:
        cause = f"{number:,} {what} were asked for."
        title = "That cannot be drawn"
        raise RunError(title, cause, f"Ask for 1 to {most:,}.")


def _check_index(index: int, count: int) -> None:
    if not 0 <= index < count:
        title = "There is no such example"
        cause = f"Example {index} was asked for; there are {count}."
        raise RunError(title, cause, f"Choose a number from 0 to {count - 1}.")
