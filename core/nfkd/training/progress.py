"""The progress of a run and its remaining time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from nfkd.protocol.events import Progress
from nfkd.protocol.roles import STUDENTS, Role
from nfkd.protocol.times import StageShare, StageTime
from nfkd.training.countdown import Countdown
from nfkd.training.stage_clock import StageClock

_INTERVAL = 0.1
_OVERRUN = 0.1
"""A part of a stage that takes longer than expected is expected to take this part of its time so far in addition."""
SEARCH: Literal["search"] = "search"
"""Stands for the trials of `baseline_search`, which precede the stages."""
Stage = Role | Literal["search"]
Phase = Literal["pool", "steps", "summary"]


class SeedStage(NamedTuple):
    """A stage of a seed, or the search."""

    seed: int
    stage: Stage


class RunProgress:
    """Turns steps into progress events, about ten a second.

    Parameters
    ----------
    run
        For the events.
    stages
        Every (seed, stage) of the run in order; `SEARCH` first, if there is a search.
    times
        The expected time of each stage.
    emit
        Receives the events.
    measured
        Whether the expected times were measured; otherwise only their ratios count.
    paused_seconds
        Returns the total time of all pauses, which is not counted.
    clock
        Returns seconds.
    """

    def __init__(
        self,
        run: str,
        stages: Sequence[tuple[int, Stage]],
        times: Mapping[Stage, StageTime],
        emit: Callable[[Progress], None],
        *,
        measured: bool = False,
        paused_seconds: Callable[[], float] = lambda: 0.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._run, self._times, self._emit = run, times, emit
        self._stages = [SeedStage(*stage) for stage in stages]
        self._paused_seconds, self._perf_counter = paused_seconds, clock
        self._clock = StageClock({str(stage): expected for stage, expected in times.items()}, measured=measured)
        self._countdown = Countdown()
        self._took: dict[SeedStage, float] = {}
        self._limits: dict[int, int] = {}
        self._current, self._phase, self._step = self._stages[0], "pool", 0
        self._before = self._phase_began = self._last_step = self._now()
        self._rate_from = (0, self._before)
        self._due = 0.0
        self.fraction = 0.0

    def _now(self) -> float:
        return self._perf_counter() - self._paused_seconds()

    def begin(self, seed: int, stage: Stage, step: int = 0) -> None:
        """Record that a stage begins, or resumes after a step."""
        self._current, self._step, self._phase = SeedStage(seed, stage), step, "pool"
        now = self._phase_began = self._last_step = self._now()
        self._before = now - step * self._clock.step(stage)
        self._rate_from = (step, now)
        self._publish(now, math.nan)

    def wait(self) -> None:
        """Emit an event if one is due, during long work without steps."""
        now = self._now()
        if now >= self._due:
            self._publish(now, math.nan)

    def step(self, seed: int, stage: Stage, step: int) -> None:
        """Record a step; emit an event if one is due."""
        if self._current != (seed, stage):
            self.begin(seed, stage, step - 1)
        now = self._now()
        if self._phase == "pool":
            if self._step == 0:
                self._clock.add_pool(stage, now - self._phase_began)
            self._phase, self._phase_began = "steps", now
        elif step == self._step + 1:
            self._clock.add_step(stage, now - self._last_step)
        self._step, self._last_step = step, now
        if now >= self._due or step >= self._times[stage].steps:
            from_step, from_time = self._rate_from
            self._rate_from = (step, now)
            rate = (step - from_step) / (now - from_time) if now > from_time and step > from_step else math.nan
            self._publish(now, rate)

    def trained(self) -> None:
        """Record that the current stage makes no more steps."""
        seed, stage = self._current
        if stage == "student" and self._step < self._times[stage].steps:
            self._limits[seed] = self._step  # baseline and ablation make as many
        self._phase, self._phase_began = "summary", self._now()

    def finish(self) -> None:
        """Record that the current stage has ended."""
        now = self._now()
        if self._phase == "summary":
            self._clock.add_summary(self._current.stage, now - self._phase_began)
        self._took[self._current] = now - self._before
        if self._current == self._stages[-1]:
            self.fraction = 1.0
            self._send(math.nan, 0.0)

    def _publish(self, now: float, rate: float) -> None:
        self._due = now + _INTERVAL
        done = sum(self._seconds(stage) for stage in self._earlier()) + now - self._before
        left = self._left(now) + sum(self._seconds(stage) for stage in self._later())
        self.fraction = max(self.fraction, done / (done + left) if left else 1.0)
        self._send(rate, self._countdown.update(now, left if self._clock.known else math.nan))

    def _send(self, rate: float, seconds_left: float) -> None:
        seed, stage = self._current
        event = Progress(
            run=self._run,
            seed=seed,
            stage=_role(stage),
            search=stage == SEARCH,
            step=self._step,
            steps=self._times[stage].steps,
            steps_per_second=rate,
            seconds_left=seconds_left,
            fraction=self.fraction,
            shares=self._shares(),
        )
        self._emit(event)

    def _shares(self) -> list[StageShare]:
        """Return the expected part of the run's time of every stage."""
        now = self._now()
        seconds = [
            now - self._before + self._left(now)
            if stage == self._current and stage not in self._took
            else self._seconds(stage)
            for stage in self._stages
        ]
        total = sum(seconds) or 1.0
        return [
            StageShare(seed=seed, stage=_role(stage), share=value / total, search=stage == SEARCH)
            for (seed, stage), value in zip(self._stages, seconds, strict=True)
        ]

    def _earlier(self) -> list[SeedStage]:
        return self._stages[: self._stages.index(self._current)]

    def _later(self) -> list[SeedStage]:
        return self._stages[self._stages.index(self._current) + 1 :]

    def _seconds(self, stage: SeedStage) -> float:
        """Return the real time of a stage that has ended in this process, else the expected time."""
        if stage in self._took:
            return self._took[stage]
        clock, name = self._clock, stage.stage
        return clock.pool(name) + self._steps(stage) * clock.step(name) + clock.summary(name)

    def _left(self, now: float) -> float:
        """Return the expected rest of the current stage."""
        name, clock = self._current.stage, self._clock
        summary, passed = clock.summary(name), now - self._phase_began
        if self._phase == "summary":
            return _rest(summary, passed)
        steps = max(0, self._steps(self._current) - self._step) * clock.step(name) + summary
        return steps if self._phase == "steps" else steps + _rest(clock.pool(name), passed)

    def _steps(self, stage: SeedStage) -> int:
        budget = self._times[stage.stage].steps
        return min(budget, self._limits.get(stage.seed, budget)) if stage.stage in STUDENTS else budget


def _rest(expected: float, passed: float) -> float:
    return max(expected - passed, _OVERRUN * passed)


def _role(stage: Stage) -> Role:
    return "baseline" if stage == "search" else stage
