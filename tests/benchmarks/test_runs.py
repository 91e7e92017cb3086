"""Duration of the shipped experiments, and their verdicts over three seeds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nfkd.runs.reader import open_run

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]


def run(preset: str, directory: Path, *overrides: str) -> float:
    arguments = [word for assignment in overrides for word in ("--set", assignment)]
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "nfkd", "run", preset, "--out", str(directory), *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": str(os.cpu_count() or 1)},
    )
    return time.perf_counter() - began


@pytest.mark.parametrize(("preset", "goal"), [("two_moons", 40), ("digits", 300)])
def test_time_of_one_seed(preset: str, goal: int, tmp_path: Path) -> None:
    seconds = run(preset, tmp_path / "run")
    print(f"\n{preset}: {seconds:.0f} s with one seed (goal {goal} s)")


@pytest.mark.parametrize("preset", ["digits_paper", "two_moons"])
def test_verdict_over_three_seeds(preset: str, tmp_path: Path) -> None:
    seconds = run(preset, tmp_path / "run", "seeds.count=3")
    record = open_run(tmp_path / "run")
    print(f"\n{preset}, three seeds, {seconds:.0f} s\n")
    print(f"| seed | flow | parameters | test {record.row.unit} | C2ST | samples/s |")
    print("|---|---|---|---|---|---|")
    for summary in record.summary:
        print(
            f"| {summary.seed} | {summary.stage} | {summary.parameters:,} "
            f"| {summary.test:.4f} ± {summary.test_error:.4f} "
            f"| {summary.c2st:.3f} | {summary.samples_per_second:,.0f} |"
        )
    if record.verdict is not None:
        print(f"\n{record.verdict.summary}")
