"""Records what presets achieve and how long they take: the figures on the cards of the start page.

``python tests/benchmarks/presets.py gaps`` trains each preset whose data needs no download, with three seeds, into
``build/presets``; a preset that a study of `recipes` or `tarflow_students` has trained is taken from there. ``python
tests/benchmarks/presets.py times`` measures real steps of each preset (on a quiet machine: a few minutes). Both write
``resources/recorded.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from pathlib import Path
from typing import Any

import nfkd
from nfkd.config import ExperimentConfig, preset_names
from nfkd.config.presets import resource_path
from nfkd.evaluation.metrics import METRICS, metric_gap
from nfkd.evaluation.verdict import judge
from nfkd.planning.times import time_estimate
from nfkd.runs.errors import RunError
from nfkd.runs.reader import RunRecord, open_run
from nfkd.terminal import say
from nfkd.training.measure_times import measure_times
from tests.benchmarks import tarflow_students
from tests.benchmarks.recipes import STUDIES
from tests.benchmarks.studies import BASELINE, Study, exists, summaries, values_of

RECORDED = resource_path("recorded.json")
NEED_OTHER_DATA = frozenset({"cifar10_paper", "mnist", "power", "tarflow_cifar10", "tarflow_imagenet64_paper"})
SEEDS = 3


def main() -> None:
    """Record gaps or times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["gaps", "times"])
    parser.add_argument("presets", nargs="*", default=[name for name in preset_names() if name not in NEED_OTHER_DATA])
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    build = Path(__file__).resolve().parents[2] / "build"
    for name in options.presets:
        config = ExperimentConfig.load(name)
        found = gap_in_studies(config, build / "distillation") if options.what == "gaps" else None
        figures = times(config) if options.what == "times" else found or gap_of_preset(config, build / "presets" / name)
        say(f"{name}: {figures}")
        keep(name, config, figures)


def keep(name: str, config: ExperimentConfig, figures: dict[str, Any]) -> None:
    """Add figures of a preset to the file; those of another version of the preset are dropped."""
    recorded: dict[str, dict[str, Any]] = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    old = recorded.get(name, {})
    recorded[name] = (old if old.get("digest") == config.digest() else {}) | {"digest": config.digest()} | figures
    RECORDED.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")


def times(config: ExperimentConfig) -> dict[str, Any]:
    """Return the expected seconds of a preset as it is, for the full budget."""
    measured = measure_times(config)
    estimate = time_estimate(config, measured.units, measured.preparation, measured.guessed)
    return {"seconds": round(estimate.preparation + estimate.search + sum(stage.seconds for stage in estimate.stages))}


def gap_of_preset(config: ExperimentConfig, directory: Path) -> dict[str, Any]:
    """Train a preset with three seeds, unless it is in the cache, and return the share of the gap that it closes."""
    config = config.replace(seeds={"count": SEEDS}, compute={"device": "cpu", "threads": 1})
    record = nfkd.run(config, directory, resume=exists(config, directory))
    return figures(record, record, record, "baseline")


def gap_in_studies(config: ExperimentConfig, cache: Path) -> dict[str, Any] | None:
    """Return the share of the gap of the row of a study that is the same experiment; None without one."""
    for study in (*STUDIES, *tarflow_students.STUDIES):
        for name in study.rows:
            if name != BASELINE and same(study.experiment(name, cache), config) and study.finished(name, cache):
                return from_study(study, name, cache)
    return None


def same(row: ExperimentConfig, preset: ExperimentConfig) -> bool:
    """Return whether a row, whose teacher and baseline are another run's, is a preset."""
    own = {"teacher_weights": "", "baseline": True}
    return row.replace(training=own).digest() == preset.replace(training=own).digest()


def from_study(study: Study, name: str, cache: Path) -> dict[str, Any]:
    """Return the figures of a row."""
    names = (name, study.rows[name].against, BASELINE)
    record, base, teacher = (open_run(study.directory(each, cache)) for each in names)
    return figures(record, base, teacher, "student")


def figures(record: RunRecord, base: RunRecord, teacher: RunRecord, stage: str) -> dict[str, Any]:
    """Return the share of the gap that the student closes, and the verdict; `stage` of `base` is the baseline."""
    errors = [found.test_error for found in (*summaries(teacher, "teacher"), *summaries(base, stage))]
    closed = metric_gap(
        METRICS["likelihood"],
        values_of(record, "test"),
        values_of(base, "test", stage),
        values_of(teacher, "test", "teacher"),
        error=max(errors),
    )
    verdict = judge(
        values_of(record, "test"),
        values_of(base, "test", stage),
        metric=METRICS["likelihood"],
        unit=record.row.unit,
        one_teacher=True,
    )
    known = closed is not None and closed.defined and math.isfinite(closed.closed)
    gap = round(closed.closed, 3) if known and closed else None
    return {"gap": gap, "seeds": len(verdict.seeds), "verdict": verdict.verdict}


if __name__ == "__main__":
    try:
        main()
    except RunError as error:
        raise SystemExit(str(error)) from error
