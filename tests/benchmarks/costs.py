"""What a student's training step costs, against a step of its baseline."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import numpy as np

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.protocol.events import CurvePoints, RunEvent
from tests.benchmarks.studies import BASELINE, Study

STEPS, ROUNDS = 120, 3
FILE = "costs.json"


def measure_costs(studies: Iterable[Study], cache: Path) -> None:
    """Measure the rows of studies that have no costs in the cache yet, one after the other."""
    for study in studies:
        file, known = cache / study.name / FILE, read_costs(study, cache)
        for name in study.rows:
            if name != BASELINE and name not in known and study.finished(name, cache):
                known[name] = step_cost(study.experiment(name, cache))
                print(f"{study.name}: {name}: {known[name]:.2f} × a step of NLL alone", flush=True)
                file.write_text(json.dumps(known, indent=1), "utf-8")


def read_costs(study: Study, cache: Path) -> dict[str, float]:
    """Return the costs of a study's rows that were measured."""
    file = cache / study.name / FILE
    return json.loads(file.read_text("utf-8")) if file.is_file() else {}


def step_cost(config: ExperimentConfig) -> float:
    """Return the time of a student's step divided by that of its baseline.

    Both are trained for some steps, in turn, without pictures and evaluations. The ratio is the median over the turns
    of the ratio of the median times. The time to draw a pool is not part of a step.
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
    seconds = {key: _step_seconds(values) for key, values in points.items()}
    return median(seconds[seed, "student"] / seconds[seed, "baseline"] for seed in short.seeds.values())


def _step_seconds(points: list[tuple[int, float]]) -> float:
    steps, times = (np.array(values, float) for values in zip(*points, strict=True))
    return float(np.median(np.diff(times) / np.diff(steps)))
