"""Experiments and runs that several tests of training use."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import nfkd
from nfkd.config import DistillationConfig, ExperimentConfig
from nfkd.protocol import events
from nfkd.protocol.roles import Role
from nfkd.runs.reader import RunRecord, open_run
from nfkd.training.api import prepare
from nfkd.training.control import Control
from nfkd.training.job import execute_run
from tests.core.tiny import digits, moons
from tests.torture.compare import differences

Maker = Callable[..., ExperimentConfig]


class TrainedRun(NamedTuple):
    """A finished run and its events; tests share it, so they must not change it."""

    record: RunRecord
    events: list[events.RunEvent]


def every_term(**changes: Any) -> ExperimentConfig:
    """Return digits with all terms of the loss, some on schedules, their weights balanced."""
    terms: dict[str, Any] = {name: {"weight": 0.1} for name in DistillationConfig().terms()}
    terms["lkd"] |= {"schedule": "cosine", "schedule_end": 0.5}
    terms["score"] |= {"schedule": "warmup", "schedule_span": 0.5}
    balance = {"balance": "gradient_norm", "balance_every": 3}
    monitor = {"shares_every": 4} | changes.pop("monitor", {})
    return digits(distillation=terms | balance, monitor=monitor, **changes)


def without_baseline(**changes: Any) -> ExperimentConfig:
    """Return two moons without a baseline."""
    return moons(training={"baseline": False} | changes.pop("training", {}), **changes)


def with_assistants(**changes: Any) -> ExperimentConfig:
    """Return two moons with two assistants."""
    assistants = [{"kind": "glow1d", "steps": 3, "hidden": 6}, {"kind": "glow1d", "steps": 2, "hidden": 5}]
    return moons(assistants=assistants, training={"assistant_steps": 10} | changes.pop("training", {}), **changes)


def only(*terms: str) -> dict[str, dict[str, float]]:
    """Return a loss of some of the default terms, each with the weight 1."""
    return {name: {"weight": float(name in terms)} for name in ("nll", "lkd", "ilkd", "skd")}


def assert_same(first: Path, second: Path, config: ExperimentConfig) -> None:
    """Compare two runs of an experiment bit for bit: every dataset and every weight, except wall times."""
    assert open_run(first).config == config
    assert differences(first, second) == {}


@contextmanager
def progress_at_every_step() -> Iterator[None]:
    """Emit a `Progress` event after every step instead of ten a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nfkd.training.progress._INTERVAL", 0.0)
        yield


def stop_run(
    directory: Path, config: ExperimentConfig, stage: Role, step: int, *, resume: bool = False
) -> list[events.RunEvent]:
    """Run in this thread, stop the run after a step of a stage, and return the events."""
    control, seen = Control(), []
    run = directory if resume else prepare(config, directory)

    def watch(event: events.RunEvent) -> None:
        seen.append(event)
        if isinstance(event, events.Progress) and (event.stage, event.step) == (stage, step):
            control.stop("run")

    with progress_at_every_step():
        assert execute_run(run, config, watch, control, resume=resume) == "stopped"
    return seen


class KillPoint(NamedTuple):
    """When a run is killed: after a step of a stage, or after the whole stage (no step)."""

    seed: int
    stage: Role
    step: int | None = None

    def is_reached_by(self, event: events.RunEvent) -> bool:
        """Return whether an event is that of this point."""
        if isinstance(event, events.Progress):
            return (event.seed, event.stage, event.step) == self
        return isinstance(event, events.StageFinished) and (event.seed, event.stage, None) == self


def run_with_copies(config: ExperimentConfig, directory: Path, points: list[KillPoint]) -> tuple[Path, list[Path]]:
    """Run an experiment, and copy its directory at each point.

    A copy has the files that SIGKILL would leave at that point, without what is still in the memory of HDF5.

    Returns
    -------
    tuple
        The finished run and the copies; the writer of a copy counts as dead.
    """
    run, copies = directory / "whole", [directory / f"killed-{number}" for number in range(len(points))]

    def copy(event: events.RunEvent) -> None:
        for point, target in zip(points, copies, strict=True):
            if point.is_reached_by(event) and not target.exists():
                shutil.copytree(run, target)

    with progress_at_every_step():
        nfkd.run(config, run, on_event=copy)
    for target in copies:
        state = json.loads((target / "state.json").read_text())
        (target / "state.json").write_text(json.dumps(state | {"born": 0.0}))  # no process started then
    return run, copies
