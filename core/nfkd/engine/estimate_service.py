"""Estimates the time of experiments in a thread, one at a time, and keeps what was measured."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from threading import Event
from typing import Any

import msgspec

from nfkd.config import TERMS, ExperimentConfig
from nfkd.config.paths import config_paths
from nfkd.engine.file_probe import format_paths
from nfkd.engine.limits import Limits
from nfkd.engine.threads import RequestThreads
from nfkd.planning.times import first_shares, time_estimate
from nfkd.protocol.times import TimeEstimate
from nfkd.runs.errors import RunError
from nfkd.sweeps.estimate import SweepEstimate, estimate_sweep
from nfkd.sweeps.sweep import Sweep
from nfkd.training.measure_times import MeasuredTimes, MeasurementStopped, measure_times

_KEPT = 32
_TITLE, _NEWER = "The time was not estimated", "A newer request asked for another experiment."
_IGNORED = {
    "training": [
        *("teacher_steps", "assistant_steps", "student_steps", "early_stop", "checkpoint_every"),
        *("learning_rate", "teacher_learning_rate", "schedule", "warmup_steps", "weight_decay", "gradient_clip"),
        *("baseline", "ablations", "baseline_search"),
    ],
    "monitor": ["evaluate_every", "pictures_every", "temperature"],
    "distillation": ["normalize_weights"],
}
"""Fields that the times of the parts do not depend on: they change how many parts a run has, or values of weights."""
_SCHEDULE = ("schedule", "schedule_end", "schedule_span")


def cache_key(config: ExperimentConfig) -> str:
    """Return the part of an experiment that the times of its parts depend on."""
    fields: dict[str, Any] = config.model_dump(mode="json", exclude={"name", "description", "seeds"})
    for section, names in _IGNORED.items():
        for name in names:
            del fields[section][name]
    for term in TERMS:  # a term costs the same whatever its weight is, except zero
        table = fields["distillation"][term]
        table["weight"] = table["weight"] > 0
        for name in _SCHEDULE:
            del table[name]
    return json.dumps(fields, sort_keys=True)


class _Measuring:
    """A measurement in its thread."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.stopped = Event()
        self.reason = ""

    def stop(self, reason: str) -> None:
        self.reason = reason
        self.stopped.set()


class EstimateService:
    """Answers requests for the time of an experiment; belongs to the running loop.

    Parameters
    ----------
    limits
        How long requests may wait for files.
    training
        Whether a run is active or queued: then nothing is measured, since it would slow the run down.
    """

    def __init__(self, limits: Limits, training: Callable[[], bool]) -> None:
        self._limits, self._training = limits, training
        self._threads = RequestThreads("estimate", 1, limits)
        self._known: OrderedDict[str, MeasuredTimes] = OrderedDict()
        self._arrived = self._newest = 0
        self._current: tuple[_Measuring, asyncio.Task[MeasuredTimes]] | None = None
        self._sweep = _Measuring("")

    @property
    def running(self) -> list[str]:
        """The files that running threads use."""
        return self._threads.running

    async def close(self) -> None:
        """Stop the measurement, and wait a limited time for its thread."""
        self.stop("The engine is ending.")
        await self._threads.close(self._limits.close_seconds)

    def stop(self, reason: str) -> None:
        """Stop the measurement in progress, if there is one; its request is refused with the reason."""
        self._sweep.stop(reason)
        if self._current is not None:
            self._current[0].stop(reason)

    def known(self, config: ExperimentConfig) -> MeasuredTimes | None:
        """Return the times of an experiment if they were measured before."""
        return self._known.get(cache_key(config))

    def arrive(self) -> int:
        """Return the number of a new request."""
        self._arrived += 1
        return self._arrived

    async def estimate(self, config: ExperimentConfig, number: int) -> TimeEstimate:
        """Return the expected time of an experiment that has no problems.

        Parameters
        ----------
        config
            The experiment.
        number
            From `arrive`: a request with a higher number for another experiment stops this one.

        Raises
        ------
        RunError
            When a run is training and the times are not known, or the measurement was stopped.
        ConfigError
            With the problems of the experiment.
        """
        known = self.known(config)
        measured = known or await self._measure(config, number)
        shares = first_shares(config, measured.norms)
        estimate = time_estimate(config, measured.units, measured.preparation, measured.guessed, shares)
        return msgspec.structs.replace(estimate, cached=known is not None)

    async def estimate_sweep(self, sweep: Sweep) -> SweepEstimate:
        """Return what a sweep will take; its time is NaN if a run is training, or starts meanwhile."""
        self.stop(_NEWER)
        measuring = _Measuring("")
        if self._training():
            measuring.stop("A run is training.")
        self._sweep = measuring
        about, limit = str(sweep.directory), self._limits.work_seconds
        return await self._threads.run(
            lambda: estimate_sweep(sweep, stopping=measuring.stopped.is_set), about=about, limit=limit
        )

    async def _measure(self, config: ExperimentConfig, number: int) -> MeasuredTimes:
        if self._training():
            cause = "A run is training, and a measurement would slow it down."
            raise RunError(_TITLE, cause, "Ask again when the run has ended.")
        key = cache_key(config)
        if self._current is None or self._current[0].key != key or self._current[0].stopped.is_set():
            if number < self._newest:  # its check took longer than that of the newer request
                raise RunError(_TITLE, _NEWER, "Ask again.")
            self.stop(_NEWER)
            measuring = _Measuring(key)
            task = asyncio.create_task(self._in_thread(config, measuring))
            task.add_done_callback(_retrieve)  # the client may have left
            self._current = measuring, task
        self._newest = max(self._newest, number)
        return await asyncio.shield(self._current[1])

    async def _in_thread(self, config: ExperimentConfig, measuring: _Measuring) -> MeasuredTimes:
        about = format_paths(config_paths(config))
        stopping = measuring.stopped.is_set
        try:
            measured = await self._threads.run(
                measure_times, config, stopping, about=about, limit=self._limits.work_seconds
            )
        except MeasurementStopped as error:
            raise RunError(_TITLE, measuring.reason, "Ask again.") from error
        finally:
            if self._current is not None and self._current[0] is measuring:
                self._current = None
        self._known[measuring.key] = measured
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return measured


def _retrieve(task: asyncio.Task[MeasuredTimes]) -> None:
    """Retrieve the error of a task whose client has left."""
    with suppress(asyncio.CancelledError):
        task.exception()
