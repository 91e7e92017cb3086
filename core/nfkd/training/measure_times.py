"""Measures the parts of a run before it starts: a few real steps of each stage, an evaluation, pictures, figures."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nfkd.config import ExperimentConfig
from nfkd.data import Dataset, load_dataset
from nfkd.distillation.distiller import Distiller, Likelihood, freeze
from nfkd.evaluation.likelihood import bootstrap_half_width, example_nll
from nfkd.evaluation.quality import c2st
from nfkd.evaluation.reference import Reference
from nfkd.evaluation.throughput import SPEED_COUNT
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from nfkd.flows.isolation import plain_torch
from nfkd.planning.describe import check
from nfkd.planning.devices import resolve_device, thread_count
from nfkd.planning.plans import (
    chain,
    described_cache,
    flow_config,
    learners,
    stage_data,
    stage_pairs,
    stage_steps,
    stage_training,
    teacher_of,
)
from nfkd.planning.times import UnitTimes, rough_units
from nfkd.protocol.requests import Description
from nfkd.protocol.roles import Role, learner_of
from nfkd.training.checkpoint import save_checkpoint
from nfkd.training.control import Control
from nfkd.training.curves import CurveLog
from nfkd.training.diagnosis import DivergedError
from nfkd.training.freed_memory import keep_freed_memory
from nfkd.training.generators import named_generator
from nfkd.training.gradient_norms import measure_norms
from nfkd.training.loop import Hooks, Trainer
from nfkd.training.measure_teacher import Learnt, measure_teacher
from nfkd.training.monitor import Monitor
from nfkd.training.state import StageState

_NEVER = 1_000_000
_WARM_UP, _STEPS = 3, 5
_EXAMPLES = 512  # of an evaluation
_FEW_SAMPLES = 16
_VALUES = 1_000_000  # of the examples that are compared
_SHORT = 0.3  # seconds of a call that is repeated


class MeasurementStopped(Exception):  # noqa: N818 - a request, not an error
    """The measurement was cancelled."""


@dataclass(frozen=True)
class MeasuredTimes:
    """The times of an experiment's parts.

    Attributes
    ----------
    units
        By stage; also those of baseline and ablation if the experiment has none.
    preparation
        Seconds before the first stage, with the classifier of FD-local already trained.
    guessed
        Stages for which there was no time.
    norms
        The norm of the gradient of each of the student's terms, before its weight, after these steps; empty where the
        student was not measured, or has one term.
    """

    units: Mapping[Role, UnitTimes]
    preparation: float
    guessed: tuple[Role, ...] = ()
    norms: Mapping[str, float] = field(default_factory=dict[str, float])


@plain_torch()
def measure_times(
    config: ExperimentConfig, stopping: Callable[[], bool] = lambda: False, *, seconds: float = 8.0
) -> MeasuredTimes:
    """Measure the times of an experiment's parts on its device with its threads, in a few seconds.

    Steps are real: the flows have their initial weights, the losses all their terms, and the pool a few samples. Where
    an evaluation, a pool or a figure is large, a part of it is measured. The stages for which there is no time are
    guessed from the others and the sizes of the flows.

    Parameters
    ----------
    config
        The experiment.
    stopping
        Whether to stop; called between two steps.
    seconds
        After this time no further stage is measured.

    Raises
    ------
    ConfigError
        With all problems of the experiment.
    MeasurementStopped
        When `stopping` returned True.
    """
    torch.set_num_threads(thread_count(config.compute))
    keep_freed_memory()
    check(config)
    dataset = load_dataset(config.data)
    Reference.of(dataset)  # trains and keeps the classifier of FD-local
    began = time.perf_counter()
    description, reference = check(config), Reference.of(dataset)
    reference.floors  # noqa: B018 - as at the start of a run
    preparation = time.perf_counter() - began
    measurement = _Measurement(config, description, reference, stopping, seconds)
    units, guessed = measurement.run()
    return MeasuredTimes(units, preparation, guessed, measurement.norms)


class _Measurement:
    """Measures one stage after the other; each keeps its flow for those that learn from it."""

    def __init__(
        self,
        config: ExperimentConfig,
        description: Description,
        reference: Reference,
        stopping: Callable[[], bool],
        seconds: float,
    ) -> None:
        self._config, self._description, self._reference = config, description, reference
        self._stopping, self._all_seconds = stopping, seconds
        self._dataset = reference.dataset
        self._device = resolve_device(config.compute)
        quiet = {"evaluate_every": _NEVER, "pictures_every": _NEVER, "validation_examples": 8}
        self._quiet = config.replace(monitor=quiet, training={"checkpoint_every": _NEVER})
        self._flows: dict[Role, Flow] = {}
        self._measures = 0.0
        self.norms: dict[str, float] = {}

    def run(self) -> tuple[dict[Role, UnitTimes], tuple[Role, ...]]:
        """Return the times of all stages, and the stages that were guessed."""
        units: dict[Role, UnitTimes] = {}
        end = time.perf_counter() + self._all_seconds
        roles: list[Role] = [*chain(self._config), "baseline"]
        self._measures = self._time_measures()
        for role in roles:
            if time.perf_counter() < end or not units:
                units[role] = self._unit(role)
        guessed: list[Role] = [role for role in roles if role not in units]
        if guessed:
            units |= self._guess(units, guessed)
        units["ablation"] = units["baseline"]  # the same flow and loss
        if "baseline" in guessed:
            guessed.append("ablation")
        return units, tuple(guessed)

    def _guess(self, units: Mapping[Role, UnitTimes], guessed: list[Role]) -> dict[Role, UnitTimes]:
        rough = rough_units(self._config, self._description, self._dataset)
        measured = sum(unit.step for unit in units.values())
        expected = sum(rough[role].step for role, unit in units.items() if unit.step)
        ratio = measured / expected if measured and expected else 1.0
        return {
            role: UnitTimes(**{name: ratio * value for name, value in vars(rough[role]).items()}) for role in guessed
        }

    def _unit(self, role: Role) -> UnitTimes:
        if role == "teacher" and self._config.training.teacher_given:
            return UnitTimes(step=0.0, summary=self._summary(role, self._flow(role)))
        state, learnt = self._state(role), self._learnt(role) if role in learners(self._config) else None
        first, step = self._steps(role, state, learnt)
        if role == "student" and state.flow.initialized:
            self.norms = self._norms(state, learnt)
        flow = self._flows[role] = state.flow
        return UnitTimes(
            step=step,
            evaluation=self._nll(flow, min(self._config.monitor.validation_examples, len(self._dataset.validation))),
            picture=self._picture(role, flow),
            checkpoint=_checkpoint(state),
            pool=(learnt.seconds if learnt else 0.0) + max(0.0, first - step),
            summary=self._summary(role, flow) + 2 * _checkpoint(state),
        )

    def _data(self, role: Role) -> Dataset:
        return self._dataset if role == "teacher" else self._seen

    @cached_property
    def _seen(self) -> Dataset:
        """The data of all flows but the teacher; one object, since it keeps its draws of noise."""
        return stage_data(self._config, self._dataset, "student")

    def _state(self, role: Role) -> StageState:
        config, dataset = self._config, self._step_data(role)
        training, seed = stage_training(config, role), config.seeds.first
        return StageState.fresh(role, seed, self._build(role).train(), training, len(dataset.train))

    def _build(self, role: Role) -> Flow:
        shape, features = self._dataset.event_shape, self._dataset.context_features
        generator = named_generator(self._config.seeds.first, learner_of(role), "initialisation")
        flow = build_flow(flow_config(self._config, role), shape, context_features=features, generator=generator)
        return flow.to(self._device)

    def _flow(self, role: Role) -> Flow:
        """Return the flow that another learns from; one that was not trained is initialised."""
        if role not in self._flows:
            flow = self._build(role)
            batch = self._dataset.batch(self._dataset.train.some(128), torch.Generator().manual_seed(0))
            batch = batch.to(self._device)
            flow.initialize(batch.x, batch.context)
            self._flows[role] = flow
        return freeze(self._flows[role])

    def _source(self, role: Role) -> Flow | None:
        before = teacher_of(self._config, role)
        return None if before is None else self._flow(before)

    def _steps(self, role: Role, state: StageState, learnt: Learnt | None) -> tuple[float, float]:
        """Return the seconds of the first step, and the mean of those after a few more."""
        control, times, share = Control(), [time.perf_counter()], self._all_seconds / 4

        def progress() -> None:
            if len(times) == _WARM_UP:
                _synchronize(self._device)  # a GPU may still compute steps that were launched
            times.append(time.perf_counter())
            self._check()
            taken, since = len(times) - 1 - _WARM_UP, times[-1] - times[0]
            enough = taken >= _STEPS and times[-1] - times[_WARM_UP] >= share / 3
            if enough or (taken >= 1 and since >= share) or since >= 3 * share:
                _synchronize(self._device)
                times[-1] = time.perf_counter()
                control.stop("stage")

        with suppress(DivergedError):  # the steps before it count
            self._trainer(role, state, learnt, control, progress).train()
        if len(times) < 3:
            return times[-1] - times[0], times[-1] - times[0]
        start = min(_WARM_UP, len(times) - 2)
        return times[1] - times[0], (times[-1] - times[start]) / (len(times) - 1 - start)

    def _trainer(
        self, role: Role, state: StageState, learnt: Learnt | None, control: Control, progress: Callable[[], None]
    ) -> Trainer:
        nothing: Any = lambda *_: None  # noqa: E731 - hooks of one line
        return Trainer(
            self._quiet,
            self._step_data(role),
            state,
            self._loss(role, state, learnt),
            steps=max(1, stage_steps(self._config).get(role, self._config.training.student_steps)),
            limit=_NEVER,
            patience=0,
            control=control,
            curves=CurveLog("", 0, role, nothing, elapsed=0.0, paused_seconds=lambda: 0.0),
            hooks=Hooks(publish=nothing, checkpoint=nothing, progress=progress, warn=nothing),
        )

    def _norms(self, state: StageState, learnt: Learnt | None) -> dict[str, float]:
        """Return the norms of the terms' gradients, which are not measured during the timed steps."""
        loss = self._loss("student", state, learnt, measure_every=1)
        training, data = self._config.training, self._step_data("student")
        return measure_norms(training, data, state, loss, seconds=self._all_seconds / 8, check=self._check)

    def _loss(self, role: Role, state: StageState, learnt: Learnt | None, measure_every: int = 0) -> Distiller:
        teacher = self._source(role)
        if teacher is None or learnt is None:
            return Likelihood(self._dataset)
        return Distiller(
            self._config.distillation,
            teacher,
            stage_pairs(self._description).get(role, []),
            self._dataset,
            steps=stage_steps(self._config)[role],
            measure_every=measure_every or self._config.monitor.shares_every,
            norms=state.norms,
            pool=learnt.pool,
            known=learnt.known,
        )

    def _step_data(self, role: Role) -> Dataset:
        """Return the data of the steps: some rows, where the teacher's passes over all are made before the steps."""
        return self._few if described_cache(self._config, self._description, role).train else self._data(role)

    @cached_property
    def _few(self) -> Dataset:
        return self._seen.with_training_examples(min(len(self._seen.train), SPEED_COUNT))

    def _learnt(self, role: Role) -> Learnt:
        source = self._flow(teacher_of(self._config, role) or "teacher")
        cache = described_cache(self._config, self._description, role)
        settings, data = self._config.distillation.pool, (self._data(role), self._step_data(role))
        precision = self._config.training.precision
        return measure_teacher(
            source, settings, *data, cache, precision=precision, timed=self._timed, between=self._check
        )

    def _picture(self, role: Role, flow: Flow) -> float:
        pairs = stage_pairs(self._description).get(role, [])
        config, seed = self._config.monitor, self._config.seeds.first
        monitor = Monitor("", seed, config, self._dataset, pairs, lambda _: None)
        return self._timed(lambda: monitor.publish(role, 1, flow, self._source(role)))

    def _nll(self, flow: Flow, count: int) -> float:
        """Return the seconds of the likelihood of some examples."""
        part = self._dataset.validation.take(slice(min(count, _EXAMPLES)))
        return self._timed(lambda: example_nll(flow, self._dataset, part)) * count / len(part)

    def _samples(self, flow: Flow, count: int) -> float:
        """Return the seconds of some samples."""
        if "synthesis" in flow.unsupported or not count:
            return 0.0
        size = min(count, _FEW_SAMPLES)
        few = self._timed(lambda: self._draw(flow, size))
        if few > _SHORT:
            return few * count / size
        size = min(count, SPEED_COUNT)
        return self._timed(lambda: self._draw(flow, size)) * count / size

    def _draw(self, flow: Flow, size: int) -> torch.Tensor:
        examples = self._dataset.batch(self._dataset.validation.some(size), torch.Generator().manual_seed(0))
        context = examples.to(self._device).contexts(size)
        return flow.sample(size, generator=torch.Generator().manual_seed(0), context=context).cpu()

    def _summary(self, role: Role, flow: Flow) -> float:
        """Return the seconds of a stage's figures and final pictures."""
        dataset, compared = self._dataset, len(self._reference.test)
        test, seen = len(dataset.test), min(len(dataset.test), len(self._data(role).train))
        teacher = self._source(role)
        seconds = self._nll(flow, test + len(dataset.validation) + seen) + self._picture(role, flow)
        seconds += self._samples(flow, 6 * SPEED_COUNT) + self._samples(flow, compared)
        return seconds + self._measures + (0.0 if teacher is None else self._samples(teacher, compared))

    def _time_measures(self) -> float:
        """Return the seconds of what is computed from the samples of each stage, whatever the flow is."""
        reference = self._reference
        count, values = len(reference.test), reference.test.x[0].numel()
        part = max(min(count, 200), min(count, _VALUES // values))
        real, seen = reference.test.x[:part], reference.train.x[:part]
        some = replace(reference, test=reference.test.take(slice(part)), train=reference.train.take(slice(part)))
        c2st(real[:8].numpy(), seen[:8].numpy())  # loads scikit-learn and SciPy, which is not timed
        began = time.perf_counter()
        c2st(real.numpy(), seen.numpy())
        some.measure(seen)
        bootstrap_half_width(np.random.default_rng(0).normal(size=len(self._dataset.test)))
        return (time.perf_counter() - began) * count / part

    def _check(self) -> None:
        if self._stopping():
            raise MeasurementStopped

    def _timed(self, function: Callable[[], Any]) -> float:
        """Return the seconds of a call; a short one is repeated, since the first is slower."""
        seconds = 0.0
        for _ in range(3):
            self._check()
            began = time.perf_counter()
            function()
            _synchronize(self._device)
            seconds = time.perf_counter() - began
            if seconds > _SHORT:
                break
        return seconds


def _checkpoint(state: StageState) -> float:
    with tempfile.TemporaryDirectory() as directory:
        began = time.perf_counter()
        save_checkpoint(Path(directory), state.checkpoint(seconds=0.0, done=[], threads=1))
        return time.perf_counter() - began


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
