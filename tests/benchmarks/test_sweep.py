"""What a sweep costs beyond the training of its runs."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nfkd.config import ExperimentConfig
from nfkd.config.sweep import SweepConfig
from nfkd.protocol.events import RunEvent, StageFinished, StageStarted
from nfkd.sweeps import Sweep, SweepLoop, SweptRun, estimate_sweep
from nfkd.training.api import prepare
from nfkd.training.control import Control
from nfkd.training.job import execute_run

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

RUNS = 4
CHANGES: dict[str, Any] = {
    "training": {"teacher_steps": 100, "student_steps": 100, "teacher_learning_rate": 1e-3},
    "compute": {"device": "cpu", "threads": 1},
}


def now() -> np.ndarray:
    """Return wall time and this process's CPU time, in seconds; other programs slow down only the first."""
    return np.array([time.perf_counter(), time.process_time()])


class Stages:
    """Adds up the times of the stages of a run, with their figures, final pictures and files."""

    def __init__(self) -> None:
        self.seconds = np.zeros(2)
        self._began = now()

    def note(self, event: RunEvent) -> None:
        if isinstance(event, StageStarted):
            self._began = now()
        if isinstance(event, StageFinished):
            self.seconds += now() - self._began


def sweep_of(preset: str) -> SweepConfig:
    base = ExperimentConfig.load(preset).replace(**CHANGES)
    rates = [1e-3 + 1e-4 * number for number in range(RUNS)]
    return SweepConfig.from_dict(base.model_dump() | {"sweep": {"grid": {"training.learning_rate": rates}}})


@pytest.mark.parametrize("preset", ["two_moons", "digits"])
def test_overhead_per_run(preset: str, tmp_path: Path) -> None:
    began = time.perf_counter()
    sweep = Sweep(sweep_of(preset), tmp_path / "sweep")
    sweep.begin()
    estimate_sweep(sweep)
    before = time.perf_counter() - began

    stages = [Stages() for _ in range(RUNS)]
    ends = [now()]

    def end(run: SweptRun) -> None:
        assert run.state == "finished"
        ends.append(now())

    def note(run: SweptRun, event: RunEvent) -> None:
        if run.number == 0 or getattr(event, "stage", "") != "teacher":  # taking over a teacher is the sweep's work
            stages[run.number].note(event)

    SweepLoop(sweep, on_event=note, on_end=end).execute()
    times = [later - earlier for earlier, later in pairwise(ends)]

    alone: list[np.ndarray] = []
    for number, config in enumerate(sweep.configs[:3]):
        own, began = Stages(), now()
        execute_run(prepare(config, tmp_path / f"alone-{number}"), config, own.note, Control())
        alone.append(now() - began - own.seconds)

    beyond = [each - own.seconds for each, own in zip(times, stages, strict=True)]
    print(f"\n{preset}, {RUNS} runs that share a teacher, 100 steps a stage")
    print(f"look at the runs and measure a few steps, once: {before:.1f} s")
    for label, seconds in (
        ("run with the teacher", times[:1]),
        ("run with the shared teacher", times[1:]),
        ("beyond the stages, in the sweep", beyond),
        ("beyond the stages, outside a sweep in this process", alone),
    ):
        wall, cpu = np.median(seconds, axis=0)
        print(f"{label}: {wall:.2f} s, CPU {cpu:.2f} s (median)")
