"""Studies of distillation: experiments with one teacher that differ in the student's training, in a resumable cache.

A cached run of another experiment is trained again, but a change of the code is not noticed: delete the cache then.

All rows and seeds of a study have the same teacher. Students of a seed have the same first weights, data, order and
noise, so that rows are compared in pairs.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from collections.abc import Iterable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nfkd
from nfkd.config import TERMS, ExperimentConfig
from nfkd.protocol.events import StageSummary
from nfkd.runs.errors import RunError
from nfkd.runs.layout import is_run, read_config
from nfkd.runs.reader import RunRecord
from nfkd.runs.state import read_state

BASELINE = "NLL alone"


def loss(nll: float, *, balanced: bool = False, **weights: float) -> dict[str, Any]:
    """Return a distillation with these weights and no others."""
    terms = dict.fromkeys(TERMS, 0.0) | {"nll": nll} | weights
    table: dict[str, Any] = {name: {"weight": weight} for name, weight in terms.items()}
    return table | {"balance": "gradient_norm" if balanced else "none"}


def fading(distillation: dict[str, Any]) -> dict[str, Any]:
    """Return the same with the teacher's terms falling to zero over the first half of the steps."""
    schedule = {"schedule": "cosine", "schedule_end": 0.0, "schedule_span": 0.5}
    return distillation | {name: distillation[name] | schedule for name in TERMS if name != "nll"}


@dataclass(frozen=True)
class Row:
    """How a student is trained.

    Attributes
    ----------
    distillation
        The loss.
    against
        The row that it is compared with.
    training
        Changes of the optimizer and its budget.
    student
        Changes of the student's flow; it is then compared with a row of the same student.
    """

    distillation: dict[str, Any]
    against: str = BASELINE
    training: dict[str, Any] = field(default_factory=dict)
    student: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """Students of one teacher and data set.

    Attributes
    ----------
    name, title
        In the cache, and above its table.
    preset, changes
        The experiment of all rows.
    rows
        By name; the first is `BASELINE`, whose run trains the teacher.
    seeds
        Number of seeds.
    timed
        Rows whose cost is measured; they are trained again with as many steps as fit into the baseline's time.
    """

    name: str
    title: str
    preset: str
    rows: dict[str, Row]
    changes: dict[str, Any] = field(default_factory=dict)
    seeds: int = 3
    timed: tuple[str, ...] = ()

    def experiment(self, name: str, cache: Path) -> ExperimentConfig:
        """Return the experiment of a row; that of the baseline trains the teacher of all."""
        row = self.rows[name]
        changes = {
            "name": f"{self.name}: {name}".replace(":", ","),
            "distillation": {"inherit": "none", "pool": {"share": 0.0}} | row.distillation,
            "seeds": {"count": self.seeds},
            "compute": {"device": "cpu", "threads": 1},
            "student": row.student,
        }
        config = ExperimentConfig.load(self.preset).replace(**self.changes).replace(**changes)
        training: dict[str, Any] = row.training | {"baseline": False}
        if name != BASELINE:
            training["teacher_weights"] = str(self.directory(BASELINE, cache))
        return config.replace(training=training)

    def directory(self, name: str, cache: Path) -> Path:
        """Return the run's directory of a row."""
        slug = "".join(sign if sign.isalnum() else " " for sign in name.lower()).split()
        return cache / self.name / "-".join(slug)

    def finished(self, name: str, cache: Path) -> bool:
        """Return whether the run of a row is in the cache."""
        config, directory = self.experiment(name, cache), self.directory(name, cache)
        return exists(config, directory) and read_state(directory).row.state == "finished"


def exists(config: ExperimentConfig, directory: Path) -> bool:
    """Return whether a run of an experiment exists, finished or not."""
    return is_run(directory) and read_config(directory) == config


def train(text: str, directory: Path) -> tuple[float, str]:
    """Train or resume an experiment; return its seconds, and the cause of a failure."""
    began, config = time.perf_counter(), ExperimentConfig.from_toml(text)
    if not exists(config, directory):
        shutil.rmtree(directory, ignore_errors=True)  # of another experiment
    try:
        nfkd.run(config, directory, resume=True)
    except RunError as error:
        return time.perf_counter() - began, error.cause
    return time.perf_counter() - began, ""


def train_all(studies: Iterable[Study], cache: Path, jobs: int) -> None:
    """Train the missing runs, each study's baseline before its other rows."""
    began = time.perf_counter()
    os.environ["OMP_NUM_THREADS"] = "1"
    waiting: dict[Future[tuple[float, str]], tuple[Study, str]] = {}
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:

        def submit(study: Study, name: str) -> None:
            directory = study.directory(name, cache)
            if study.finished(name, cache):
                print(f"{study.name}: {name}: cached", flush=True)
                after(study, name)
            else:
                directory.parent.mkdir(parents=True, exist_ok=True)
                waiting[pool.submit(train, study.experiment(name, cache).to_toml(), directory)] = study, name

        def after(study: Study, name: str) -> None:
            if name == BASELINE:
                for other in study.rows:
                    if other != BASELINE:
                        submit(study, other)

        for study in studies:
            submit(study, BASELINE)
        while waiting:
            done = next(as_completed(list(waiting)))
            study, name = waiting.pop(done)
            seconds, failure = done.result()
            minutes = (time.perf_counter() - began) / 60
            outcome = f"failed: {failure}" if failure else f"{seconds:.0f} s"
            print(f"{study.name}: {name}: {outcome} ({minutes:.1f} min in total)", flush=True)
            if not failure:
                after(study, name)


def summaries(record: RunRecord, stage: str) -> list[StageSummary]:
    """Return the figures of a stage."""
    return [summary for summary in record.summary if summary.stage == stage]


def values_of(record: RunRecord, figure: str, stage: str = "student") -> dict[int, float]:
    """Return a figure of a stage by seed."""
    return {summary.seed: getattr(summary, figure) for summary in summaries(record, stage)}


def unfinished(directory: Path) -> str:
    """Return the state of a run without results."""
    if not is_run(directory):
        return "not trained yet"
    row = read_state(directory).row
    return row.cause if row.state == "failed" else row.state
