"""The expected time and disk space of a sweep, before it starts."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nfkd.config import ConfigError, ExperimentConfig
from nfkd.data import DataError, Dataset, load_dataset
from nfkd.planning.describe import check
from nfkd.planning.plans import described, seed_stages, stage_plans
from nfkd.planning.times import UnitTimes, rough_units, stage_times, time_estimate
from nfkd.protocol.events import StagePlan
from nfkd.protocol.records import SYSTEM
from nfkd.protocol.requests import Description
from nfkd.protocol.roles import Role
from nfkd.runs.schema import CURVE_CHUNK, GRID, picture_pairs
from nfkd.sweeps.sweep import Sweep
from nfkd.training.measure_times import MeasurementStopped, measure_times
from nfkd.training.shared_teacher import teacher_key, teacher_seeds

_SAMPLED = 24  # runs whose sizes are computed; the others are like them on average
_MEASURED_SECONDS = 2.0
_FLOAT = 4
_POINT = 3 * 8  # bytes: step, value, time
_OPTIMIZER = 4  # times the parameters: weights, best weights, two moments
_FILE = 60_000  # bytes: log, experiment, state; groups and attributes of HDF5


@dataclass(frozen=True)
class SweepEstimate:
    """What a sweep will take.

    Attributes
    ----------
    runs
        Number of runs that are left; of a search at most.
    done, failed
        Runs that have ended in an earlier call.
    teachers
        Number of different teachers that will be trained, of the runs whose sizes were computed.
    seconds
        Expected time of the runs that are left, for the full budget of each stage; NaN if it was not measured.
    size
        Expected size of what they write, in bytes; NaN if it is not known.
    free
        Free space where the sweep is written, in bytes.
    problems
        Runs that cannot start, by name, with the reason.
    """

    runs: int
    done: int
    failed: int
    teachers: int
    seconds: float
    size: float
    free: int
    problems: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class _Expected:
    """A run that can start: its relative times, by seed and stage."""

    config: ExperimentConfig
    times: dict[tuple[int, Role], float]
    size: int


def estimate_sweep(sweep: Sweep, jobs: int = 1, stopping: Callable[[], bool] = lambda: False) -> SweepEstimate:
    """Return the expected time and disk space of the runs that are left.

    A few steps of one run are measured; the times of the others follow from the sizes of their flows. Of many runs,
    some are looked at. A teacher that several runs share counts once.

    Parameters
    ----------
    sweep
        The sweep.
    jobs
        Number of runs at the same time; the times of one are divided by it.
    stopping
        Whether to stop measuring, so that the time is not known; called between two steps.
    """
    left = [run for run in sweep.runs if run.state in {"waiting", "running"}]
    named = {run.name: sweep.configs[run.number] for run in left}
    search = sweep.config.sweep.search
    count = len(left) if search is None else len(left) + search.runs - len(sweep.runs)
    if search is not None and not named:
        named = {sweep.config.name: sweep.config.experiment()}  # the runs are not known yet
    expected, problems = _look_at(named)
    trained = {key for run in sweep.runs if run.state == "finished" for key in _teachers(sweep.configs[run.number])}
    seconds, teachers = _seconds(expected, trained, stopping)
    share = count / (len(expected) + len(problems)) if expected else math.nan
    return SweepEstimate(
        runs=count,
        done=sum(run.state in {"finished", "pruned"} for run in sweep.runs),
        failed=sum(run.state == "failed" for run in sweep.runs),
        teachers=teachers,
        seconds=seconds * share / jobs if count else 0.0,
        size=sum(each.size for each in expected) * share if count else 0.0,
        free=free_space(sweep.directory),
        problems=problems,
    )


def free_space(directory: Path) -> int:
    """Return the free bytes on the disk of a directory, which may not exist yet."""
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    return shutil.disk_usage(directory).free


def _look_at(named: dict[str, ExperimentConfig]) -> tuple[list[_Expected], dict[str, str]]:
    """Return what some runs, evenly chosen, will take, and the problems of those that cannot start."""
    names = list(named)
    if len(names) > _SAMPLED:
        names = [names[round(index)] for index in np.linspace(0, len(names) - 1, _SAMPLED)]
    expected: list[_Expected] = []
    problems: dict[str, str] = {}
    for name in names:
        config = named[name]
        try:
            description, dataset = check(config), load_dataset(config.data)
        except (ConfigError, DataError) as error:
            problems[name] = "; ".join(map(str, error.problems))
            continue
        units = rough_units(config, description, dataset)
        expected.append(_Expected(config, _stage_seconds(config, units), _run_bytes(config, description, dataset)))
    return expected, problems


def _stage_seconds(config: ExperimentConfig, units: dict[Role, UnitTimes]) -> dict[tuple[int, Role], float]:
    seconds = {time.stage: time.seconds for time in stage_times(config, units)}
    return {(seed, role): seconds[role] for seed in config.seeds.values() for role in seed_stages(config, seed)}


def _teachers(config: ExperimentConfig) -> set[tuple[str, int]]:
    """Return what identifies the teachers that an experiment needs."""
    return {(teacher_key(config), seed) for seed in teacher_seeds(config)}


def _seconds(
    expected: Sequence[_Expected], trained: set[tuple[str, int]], stopping: Callable[[], bool]
) -> tuple[float, int]:
    """Return the time of all runs, each teacher once, and the number of teachers that are not trained yet."""
    teachers = set(trained)
    if not expected:
        return math.nan, 0
    relative = 0.0
    for each in expected:
        shared = _teachers(each.config)
        again = {seed for _, seed in shared & teachers}
        relative += sum(time for (seed, role), time in each.times.items() if not (role == "teacher" and seed in again))
        teachers |= shared
    first = expected[0]
    try:
        measured = measure_times(first.config, stopping, seconds=_MEASURED_SECONDS)
    except (MeasurementStopped, RuntimeError, MemoryError):  # too little memory on the device: the run will report it
        return math.nan, len(teachers - trained)
    estimate = time_estimate(first.config, measured.units, measured.preparation, measured.guessed)
    whole = sum(first.times.values())
    fixed = (estimate.preparation + estimate.search) * len(expected)
    return (estimate.seconds - estimate.preparation - estimate.search) * relative / whole + fixed, len(
        teachers - trained
    )


# --- disk -------------------------------------------------------------------------------------------------------------


def _run_bytes(config: ExperimentConfig, description: Description, dataset: Dataset) -> int:
    """Return the expected size of a run's directory: weights, the last checkpoint, curves and pictures."""
    total = 0
    for seed in config.seeds.values():
        total += _FILE
        for plan in stage_plans(config, dataset, description, seed):
            flow = described(description, plan.stage)
            parameters = 0 if flow is None else flow.parameters
            total += parameters * _FLOAT + _curve_bytes(config, plan) + _picture_bytes(config, plan, dataset)
        student = described(description, "student")
        total += 0 if student is None else _OPTIMIZER * _FLOAT * student.parameters
    return total


def _curve_bytes(config: ExperimentConfig, plan: StagePlan) -> int:
    points = 0
    for info in plan.curves:
        rare = {"validation/nll": config.monitor.evaluate_every}.get(info.name, 1)
        rare = config.monitor.shares_every if info.name.startswith("share/") else rare
        rows = 1 if info.name.startswith(SYSTEM) else plan.steps // max(1, rare)
        points += CURVE_CHUNK * math.ceil(rows / CURVE_CHUNK)
    return points * _POINT


def _picture_bytes(config: ExperimentConfig, plan: StagePlan, dataset: Dataset) -> int:
    monitor, shape = config.monitor, dataset.event_shape
    values = math.prod(shape)
    values *= monitor.sample_count + picture_pairs(len(shape)) * monitor.interpolation_steps
    if shape == (2,) and not dataset.context_features:
        values += GRID * GRID
    rows = 2 + plan.steps // monitor.pictures_every  # the first step and the final ones
    return values * _FLOAT * rows
