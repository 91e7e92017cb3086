"""The state of a run, reduced from its events, for the engine's snapshots and for the studio's panels.

``RunView.from_snapshot(s)`` followed by ``apply`` of the later events equals a view that saw every event.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from nfkd.protocol.events import (
    CurvePoints,
    DensityDrawn,
    InterpolationDrawn,
    LogLine,
    MatchingMeasured,
    Picture,
    Progress,
    RunChanged,
    RunEvent,
    RunFailed,
    RunFinished,
    SamplesDrawn,
    SeedStarted,
    StageFinished,
    StageStarted,
)
from nfkd.protocol.records import CurveBatch, ErrorInfo, LayerPair, StagePlan, StageSummary, Verdict
from nfkd.protocol.requests import Snapshot, StageSnapshot
from nfkd.protocol.roles import ROLES, TEACHERS, USUAL, Role
from nfkd.protocol.run_rows import RunRow

_LOG_LINES = 2000
_Picture = TypeVar("_Picture", bound=Picture)


class GrowableArray:
    """An array that grows at its end, in amortised constant time."""

    def __init__(self, dtype: type[np.generic], row: tuple[int, ...] = ()) -> None:
        self._data = np.empty((64, *row), dtype)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def values(self) -> np.ndarray:
        """The content, without a copy; valid until the next `extend`."""
        return self._data[: self._size]

    def extend(self, values: np.ndarray) -> None:
        """Append rows.

        Raises
        ------
        ValueError
            When the rows have another shape.
        """
        needed = self._size + len(values)
        if needed > len(self._data):
            grown = np.empty((max(needed, 2 * len(self._data)), *self._data.shape[1:]), self._data.dtype)
            grown[: self._size] = self.values
            self._data = grown
        self._data[self._size : needed] = values
        self._size = needed

    def shorten(self, size: int) -> None:
        """Drop the rows from `size` on."""
        self._size = min(self._size, size)


class Curve:
    """The points of one curve."""

    def __init__(self) -> None:
        self._steps = GrowableArray(np.int64)
        self._values = GrowableArray(np.float64)
        self._times = GrowableArray(np.float64)

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def steps(self) -> np.ndarray:
        """(n,) int64."""
        return self._steps.values

    @property
    def values(self) -> np.ndarray:
        """(n,) float64."""
        return self._values.values

    @property
    def times(self) -> np.ndarray:
        """(n,) float64, seconds since the stage started."""
        return self._times.values

    def extend(self, batch: CurveBatch) -> None:
        """Append points."""
        self._steps.extend(batch.steps)
        self._values.extend(batch.values)
        self._times.extend(batch.times)

    def cut(self, step: int) -> None:
        """Drop the points after a step."""
        size = int(np.searchsorted(self.steps, step, side="right"))
        for column in (self._steps, self._values, self._times):
            column.shorten(size)

    def batch(self) -> CurveBatch:
        """Return a copy of all points."""
        return CurveBatch(steps=self.steps.copy(), values=self.values.copy(), times=self.times.copy())


def _valid_at(picture: _Picture | None, step: int) -> _Picture | None:
    """Return a picture if it stays valid when a stage resumes at a step; final pictures are drawn again."""
    return picture if picture is not None and not picture.final and picture.step <= step else None


@dataclass
class StageView:
    """The state of one stage of one seed."""

    curves: dict[str, Curve] = field(default_factory=dict[str, Curve])
    matching_steps: list[int] = field(default_factory=list[int])
    matching_errors: list[np.ndarray] = field(default_factory=list[np.ndarray])
    samples: SamplesDrawn | None = None
    interpolation: InterpolationDrawn | None = None
    density: DensityDrawn | None = None
    summary: StageSummary | None = None

    def cut(self, step: int) -> None:
        """Drop everything after a step: a resumed stage makes it again."""
        for curve in self.curves.values():
            curve.cut(step)
        size = int(np.searchsorted(self.matching_steps, step, side="right"))
        del self.matching_steps[size:], self.matching_errors[size:]
        self.samples = _valid_at(self.samples, step)
        self.interpolation = _valid_at(self.interpolation, step)
        self.density = _valid_at(self.density, step)
        self.summary = None


class RunView:
    """The state of a run.

    Attributes
    ----------
    row
        Its row in the table of runs.
    config
        The experiment as TOML text.
    seeds
        The start event of each started seed.
    stages
        The stages by (seed, stage), in the order of their starts.
    current
        The (seed, stage) in training or last in training; None before the first.
    stride
        Of the longest curves, the snapshot had one of so many points; 1 for all.
    """

    def __init__(self, row: RunRow, config: str) -> None:
        self.row = row
        self.config = config
        self.seeds: dict[int, SeedStarted] = {}
        self.stages: dict[tuple[int, Role], StageView] = {}
        self.log: deque[LogLine] = deque(maxlen=_LOG_LINES)
        self.progress: Progress | None = None
        self.verdict: Verdict | None = None
        self.error: ErrorInfo | None = None
        self.current: tuple[int, Role] | None = None
        self.stride = 1

    def plan(self, seed: int, stage: Role) -> StagePlan | None:
        """Return the plan of a stage, or None before its seed has started."""
        started = self.seeds.get(seed)
        return next((plan for plan in started.stages if plan.stage == stage), None) if started else None

    def roles(self) -> list[Role]:
        """Return the run's flows in order; `USUAL` before the first seed has started."""
        planned = {plan.stage for started in self.seeds.values() for plan in started.stages}
        return [role for role in ROLES if role in (planned or USUAL)]

    def find_stage(self, seed: int, stage: Role) -> StageView | None:
        """Return a stage of a seed; a teacher or assistant that the seed has not trained is the first seed's."""
        found = self.stages.get((seed, stage))
        if found is None and stage in TEACHERS:
            found = self.stages.get((min(self.seeds, default=1), stage))
        return found

    def pairs(self, seed: int, stage: Role = "student") -> list[LayerPair]:
        """Return a flow's matched layers."""
        plan = self.plan(seed, stage)
        return plan.pairs if plan else []

    def find_pairs(self, seed: int, stage: Role) -> list[LayerPair]:
        """Return a flow's matched layers in a seed or, before that has started, in the first seed."""
        return self.pairs(seed, stage) or self.pairs(min(self.seeds, default=1), stage)

    def summaries(self) -> list[StageSummary]:
        """Return the summaries of all finished stages."""
        return [view.summary for view in self.stages.values() if view.summary is not None]

    def apply(self, event: RunEvent) -> None:  # noqa: C901, PLR0912 - one closed union, one match
        """Update the state by one event."""
        match event:
            case RunChanged():
                self.row = event.row
            case SeedStarted():
                self.seeds[event.seed] = event
                self.error = self.verdict = None  # of the run before it was resumed
            case StageStarted():
                self._start_stage(event)
            case CurvePoints():
                curves = self._stage(event.seed, event.stage).curves
                for name, batch in event.curves.items():
                    curves.setdefault(name, Curve()).extend(batch)
            case Progress():
                self.progress = event
            case SamplesDrawn():
                self._stage(event.seed, event.stage).samples = event
            case InterpolationDrawn():
                self._stage(event.seed, event.stage).interpolation = event
            case DensityDrawn():
                self._stage(event.seed, event.stage).density = event
            case MatchingMeasured():
                view = self._stage(event.seed, event.stage)
                view.matching_steps.append(event.step)
                view.matching_errors.append(event.error)
            case StageFinished():
                self._stage(event.seed, event.stage).summary = event.summary
            case LogLine():
                self.log.append(event)
            case RunFinished():
                self.verdict = event.verdict
            case RunFailed():
                self.error = event.error
            case _:
                pass

    def _start_stage(self, event: StageStarted) -> None:
        self.current = (event.seed, event.stage)
        self._stage(event.seed, event.stage).cut(event.step)
        started = list(self.stages)
        for key in started[started.index(self.current) + 1 :]:
            if key[0] == event.seed:  # a resume from an earlier stage's checkpoint makes the later stages again
                del self.stages[key]

    def _stage(self, seed: int, stage: Role) -> StageView:
        return self.stages.setdefault((seed, stage), StageView())

    def snapshot(self, *, figures_only: bool = False) -> Snapshot:
        """Return a copy of the state, for the wire; `figures_only` leaves curves and pictures out."""
        stages = self.stages
        if figures_only:
            stages = {key: StageView(summary=stage.summary) for key, stage in stages.items()}
        return Snapshot(
            row=self.row,
            config=self.config,
            seeds=list(self.seeds.values()),
            stages=[_stage_snapshot(seed, stage, view) for (seed, stage), view in stages.items()],
            log=list(self.log),
            progress=self.progress,
            verdict=self.verdict,
            error=self.error,
            current=self.current,
            stride=self.stride,
        )

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot) -> RunView:
        """Return the state that a snapshot holds."""
        view = cls(snapshot.row, snapshot.config)
        view.seeds = {started.seed: started for started in snapshot.seeds}
        for stage in snapshot.stages:
            view.stages[stage.seed, stage.stage] = _stage_view(stage)
            view.current = (stage.seed, stage.stage)
        view.current = snapshot.current or view.current
        view.log.extend(snapshot.log)
        view.progress = snapshot.progress
        view.verdict = snapshot.verdict
        view.error = snapshot.error
        view.stride = snapshot.stride
        return view


def _stage_snapshot(seed: int, stage: Role, view: StageView) -> StageSnapshot:
    errors = view.matching_errors
    return StageSnapshot(
        seed=seed,
        stage=stage,
        curves={name: curve.batch() for name, curve in view.curves.items()},
        matching_steps=np.array(view.matching_steps, np.int64),
        matching_errors=np.stack(errors) if errors else np.empty((0, 0)),
        samples=view.samples,
        interpolation=view.interpolation,
        density=view.density,
        summary=view.summary,
    )


def _stage_view(snapshot: StageSnapshot) -> StageView:
    view = StageView(
        matching_steps=[int(step) for step in snapshot.matching_steps],
        matching_errors=list(snapshot.matching_errors),
        samples=snapshot.samples,
        interpolation=snapshot.interpolation,
        density=snapshot.density,
        summary=snapshot.summary,
    )
    for name, batch in snapshot.curves.items():
        if len(batch.steps):  # as from events
            view.curves.setdefault(name, Curve()).extend(batch)
    return view
