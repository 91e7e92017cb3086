"""Times of a folder with thousands of runs: listing, watching, values, curves and thumbnails."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from nfkd.config import ExperimentConfig
from nfkd.protocol import events, records
from nfkd.runs.run_curves import read_run_curve
from nfkd.runs.thumbnails import read_thumbnail
from nfkd.runs.writer import RunWriter
from tests.core.tiny import digits, moons

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]
RUNS, FOLDERS, SEEDS = 10_000, 20, 3
COLD = """
import json, sys, time
began = time.perf_counter()
from nfkd.runs.folder_scan import rows_of, scan_runs
from nfkd.runs.run_values import FactsCache, run_values
times = {"imports": (time.perf_counter() - began, time.process_time())}

def measure(name, function):
    wall, work = time.perf_counter(), time.process_time()
    result = function()
    times[name] = time.perf_counter() - wall, time.process_time() - work
    return result

def values():
    return [len(run_values(row, cache.read(row.run))) for row in rows]

cache, folder = FactsCache(), sys.argv[1]
first = measure("first listing", lambda: scan_runs(folder, {}))
rows, unreadable = rows_of(first.values())
assert not unreadable
measure("second listing", lambda: scan_runs(folder, {}))
measure("scan of the watch", lambda: scan_runs(folder, first))
sizes = measure("all values", values)
measure("all values again", values)
print(json.dumps({"runs": len(rows), "values": sum(sizes) / len(sizes), "times": times}))
"""


def make_runs(folder: Path) -> None:
    """Write the small files of a sweep over widths, learning rates and seeds, in sub-folders."""
    texts = [
        ExperimentConfig.load("digits").replace(
            student={"hidden": 8 * (1 + number % 20)}, training={"learning_rate": 0.001 * (1 + number)}
        ).to_toml()
        for number in range(40)
    ]  # fmt: skip
    row = {"state": "finished", "data": "digits", "teacher": "Glow 8×2", "student": "Glow 2×2", "seeds": SEEDS}
    row |= {"seeds_done": SEEDS, "progress": 1.0, "device": "cpu", "unit": "bits/dim", "verdict": "better"}
    row |= {"teacher_test": 2.0, "student_test": 2.2, "baseline_test": 2.5, "loss": "NLL 0.9 + LKD 0.05"}
    for number in range(RUNS):
        run = folder / f"sweep {number % FOLDERS}" / f"run-{number}"
        run.mkdir(parents=True)
        mine = {"type": "RunRow", "run": str(run), "name": run.name, "created": 1.7e9 + number, **row}
        (run / "state.json").write_text(json.dumps({"row": mine, "pid": 1, "born": 0.0, "error": None}, indent=2))
        (run / "experiment.toml").write_text(texts[number % 40].replace('"digits"', f'"run-{number}"', 1))
        (run / "figures.json").write_text(json.dumps(figures(number), indent=2))


def figures(number: int) -> list[dict[str, Any]]:
    tests = {"teacher": 2.0, "student": 2.2, "baseline": 2.5}
    names = ("validation", "test", "test_error", "samples_per_second", "seconds", "c2st", "sw", "mmd", "precision",
             "recall", "train_test_gap", "same_noise", "fd", "fd_floor")  # fmt: skip
    return [
        {"type": "StageSummary", "stage": stage, "seed": seed, "unit": "bits/dim", "ended": ""}
        | {"parameters": 1000, "multiply_adds": 2000, "steps": 500, "best_step": 480}
        | {name: test + number / 1e5 + index / 7 for index, name in enumerate(names)}
        for seed in range(1, SEEDS + 1)
        for stage, test in tests.items()
    ]


def test_listing_and_values(tmp_path: Path) -> None:
    make_runs(tmp_path / "runs")
    done = subprocess.run(
        [sys.executable, "-c", COLD, str(tmp_path / "runs")], check=True, capture_output=True, text=True
    )
    found = json.loads(done.stdout)
    assert found["runs"] == RUNS
    print(f"\n{RUNS:,} runs in {FOLDERS} folders, {found['values']:.0f} values each")
    for name, (wall, work) in found["times"].items():
        print(f"{name}: {wall:.2f} s, {work:.2f} s of CPU time")


def test_curves_of_fifty_runs(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    info = records.CurveInfo(name="train/nll", label="NLL", unit="nats")
    stages = [events.StagePlan(stage="student", steps=10_000, curves=[info])]
    plan = events.SeedStarted(run="run", seed=1, stages=stages, event_shape=[2])
    writer = RunWriter(source, moons(), plan, device="cpu", threads=1)
    steps = np.arange(10_000)
    batch = records.CurveBatch(steps=steps, values=np.random.default_rng(0).normal(size=10_000), times=steps / 100)
    writer.handle(events.CurvePoints(run="run", seed=1, stage="student", curves={"train/nll": batch}))
    writer.close()
    runs = [Path(shutil.copytree(source, tmp_path / f"run-{number}")) for number in range(50)]
    seconds = timed(lambda: [read_run_curve(run, "train/nll", "student", 500) for run in runs])
    print(f"\na curve of 50 runs with 10,000 points each: {seconds}")


@pytest.mark.parametrize("data", ["moons", "digits"])
def test_thumbnails(data: str, tmp_path: Path) -> None:
    import nfkd

    training = {"teacher_steps": 2, "student_steps": 2}
    nfkd.run((moons if data == "moons" else digits)(training=training), tmp_path / "source")
    runs = [tmp_path / f"run-{number}" for number in range(400)]
    for run in runs:
        run.mkdir()
        shutil.copy(tmp_path / "source" / "run.h5", run)
    with h5py.File(runs[0] / "run.h5") as file:
        stored: Any = file["student/samples/images"]
        shape = stored.shape[1:]
    seconds = timed(lambda: [read_thumbnail(run, 64) for run in runs])
    print(f"\n400 thumbnails of {data}, {shape} stored: {seconds}")


def timed(function: Callable[[], Any]) -> str:
    began, work = time.perf_counter(), time.process_time()
    function()
    return f"{time.perf_counter() - began:.2f} s, {time.process_time() - work:.2f} s of CPU time"
