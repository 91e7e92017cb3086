"""What a student's training step costs, against a step of its baseline."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import msgspec
import numpy as np

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.protocol.events import CurvePoints, RunEvent
from tests.benchmarks.studies import Study

STEPS, ROUNDS = 120, 3
FILE = "costs.json"


@dataclass(frozen=True)
class Cost:
    """What a student's training costs.

    Attributes
    ----------
    step
        The time of a step divided by that of a step of its baseline.
    pool
        The seconds before the first step, in which the pool is drawn and the teacher passes over it.
    equal_steps
        How many steps fit, after the pool, into the time of all steps of the baseline.
    """

    step: float
    pool: float
    equal_steps: int


def measure_costs(studies: Iterable[Study], cache: Path) -> None:
    """Measure the timed rows of studies that have no costs in the cache yet, one after the other."""
    for study in studies:
        file, known = cache / study.name / FILE, read_costs(study, cache)
        for name in study.timed:
            if name not in known and study.finished(name, cache):
                known[name] = measure_cost(study.experiment(name, cache))
                print(f"{study.name}: {name}: {known[name]}", flush=True)
                file.write_bytes(msgspec.json.format(msgspec.json.encode(known)))


def read_costs(study: Study, cache: Path) -> dict[str, Cost]:
    """Return the costs of a study's rows that were measured."""
    file = cache / study.name / FILE
    known = msgspec.json.decode(file.read_bytes(), type=dict[str, Cost]) if file.is_file() else {}
    return {name: cost for name, cost in known.items() if name in study.timed}


def measure_cost(config: ExperimentConfig) -> Cost:
    """Return the cost of a student, from its curves and those of its baseline.

    Both are trained for some steps, in turn, without pictures and evaluations. Times of a step are medians; of the
    turns too.
    """
    quiet = {"evaluate_every": 1_000_000, "pictures_every": 1_000_000, "shares_every": 0}
    short = config.replace(
        training={"student_steps": STEPS, "baseline": True, "checkpoint_every": 1_000_000},
        seeds={"count": ROUNDS},
        monitor=quiet,
    )
    points: dict[tuple[int, str], list[tuple[int, float]]] = {}

    def collect(event: RunEvent) -> None:
        if isinstance(event, CurvePoints) and "train/total" in event.curves:
            curve = event.curves["train/total"]
            points.setdefault((event.seed, event.stage), []).extend(zip(curve.steps, curve.times, strict=True))

    with tempfile.TemporaryDirectory() as folder:
        nfkd.run(short, Path(folder) / "run", on_event=collect)
    steps = {key: _step_seconds(values) for key, values in points.items()}
    seeds, budget = short.seeds.values(), config.training.student_steps
    pool = median(points[seed, "student"][0][1] - steps[seed, "student"] for seed in seeds)
    student, baseline = (median(steps[seed, stage] for seed in seeds) for stage in ("student", "baseline"))
    ratio = median(steps[seed, "student"] / steps[seed, "baseline"] for seed in seeds)
    pool = max(float(pool), 0.0)
    return Cost(float(ratio), pool, max(1, round(float((budget * baseline - pool) / student))))


def _step_seconds(points: list[tuple[int, float]]) -> float:
    steps, times = (np.array(values, float) for values in zip(*points, strict=True))
    return float(np.median(np.diff(times) / np.diff(steps)))
