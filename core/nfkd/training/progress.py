"""The progress of a run and its remaining time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from nfkd.protocol.events import Progress
from nfkd.protocol.roles import Role

_INTERVAL = 0.1
_SMOOTHING = 0.1
SEARCH: Literal["search"] = "search"
"""Stands for the trials of `baseline_search`, which precede the stages."""
Stage = Role | Literal["search"]


class RunProgress:
    """Turns steps into progress events, about ten a second.

    Parameters
    ----------
    run
        For the events.
    stages
        Every (seed, stage) of the run in order; `SEARCH` first, if there is a search.
    steps
        The budget of each stage.
    cost
        The relative cost of a step of each stage.
    emit
        Receives the events.
    paused_seconds
        Returns the total time of all pauses, which is not counted.
    """

    def __init__(
        self,
        run: str,
        stages: Sequence[tuple[int, Stage]],
        steps: Mapping[Stage, int],
        cost: Mapping[Stage, float],
        emit: Callable[[Progress], None],
        paused_seconds: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._run, self._stages, self._steps, self._cost, self._emit = run, list(stages), steps, cost, emit
        self._paused_seconds = paused_seconds
        self._seconds_per_cost = math.nan
        self._last: tuple[tuple[int, Stage], int, float] | None = None
        self._due = 0.0
        self.fraction = 0.0

    def step(self, seed: int, stage: Stage, step: int) -> None:
        """Record a step; emit an event if one is due."""
        now = time.perf_counter() - self._paused_seconds()
        if now < self._due and step < self._steps[stage]:
            return
        self._due = now + _INTERVAL
        rate = self._measure((seed, stage), step, now)
        left = self._cost_left((seed, stage), step)
        total = sum(self._steps[role] * self._cost[role] for _, role in self._stages)
        self.fraction = 1 - left / total
        self._emit(
            Progress(
                run=self._run,
                seed=seed,
                stage="baseline" if stage == SEARCH else stage,
                search=stage == SEARCH,
                step=step,
                steps=self._steps[stage],
                steps_per_second=rate,
                seconds_left=left * self._seconds_per_cost if left else 0.0,
                fraction=self.fraction,
            )
        )

    def _measure(self, current: tuple[int, Stage], step: int, now: float) -> float:
        last, self._last = self._last, (current, step, now)
        if last is None or last[0] != current or step <= last[1]:
            return math.nan
        seconds = (now - last[2]) / (step - last[1])
        per_cost = seconds / self._cost[current[1]]
        if math.isnan(self._seconds_per_cost):
            self._seconds_per_cost = per_cost
        self._seconds_per_cost += _SMOOTHING * (per_cost - self._seconds_per_cost)
        return 1 / seconds

    def _cost_left(self, current: tuple[int, Stage], step: int) -> float:
        later = self._stages[self._stages.index(current) + 1 :]
        rest = (self._steps[current[1]] - step) * self._cost[current[1]]
        return rest + sum(self._steps[role] * self._cost[role] for _, role in later)
