"""Reading a run: its config, curves, pictures, figures and weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec
import numpy as np

from nfkd.config import ExperimentConfig
from nfkd.files import is_taken
from nfkd.protocol.events import (
    CurveBatch,
    DensityDrawn,
    ErrorInfo,
    InterpolationDrawn,
    RunRow,
    SamplesDrawn,
    SeedStarted,
    StageSummary,
    Verdict,
)
from nfkd.protocol.requests import Snapshot, StageSnapshot
from nfkd.protocol.roles import ASSISTANTS, Role
from nfkd.runs import schema
from nfkd.runs.errors import RunError
from nfkd.runs.groups import read_verdict
from nfkd.runs.layout import RUN_FILE, read_config, read_log, read_state, seed_directory
from nfkd.runs.opening import open_file
from nfkd.runs.schema import Node

if TYPE_CHECKING:
    from nfkd.runs.data_space import DataSpaceFlow


_P = TypeVar("_P", SamplesDrawn, InterpolationDrawn, DensityDrawn)


class CurveData(NamedTuple):
    """A curve: three arrays of the same length; times in seconds since the stage began."""

    steps: np.ndarray
    values: np.ndarray
    times: np.ndarray


class SeedRecord:
    """One seed of a run.

    Attributes
    ----------
    started
        What the seed set out to record.
    stages
        What it has recorded, by stage.
    """

    def __init__(self, run: Path, directory: Path) -> None:
        self._run = str(run)
        with open_file(directory / RUN_FILE) as file:
            self.started: SeedStarted = schema.read_started(file)
            self.stages: dict[Role, StageSnapshot] = {
                plan.stage: self._stage(file, plan.stage) for plan in self.started.stages
            }

    def _stage(self, file: Node, stage: Role) -> StageSnapshot:
        seed, group = self.started.seed, file[stage]
        plan = next(plan for plan in self.started.stages if plan.stage == stage)
        unit = next((info.unit for info in plan.curves if info.name == "validation/nll"), "")
        steps, errors = _matching(group)
        return StageSnapshot(
            seed=seed,
            stage=stage,
            curves={info.name: _curve(group["curves"][info.name]) for info in plan.curves},
            matching_steps=steps,
            matching_errors=errors,
            samples=self._newest(group, "samples", self._samples),
            interpolation=self._newest(group, "interpolation", self._interpolation),
            density=self._newest(group, "density", self._density),
            summary=schema.read_summary(file, stage, seed, unit),
        )

    def _newest(self, stage: Node, name: str, read: Callable[..., _P]) -> _P | None:
        """Return a stage's final picture of a kind, else the last of its series, else None."""
        for path, final in ((f"{schema.FINAL}/{name}", True), (name, False)):
            group = stage.get(path)
            if group is not None and (rows := schema.whole_rows(group)):
                about = {"run": self._run, "seed": self.started.seed, "stage": stage.name.strip("/"), "final": final}
                return read(group, rows, step=int(group["step"][rows - 1]), **about)
        return None

    @staticmethod
    def _samples(group: Node, rows: int, **about: Any) -> SamplesDrawn:
        return SamplesDrawn(
            **about,
            temperature=float(group["temperature"][rows - 1]),
            samples=group["images"][rows - 1],
        )

    @staticmethod
    def _interpolation(group: Node, rows: int, **about: Any) -> InterpolationDrawn:
        return InterpolationDrawn(
            **about,
            mode=bytes(group["mode"][0]).decode(),
            alpha=group["alpha"][...],
            images=group["images"][rows - 1],
        )

    @staticmethod
    def _density(group: Node, rows: int, **about: Any) -> DensityDrawn:
        x0, x1, y0, y1 = (float(value) for value in group["extent"][...])
        return DensityDrawn(
            **about,
            extent=(x0, x1, y0, y1),
            log_prob=group["log_prob"][rows - 1],
        )


def _curve(group: Node) -> CurveBatch:
    rows = schema.whole_rows(group)
    steps, values, times = (group[name][:rows] for name in ("step", "value", "time"))
    if not steps.shape == values.shape == times.shape == (rows,):
        msg = f"{group.name} is no curve"
        raise ValueError(msg)
    return CurveBatch(steps=steps, values=values, times=times)


def _matching(group: Node) -> tuple[np.ndarray, np.ndarray]:
    if "matching" not in group:
        return np.empty(0, np.int64), np.empty((0, 0))
    matching = group["matching"]
    rows = schema.whole_rows(matching)
    return matching["step"][:rows], matching["error"][:rows]


class RunRecord:
    """A run, living or ended, as it is on disk at this moment.

    Attributes
    ----------
    path
        Its directory.
    config
        The experiment.
    row
        Its row in the table of runs.
    seeds
        What each seed that has begun has recorded.
    verdict
        The verdict; None before the end.
    error
        Why it failed, or why its verdict cannot be read; None otherwise.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        state = read_state(self.path)
        self.row: RunRow = state.row
        self.error: ErrorInfo | None = state.error
        self.config: ExperimentConfig = read_config(self.path)
        self.seeds: dict[int, SeedRecord] = {}
        for seed in self.config.seeds.values():
            directory = seed_directory(self.path, self.config, seed)
            if is_taken(directory / RUN_FILE):
                self.seeds[seed] = SeedRecord(self.path, directory)
        self.verdict: Verdict | None = None
        try:
            self.verdict = read_verdict(self.path)
        except RunError as error:  # the rest of the run can be used
            self.error = self.error or error.info()

    def _seed(self, seed: int | None) -> int:
        return self.config.seeds.first if seed is None else seed

    def curves_of(self, seed: int | None = None) -> dict[Role, dict[str, CurveData]]:
        """Return a seed's curves (the first one's unless named) by stage and name."""
        stages = self._stages(seed)
        return {
            stage: {name: CurveData(batch.steps, batch.values, batch.times) for name, batch in view.curves.items()}
            for stage, view in stages.items()
        }

    @property
    def curves(self) -> dict[Role, dict[str, CurveData]]:
        """The first seed's curves by stage and name, such as ``curves["student"]["train/nll"].values``."""
        return self.curves_of()

    @property
    def matching(self) -> CurveData:
        """The matching error of the first seed's student: steps (rows,), values (rows, pairs); no times."""
        return self.matching_of("student")

    def matching_of(self, stage: Role, seed: int | None = None) -> CurveData:
        """Return the matching error of a seed's student or assistant and the flow that it learned from."""
        view = self._stages(seed).get(stage)
        if view is None:
            return CurveData(np.empty(0, np.int64), np.empty((0, 0)), np.empty(0))
        return CurveData(view.matching_steps, view.matching_errors, np.empty(0))

    @property
    def samples(self) -> dict[Role, np.ndarray]:
        """The first seed's newest samples by stage: those of the final weights where the stage has ended."""
        stages = self._stages(None)
        return {stage: view.samples.samples for stage, view in stages.items() if view.samples is not None}

    @property
    def summary(self) -> list[StageSummary]:
        """The figures of every stage of every seed that has ended."""
        views = [view for record in self.seeds.values() for view in record.stages.values()]
        return [view.summary for view in views if view.summary is not None]

    def _stages(self, seed: int | None) -> Mapping[Role, StageSnapshot]:
        record = self.seeds.get(self._seed(seed))
        return record.stages if record else {}

    def load_teacher(self, seed: int | None = None) -> DataSpaceFlow:
        """Return a seed's teacher with its best weights, in the data's own units.

        The first seed's serves all unless each has its own.
        """
        return self._load("teacher", self._teachers_seed(seed))

    def load_assistant(self, number: int, seed: int | None = None) -> DataSpaceFlow:
        """Return an assistant, counted from 1, as `load_teacher` returns the teacher.

        Raises
        ------
        RunError
            When the run has no such assistant, or not yet.
        """
        count = len(self.config.assistants)
        if not 1 <= number <= count:
            title, cause = "There is no such assistant", f"The run {self.path} has {count}, counted from 1."
            raise RunError(title, f"Assistant {number} was asked for. {cause}")
        return self._load(ASSISTANTS[number - 1], self._teachers_seed(seed))

    def _teachers_seed(self, seed: int | None) -> int:
        return self._seed(seed) if self.config.seeds.retrain_teacher else self.config.seeds.first

    def load_student(self, seed: int | None = None) -> DataSpaceFlow:
        """Return a seed's distilled student with its best weights, in the data's own units."""
        return self._load("student", self._seed(seed))

    def load_baseline(self, seed: int | None = None) -> DataSpaceFlow:
        """Return a seed's baseline with its best weights, in the data's own units."""
        return self._load("baseline", self._seed(seed))

    def _load(self, stage: Role, seed: int) -> DataSpaceFlow:
        from nfkd.runs.data_space import load_flow

        return load_flow(seed_directory(self.path, self.config, seed) / f"{stage}.safetensors")

    def snapshot(self) -> Snapshot:
        """Return everything, for the wire."""
        return Snapshot(
            row=self.row,
            config=self.config.to_toml(),
            seeds=[_moved(record.started, self.path) for record in self.seeds.values()],
            stages=[
                view
                for record in self.seeds.values()
                for view in record.stages.values()
                if view.summary is not None or any(len(batch.steps) for batch in view.curves.values())
            ],
            log=read_log(self.path),
            verdict=self.verdict,
            error=self.error,
        )


def _moved(started: SeedStarted, path: Path) -> SeedStarted:
    return msgspec.structs.replace(started, run=str(path))


def open_run(path: str | os.PathLike[str]) -> RunRecord:
    """Open a run's directory for reading, while it trains or after.

    Raises
    ------
    RunError
        When it is no run, is damaged, or is of a newer format.
    """
    return RunRecord(Path(path))


def stage_ended(run: Path, config: ExperimentConfig, seed: int, stage: Role) -> bool:
    """Return whether a stage of a seed has ended, by its figures; curves and pictures are not read.

    Raises
    ------
    RunError
        When the seed's file is missing or damaged.
    """
    path = seed_directory(run, config, seed) / RUN_FILE
    with open_file(path) as file:
        return schema.read_summary(file, stage, seed, "") is not None
