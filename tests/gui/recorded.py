"""Recorded runs (``tests/data``), whose events are sent again in the order of the run."""

from __future__ import annotations

import zipfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from nfkd.protocol import events
from nfkd.protocol.requests import Snapshot, StageSnapshot
from nfkd.protocol.view import RunView
from nfkd.runs.pictures import list_pictures, read_pictures
from nfkd.runs.reader import open_run

DATA = Path(__file__).parents[1] / "data"
NAMES = ("digits", "pinwheel")
"""Three seeds of digits, and one of pinwheel."""


class RecordedRun:
    """A run that is played again; its events are applied to a view and a panel.

    Attributes
    ----------
    view
        The state of the run after the events so far.
    panel
        Gets every event after the view.
    """

    def __init__(self, snapshot: Snapshot, recorded: list[events.RunEvent]) -> None:
        self.view = RunView(msgspec.structs.replace(snapshot.row, state="running", progress=0.0), snapshot.config)
        self.panel: Any = None
        self._left = deque(recorded)

    def add(self, event: events.RunEvent) -> None:
        self.view.apply(event)
        if self.panel is not None:
            self.panel.on_event(event)

    def play(self, last: Callable[[events.RunEvent], bool] = lambda _event: False) -> None:
        """Send events up to one that fulfils a condition, by default all."""
        while self._left:
            event = self._left.popleft()
            self.add(event)
            if last(event):
                return


def unpack(folder: Path) -> None:
    """Put the recorded runs into a folder."""
    for name in NAMES:
        with zipfile.ZipFile(DATA / f"{name}.zip") as archive:
            archive.extractall(folder)


def recording(run: Path) -> tuple[Snapshot, list[events.RunEvent]]:
    """Return the last state of a run, and its events in their order."""
    snapshot = open_run(run).snapshot()
    found: list[events.RunEvent] = []
    for started in snapshot.seeds:
        found.append(started)
        for stage in snapshot.stages:
            if stage.seed == started.seed:
                found += _stage_events(run, stage)
    ended = events.RunFinished(run=str(run), state="finished", verdict=snapshot.verdict)
    return snapshot, [*found, *snapshot.log, events.RunChanged(run=str(run), row=snapshot.row), ended]


def _stage_events(run: Path, stage: StageSnapshot) -> Iterator[events.RunEvent]:
    where: dict[str, Any] = {"run": str(run), "seed": stage.seed, "stage": stage.stage}
    yield events.StageStarted(**where)
    stored = next(each for each in list_pictures(run, stage.seed).stages if each.stage == stage.stage)
    last = max(int(batch.steps[-1]) for batch in stage.curves.values() if len(batch.steps))
    before = 0
    for step in sorted({*stored.steps, last}):
        yield events.CurvePoints(**where, curves={n: _between(b, before, step) for n, b in stage.curves.items()})
        if step in stored.steps:
            pictures = read_pictures(run, stage.seed, stage.stage, step)
            yield from (each for each in (pictures.samples, pictures.interpolation, pictures.density) if each)
        for index in np.flatnonzero(stage.matching_steps == step):
            yield events.MatchingMeasured(**where, step=step, error=stage.matching_errors[index])
        before = step
    yield from (each for each in (stage.samples, stage.interpolation, stage.density) if each)
    assert stage.summary is not None
    yield events.StageFinished(**where, summary=stage.summary)


def _between(batch: events.CurveBatch, before: int, step: int) -> events.CurveBatch:
    """Return the points after a step and not after another."""
    rows = (batch.steps > before) & (batch.steps <= step)
    return events.CurveBatch(steps=batch.steps[rows], values=batch.values[rows], times=batch.times[rows])
