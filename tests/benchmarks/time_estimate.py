"""Compares the time estimate of presets with real runs, back to back.

``python tests/benchmarks/time_estimate.py [preset ...] [--rounds N]`` prints, for each round, the estimate, the real
time, and their ratio, for the whole run and for each stage. A teacher that stops early is compared with the estimate
for the steps that it made. Other work on the machine changes both: look at several rounds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import msgspec

import nfkd
from nfkd.planning.times import time_estimate
from nfkd.protocol.times import StageTime, TimeEstimate
from nfkd.runs.reader import RunRecord
from nfkd.terminal import say
from nfkd.training.measure_times import measure_times

PRESETS = Path(__file__).resolve().parents[2] / "resources" / "presets"


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("presets", nargs="*", default=["digits", "two_moons"])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for name in options.presets:
        config = nfkd.ExperimentConfig.from_toml((PRESETS / f"{name}.toml").read_text())
        for number in range(1, options.rounds + 1):
            compare(f"{name}, round {number}", config)


def compare(title: str, config: nfkd.ExperimentConfig) -> None:
    """Print an estimate and the real run that follows it."""
    began = time.perf_counter()
    measured = measure_times(config)
    measuring = time.perf_counter() - began
    estimate = time_estimate(config, measured.units, measured.preparation, measured.guessed)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        record = nfkd.run(config, Path(folder) / "run")
        real = time.perf_counter() - began
    expected = for_steps(estimate, record)
    say(f"{title}: measured in {measuring:.1f} s; estimate {expected:.1f} s, real {real:.1f} s, {expected / real:.2f}")
    for summary in record.summary:
        stage = next(stage for stage in estimate.stages if stage.stage == summary.stage)
        seconds = shortened(stage, summary.steps)
        ratio = f"estimate {seconds:.1f} s, real {summary.seconds:.1f} s, {seconds / max(summary.seconds, 1e-9):.2f}"
        say(f"    {summary.stage}, pool and {summary.steps:,} steps: {ratio}")


def shortened(stage: StageTime, steps: int) -> float:
    """Return the expected time of a stage's pool and of some of its steps."""
    return stage.pool + stage.training * steps / max(1, stage.steps)


def for_steps(estimate: TimeEstimate, record: RunRecord) -> float:
    """Return the estimate of a run of one seed for the steps that its stages made."""
    made = {summary.stage: summary.steps for summary in record.summary}
    stages = [
        msgspec.structs.replace(
            stage, steps=made[stage.stage], monitoring=stage.monitoring * made[stage.stage] / max(1, stage.steps)
        )
        for stage in estimate.stages
    ]
    return estimate.preparation + estimate.search + sum(stage.seconds for stage in stages)


if __name__ == "__main__":
    main()
