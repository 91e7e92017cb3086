"""Progress bars of a run in the terminal, one for each stage, from the events of the run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from nfkd.protocol import events
from nfkd.protocol.requests import Snapshot
from nfkd.protocol.roles import role_name
from nfkd.terminal import terminal
from nfkd.text import format_number, format_span


@contextmanager
def run_bars() -> Iterator[StageBars]:
    """Show progress bars on standard error."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figure]}", markup=False),
        TextColumn("{task.fields[left]}", markup=False),
    )
    with Progress(*columns, console=terminal(stderr=True)) as bars:
        yield StageBars(bars)


class StageBars:
    """A progress bar for each stage. Without a terminal rich prints the bars once, at the end.

    Events of stages that the run has not announced, such as those of a damaged run, have no bar.
    """

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[tuple[int, str], TaskID] = {}
        self._plans: dict[tuple[int, str], events.StagePlan] = {}
        self._logged = 0.0

    def restore(self, snapshot: Snapshot) -> None:
        """Show the state of a run, after a cut connection for example; its log lines are printed once."""
        for seed in snapshot.seeds:
            self.handle(seed)
        run = snapshot.row.run
        for stage in snapshot.stages:
            step = 0 if stage.summary is None else stage.summary.steps
            self.handle(events.StageStarted(run=run, seed=stage.seed, stage=stage.stage, step=step))
        if snapshot.progress is not None:
            self.handle(snapshot.progress)
        for line in snapshot.log:
            if line.time > self._logged:
                self.handle(line)

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        self._bars.console.print(text, highlight=False, soft_wrap=True)

    def handle(self, event: events.RunEvent) -> None:
        """Show an event."""
        match event:
            case events.SeedStarted():
                for task in self._tasks.values():
                    self._bars.update(task, left="")
                self._plans |= {(event.seed, plan.stage): plan for plan in event.stages}
            case events.StageStarted():
                self._start_stage(event)
            case events.CurvePoints() if len(values := _validation(event)):
                self._update((event.seed, event.stage), figure=f"validation {format_number(values[-1])}")
            case events.Progress():
                key = event.seed, "search" if event.search else event.stage
                if event.search and key not in self._tasks:
                    label = "search for the weight decay"
                    self._tasks[key] = self._bars.add_task(label, total=event.steps, figure="", left="")
                self._update(key, completed=event.step, left=_duration(event.seconds_left))
            case events.StageFinished():
                self._update((event.seed, event.stage), left="")
            case events.LogLine():
                self._logged = max(self._logged, event.time)
                self.note(event.text)
            case _:
                pass

    def _update(self, key: tuple[int, str], **fields: Any) -> None:
        if key in self._tasks:
            self._bars.update(self._tasks[key], **fields)

    def _start_stage(self, event: events.StageStarted) -> None:
        key = event.seed, event.stage
        if key in self._tasks or key not in self._plans:
            self._update(key, completed=event.step)
            return
        longest = max(len(stage) for _, stage in self._plans)
        label = f"seed {event.seed} {role_name(event.stage):{longest}}"
        steps = self._plans[key].steps
        self._tasks[key] = self._bars.add_task(label, total=steps, completed=event.step, figure="", left="")


def _validation(event: events.CurvePoints) -> np.ndarray | Sequence[float]:
    points = event.curves.get("validation/nll")
    return () if points is None else points.values


def _duration(seconds: float) -> str:
    return "" if math.isnan(seconds) else f"{format_span(seconds)} left"
