"""A run as its events tell it: one reducer for the engine's snapshots and for the panels.

Snapshot, then deltas: ``RunView.from_snapshot(s)`` followed by ``apply`` of the later events equals a view that saw
every event.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from nfkd.protocol.events import (
    CurveBatch,
    CurvePoints,
    DensityDrawn,
    ErrorInfo,
    InterpolationDrawn,
    LayerPair,
    LogLine,
    MatchingMeasured,
    Picture,
    Progress,
    RunChanged,
    RunEvent,
    RunFailed,
    RunFinished,
    RunRow,
    SamplesDrawn,
    SeedStarted,
    StageFinished,
    StagePlan,
    StageStarted,
    StageSummary,
    Verdict,
)
from nfkd.protocol.requests import Snapshot, StageSnapshot
from nfkd.protocol.roles import ROLES, USUAL, Role

_LOG_LINES = 2000


class GrowableArray:
    """An array that grows at its end, in amortised constant time."""

    def __init__(self, dtype: type[np.generic], row: tuple[int, ...] = ()) -> None:
        self._data = np.empty((64, *row), dtype)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def values(self) -> np.ndarray:
        """What is in it, without a copy; valid until the next `extend`."""
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
        """Forget the rows from `size` on."""
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
        """(n,) float64, seconds since the stage began."""
        return self._times.values

    def extend(self, batch: CurveBatch) -> None:
        """Append points."""
        self._steps.extend(batch.steps)
        self._values.extend(batch.values)
        self._times.extend(batch.times)

    def cut(self, step: int) -> None:
        """Forget the points after a step."""
        size = int(np.searchsorted(self.steps, step, side="right"))
        for part in (self._steps, self._values, self._times):
            part.shorten(size)

    def batch(self) -> CurveBatch:
        """Return a copy of all points."""
        return CurveBatch(steps=self.steps.copy(), values=self.values.copy(), times=self.times.copy())


def _kept(picture: Picture | None, step: int) -> bool:
    """Return whether a picture stays when a stage resumes after a step; a final one is drawn again."""
    return picture is not None and not picture.final and picture.step <= step


@dataclass
class StageView:
    """One stage of one seed."""

    curves: dict[str, Curve] = field(default_factory=dict[str, Curve])
    matching_steps: list[int] = field(default_factory=list[int])
    matching_errors: list[np.ndarray] = field(default_factory=list[np.ndarray])
    samples: SamplesDrawn | None = None
    interpolation: InterpolationDrawn | None = None
    density: DensityDrawn | None = None
    summary: StageSummary | None = None

    def cut(self, step: int) -> None:
        """Forget what came after a step: a resumed stage makes it again."""
        for curve in self.curves.values():
            curve.cut(step)
        size = int(np.searchsorted(self.matching_steps, step, side="right"))
        del self.matching_steps[size:], self.matching_errors[size:]
        self.samples = self.samples if _kept(self.samples, step) else None
        self.interpolation = self.interpolation if _kept(self.interpolation, step) else None
        self.density = self.density if _kept(self.density, step) else None
        self.summary = None


class RunView:
    """All that is known of a run.

    Attributes
    ----------
    row
        Its row in the table of runs.
    config
        The experiment as TOML text.
    seeds
        What each begun seed records, by seed.
    stages
        By (seed, stage), in the order in which they began.
    current
        The (seed, stage) that trains or trained last; None before the first.
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

    def plan(self, seed: int, stage: Role) -> StagePlan | None:
        """Return the plan of a stage, or None when its seed has not begun."""
        started = self.seeds.get(seed)
        return next((plan for plan in started.stages if plan.stage == stage), None) if started else None

    def roles(self) -> list[Role]:
        """Return the flows that the run has, in order; the usual ones while no seed has begun."""
        planned = {plan.stage for started in self.seeds.values() for plan in started.stages}
        return [role for role in ROLES if role in (planned or USUAL)]

    def pairs(self, seed: int, stage: Role = "student") -> list[LayerPair]:
        """Return the matched layers of a flow and the one it learns from."""
        plan = self.plan(seed, stage)
        return plan.pairs if plan else []

    def summaries(self) -> list[StageSummary]:
        """Return the figures of every stage that has ended."""
        return [view.summary for view in self.stages.values() if view.summary is not None]

    def apply(self, event: RunEvent) -> None:  # noqa: C901, PLR0912 - one closed union, one match
        """Take one event in."""
        match event:
            case RunChanged():
                self.row = event.row
            case SeedStarted():
                self.seeds[event.seed] = event
                self.error = self.verdict = None  # a resumed run has not ended
            case StageStarted():
                self._begin(event)
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

    def _begin(self, event: StageStarted) -> None:
        self.current = (event.seed, event.stage)
        self._stage(event.seed, event.stage).cut(event.step)
        begun = list(self.stages)
        for key in begun[begun.index(self.current) + 1 :]:
            if key[0] == event.seed:  # a resume from an earlier stage's checkpoint makes the later ones again
                del self.stages[key]

    def _stage(self, seed: int, stage: Role) -> StageView:
        return self.stages.setdefault((seed, stage), StageView())

    def snapshot(self) -> Snapshot:
        """Return everything, copied, for the wire."""
        return Snapshot(
            row=self.row,
            config=self.config,
            seeds=list(self.seeds.values()),
            stages=[_stage_snapshot(seed, stage, view) for (seed, stage), view in self.stages.items()],
            log=list(self.log),
            progress=self.progress,
            verdict=self.verdict,
            error=self.error,
            current=self.current,
        )

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot) -> RunView:
        """Return the view that a snapshot was made of."""
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
        view.curves.setdefault(name, Curve()).extend(batch)
    return view
