"""Reading of a run: its config, curves, pictures, figures and weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from nfkd.config import ExperimentConfig
from nfkd.files import is_taken
from nfkd.protocol.events import CurveBatch, ErrorInfo, RunRow, SeedStarted, StagePlan, StageSummary, Verdict
from nfkd.protocol.requests import Snapshot, StageSnapshot
from nfkd.protocol.roles import ASSISTANTS, Role
from nfkd.protocol.view import StageView
from nfkd.runs import schema
from nfkd.runs.errors import RunError
from nfkd.runs.layout import RUN_FILE, read_config, seed_directory
from nfkd.runs.log import read_log
from nfkd.runs.opening import open_file
from nfkd.runs.pictures import stage_pictures
from nfkd.runs.schema import Node
from nfkd.runs.state import read_state
from nfkd.runs.verdict_file import read_verdict

if TYPE_CHECKING:
    from nfkd.runs.data_space import DataSpaceFlow


class CurveData(NamedTuple):
    """A curve: three arrays of the same length; times are in seconds since the stage began."""

    steps: np.ndarray
    values: np.ndarray
    times: np.ndarray


class SeedRecord:
    """One seed of a run.

    Parameters
    ----------
    run, directory
        Directories of the run and of the seed.
    known
        What earlier records have of each stage; only what is new is read.
    figures_only
        Whether curves and pictures are left out.

    Attributes
    ----------
    started
        The event with the plans of all stages.
    data
        Fingerprint of the data, as JSON; empty for runs of earlier versions.
    stages
        Recorded data by stage.
    """

    def __init__(
        self,
        run: Path,
        directory: Path,
        known: Mapping[Role, StageView] | None = None,
        *,
        figures_only: bool = False,
    ) -> None:
        self._run = str(run)
        known = known or {}
        with open_file(directory / RUN_FILE) as file:
            started = schema.read_started(file)
            self.data = schema.read_data(file)
            self.started: SeedStarted = msgspec.structs.replace(started, run=self._run)
            self.stages: dict[Role, StageSnapshot] = {
                plan.stage: self._figures(file, plan)
                if figures_only
                else self._stage(file, plan, known.get(plan.stage, StageView()))
                for plan in started.stages
            }

    def _figures(self, file: Node, plan: StagePlan) -> StageSnapshot:
        seed = self.started.seed
        return StageSnapshot(
            seed=seed,
            stage=plan.stage,
            curves={},
            matching_steps=np.empty(0, np.int64),
            matching_errors=np.empty((0, 0)),
            summary=schema.read_summary(file, plan.stage, seed, plan.unit),
        )

    def _stage(self, file: Node, plan: StagePlan, known: StageView) -> StageSnapshot:
        seed, stage, group = self.started.seed, plan.stage, file[plan.stage]
        steps, errors = _matching(group, len(known.matching_steps))
        points = {name: len(curve) for name, curve in known.curves.items()}
        return StageSnapshot(
            seed=seed,
            stage=stage,
            curves={info.name: _curve(group["curves"][info.name], points.get(info.name, 0)) for info in plan.curves},
            matching_steps=steps,
            matching_errors=errors,
            **stage_pictures(
                group,
                run=self._run,
                seed=seed,
                known={"samples": known.samples, "interpolation": known.interpolation, "density": known.density},
            ),
            summary=schema.read_summary(file, stage, seed, plan.unit),
        )


def _curve(group: Node, known: int) -> CurveBatch:
    """Return the points after the first `known`."""
    steps, values, times = schema.read_rows(group, ("step", "value", "time"), known)
    if not steps.shape == values.shape == times.shape == (len(steps),):
        msg = f"{group.name} is not a curve"
        raise ValueError(msg)
    return CurveBatch(steps=steps, values=values, times=times)


def _matching(group: Node, known: int) -> tuple[np.ndarray, np.ndarray]:
    if "matching" not in group:
        return np.empty(0, np.int64), np.empty((0, 0))
    steps, errors = schema.read_rows(group["matching"], ("step", "error"), known)
    return steps, errors


class RunRecord:
    """A run as it is on disk at this moment, active or ended.

    Parameters
    ----------
    path
        Its directory.
    figures_only
        Whether curves and pictures are left out.

    Attributes
    ----------
    path
        Its directory.
    config
        The experiment.
    row
        Its row in the table of runs.
    seeds
        Records of the seeds that have begun.
    verdict
        None before the end.
    error
        Why the run failed, or why its verdict cannot be read; None otherwise.
    """

    def __init__(self, path: Path, *, figures_only: bool = False) -> None:
        self.path = path.absolute()
        state = read_state(self.path)
        self.row: RunRow = state.row
        self.error: ErrorInfo | None = state.error
        self.config: ExperimentConfig = read_config(self.path)
        self.seeds: dict[int, SeedRecord] = {}
        for seed in self.config.seeds.values():
            directory = seed_directory(self.path, self.config, seed)
            if is_taken(directory / RUN_FILE):
                self.seeds[seed] = SeedRecord(self.path, directory, figures_only=figures_only)
        self.verdict: Verdict | None = None
        try:
            self.verdict = read_verdict(self.path)
        except RunError as error:  # the rest of the run is still usable
            self.error = self.error or error.info()

    def _seed(self, seed: int | None) -> int:
        return self.config.seeds.first if seed is None else seed

    def curves_of(self, seed: int | None = None) -> dict[Role, dict[str, CurveData]]:
        """Return a seed's curves, by default the first seed's, by stage and name."""
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
        """The matching error of the first seed's student: steps (rows,), values (rows, pairs) and empty times."""
        return self.matching_of("student")

    def matching_of(self, stage: Role, seed: int | None = None) -> CurveData:
        """Return the matching error of a seed's student or assistant with its teacher, as in `matching`."""
        view = self._stages(seed).get(stage)
        if view is None:
            return CurveData(np.empty(0, np.int64), np.empty((0, 0)), np.empty(0))
        return CurveData(view.matching_steps, view.matching_errors, np.empty(0))

    @property
    def samples(self) -> dict[Role, np.ndarray]:
        """The first seed's newest samples by stage; of the final weights once the stage has ended."""
        stages = self._stages(None)
        return {stage: view.samples.samples for stage, view in stages.items() if view.samples is not None}

    @property
    def summary(self) -> list[StageSummary]:
        """The figures of every stage that has ended, of all seeds."""
        views = [view for record in self.seeds.values() for view in record.stages.values()]
        return [view.summary for view in views if view.summary is not None]

    def _stages(self, seed: int | None) -> Mapping[Role, StageSnapshot]:
        record = self.seeds.get(self._seed(seed))
        return record.stages if record else {}

    def load_teacher(self, seed: int | None = None) -> DataSpaceFlow:
        """Return a seed's teacher with its best weights, in the data's own units.

        All seeds share the teacher of the first, unless ``seeds.retrain_teacher`` is set.
        """
        return self._load("teacher", self._teacher_seed(seed))

    def load_assistant(self, number: int, seed: int | None = None) -> DataSpaceFlow:
        """Return an assistant, counted from 1, as `load_teacher` returns the teacher.

        Raises
        ------
        RunError
            When the run has no such assistant, or has not trained it yet.
        """
        count = len(self.config.assistants)
        if not 1 <= number <= count:
            raise RunError(
                title="There is no such assistant",
                cause=f"The run {self.path} has {count} assistants, but no number {number}.",
            )
        return self._load(ASSISTANTS[number - 1], self._teacher_seed(seed))

    def _teacher_seed(self, seed: int | None) -> int:
        return self._seed(seed) if self.config.seeds.retrain_teacher else self.config.seeds.first

    def load_student(self, seed: int | None = None) -> DataSpaceFlow:
        """Return a seed's distilled student with its best weights, in the data's own units."""
        return self._load("student", self._seed(seed))

    def load_baseline(self, seed: int | None = None) -> DataSpaceFlow:
        """Return a seed's baseline with its best weights, in the data's own units."""
        return self._load("baseline", self._seed(seed))

    def load_ablation(self, seed: int | None = None) -> DataSpaceFlow:
        """Return a seed's ablation with its best weights, in the data's own units."""
        return self._load("ablation", self._seed(seed))

    def _load(self, stage: Role, seed: int) -> DataSpaceFlow:
        from nfkd.runs.data_space import load_flow

        return load_flow(seed_directory(self.path, self.config, seed) / f"{stage}.safetensors")

    def snapshot(self) -> Snapshot:
        """Return the run as a message."""
        return Snapshot(
            row=self.row,
            config=self.config.to_toml(),
            seeds=[record.started for record in self.seeds.values()],
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


def open_run(path: str | os.PathLike[str]) -> RunRecord:
    """Open a run's directory for reading, during training or afterwards.

    Raises
    ------
    RunError
        When it is not a run, is damaged, or has a newer format.
    """
    return RunRecord(Path(path))


def read_figures(run: str) -> Snapshot:
    """Return a run's settings, figures and log, without curves and pictures.

    Raises
    ------
    RunError
        As `open_run`.
    """
    return RunRecord(Path(run), figures_only=True).snapshot()


def stage_ended(run: Path, config: ExperimentConfig, seed: int, stage: Role) -> bool:
    """Return whether a stage of a seed has ended, without reading its curves and pictures.

    Raises
    ------
    RunError
        When the seed's file is missing or damaged.
    """
    path = seed_directory(run, config, seed) / RUN_FILE
    with open_file(path, [f"summary/{stage}"]) as file:
        return schema.read_summary(file, stage, seed, "") is not None
