"""Sweeps that take a few seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nfkd.config import ExperimentConfig
from nfkd.config.sweep import SweepConfig
from nfkd.protocol.events import RunEvent
from nfkd.sweeps import Start, Sweep, SweptRun
from nfkd.training.control import Control
from nfkd.training.job import execute_run
from tests.core.tiny import moons

GRID = {"grid": {"student.hidden": [4, 6], "training.learning_rate": [0.001, 0.003]}}


def quick(**changes: Any) -> ExperimentConfig:
    """Return an experiment of two stages with 20 steps each."""
    training = {"teacher_steps": 20, "student_steps": 20, "baseline": False} | changes.pop("training", {})
    return moons(training=training, **changes)


def sweep_of(sweep: dict[str, Any], **changes: Any) -> SweepConfig:
    """Return a sweep over the quick experiment."""
    return SweepConfig.from_dict(quick(**changes).model_dump() | {"sweep": sweep})


def execute(start: Start, emit: Callable[[RunEvent], None] = lambda _: None) -> Any:
    """Execute a run that a sweep has prepared, and return its state."""
    return execute_run(start.path, start.config, emit, Control(), resume=start.resume, donors=start.donors)


def run_all(sweep: Sweep) -> list[SweptRun]:
    """Execute all runs of a sweep in this thread."""
    sweep.begin()
    while (start := sweep.ask()) is not None:
        sweep.tell(start.run.number, execute(start))
    return sweep.runs


def states(sweep: Sweep) -> list[str]:
    """Return the states of all runs."""
    return [run.state for run in sweep.runs]


def saved(config: SweepConfig, folder: Path) -> str:
    """Write a sweep to a file, and return its path."""
    config.save(folder / "file.toml")
    return str(folder / "file.toml")
