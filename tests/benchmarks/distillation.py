"""Compares every term of the loss on real data with the same student without a teacher.

``make bench-distillation`` trains the runs that are not in the cache and prints the tables; it is resumable. A cached
run of another experiment is trained again, but a change of the code is not noticed: delete the cache
(``build/distillation``) then.

All losses and seeds of a study have the same teacher. Students of a seed have the same first weights, data, order and
noise, so that losses are compared in pairs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import statistics
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nfkd
from nfkd.config import TERMS, ExperimentConfig
from nfkd.evaluation.metrics import METRICS
from nfkd.evaluation.throughput import samples_per_second
from nfkd.evaluation.verdict import judge
from nfkd.protocol.events import StageSummary
from nfkd.runs.errors import RunError
from nfkd.runs.layout import is_run, read_config
from nfkd.runs.reader import RunRecord, open_run
from nfkd.runs.state import read_state
from tests.benchmarks.throughput import ratios

SEEDS = 3
BASELINE = "NLL alone"
PAPER = ("lkd", "ilkd", "skd")


def loss(nll: float, *, balanced: bool = False, **weights: float) -> dict[str, Any]:
    """Return a distillation with these weights and no others."""
    terms = dict.fromkeys(TERMS, 0.0) | {"nll": nll} | weights
    table: dict[str, Any] = {name: {"weight": weight} for name, weight in terms.items()}
    return table | {"balance": "gradient_norm" if balanced else "none"}


def fading(distillation: dict[str, Any]) -> dict[str, Any]:
    """Return the same with the teacher's terms falling to zero over the first half of the steps."""
    schedule = {"schedule": "cosine", "schedule_end": 0.0, "schedule_span": 0.5}
    return distillation | {name: distillation[name] | schedule for name in TERMS if name != "nll"}


def inherited(distillation: dict[str, Any]) -> dict[str, Any]:
    """Return the same for a student that starts with its teacher's channel mixing."""
    return distillation | {"inherit": "mixing"}


def by(strategy: str, distillation: dict[str, Any]) -> dict[str, Any]:
    """Return the same with another matching of layers."""
    return distillation | {"matching": {"strategy": strategy}}


@dataclass(frozen=True)
class Loss:
    """A student's loss, and the loss that it is compared with."""

    distillation: dict[str, Any]
    against: str = BASELINE


THREE = loss(0.85, lkd=0.05, ilkd=0.05, skd=0.05)
INHERITED = "NLL alone, inherited"
PAPER_LOSSES = {
    BASELINE: Loss(loss(1.0)),
    "+ LKD": Loss(loss(0.9, lkd=0.1)),
    "+ ILKD": Loss(loss(0.9, ilkd=0.1)),
    "+ SKD": Loss(loss(0.9, skd=0.1)),
    "+ all three": Loss(THREE),
}
FURTHER_LOSSES = {
    "+ all three, half of the gradient": Loss(loss(0.5, balanced=True, **dict.fromkeys(PAPER, 1 / 6))),
    **{
        f"+ {TERMS[name].label}": Loss(loss(0.9, balanced=True, **{name: 0.1}))
        for name in TERMS
        if name not in {"nll", *PAPER}
    },
    "+ all three, fading": Loss(fading(THREE)),
    "Forward KL alone (no data)": Loss(loss(0.0, forward_kl=1.0)),
}
MATCHINGS = {
    "+ ILKD, every step": Loss(by("by_depth", loss(0.9, ilkd=0.1))),
    "+ ILKD, last layer only": Loss(by("last_only", loss(0.9, ilkd=0.1))),
}
"""For images only: vectors have no levels, all student steps are matched anyway, and ILKD of the last one is LKD."""
INHERITED_LOSSES = {
    INHERITED: Loss(inherited(loss(1.0))),
    **{
        f"{name}, inherited": Loss(inherited((PAPER_LOSSES | FURTHER_LOSSES)[name].distillation), INHERITED)
        for name in (
            "+ LKD",
            "+ ILKD",
            "+ all three",
            "+ all three, half of the gradient",
            "+ all three, fading",
            "+ Forward KL",
        )
    },
}


@dataclass(frozen=True)
class Study:
    """Losses of one student, teacher and data set."""

    name: str
    title: str
    preset: str
    losses: dict[str, Loss]
    changes: dict[str, Any] = field(default_factory=dict)

    def experiment(self, name: str, cache: Path) -> ExperimentConfig:
        """Return the experiment of a loss; that of the baseline trains the teacher of all."""
        changes = {
            "name": f"{self.name}: {name}".replace(":", ","),
            "distillation": self.losses[name].distillation,
            "seeds": {"count": SEEDS},
            "compute": {"device": "cpu", "threads": 1},
        }
        config = ExperimentConfig.load(self.preset).replace(**self.changes).replace(**changes)
        training: dict[str, Any] = {"baseline": False}
        if name != BASELINE:
            training["teacher_weights"] = str(self.directory(BASELINE, cache))
        return config.replace(training=training)

    def directory(self, name: str, cache: Path) -> Path:
        """Return the run's directory of a loss."""
        slug = "".join(sign if sign.isalnum() else " " for sign in name.lower()).split()
        return cache / self.name / "-".join(slug)


FEW = {"training": {"student_steps": 600}, "monitor": {"pictures_every": 300}}
MAF = {"kind": "maf", "hidden": 64}
STUDIES = [
    Study("digits", "digits, Glow", "digits", PAPER_LOSSES | FURTHER_LOSSES | MATCHINGS | INHERITED_LOSSES, FEW),
    Study(
        "patches-glow",
        "63-D natural patches, Glow-1D",
        "natural_patches",
        PAPER_LOSSES | FURTHER_LOSSES | INHERITED_LOSSES,
        {"training": {"student_steps": 1200}, "monitor": {"pictures_every": 600}},
    ),
    Study("crops", "3×32×32 natural crops, Glow", "natural_crops", PAPER_LOSSES, FEW),
    Study(
        "patches-maf",
        "63-D natural patches, MAF",
        "natural_patches",
        PAPER_LOSSES | FURTHER_LOSSES,
        {
            "teacher": MAF | {"steps": 9},
            "student": MAF | {"steps": 3},
            "training": {"teacher_steps": 3000, "student_steps": 500, "batch_size": 128, "learning_rate": 2e-3},
            "monitor": {"pictures_every": 200, "sample_count": 16},
        },
    ),
]


# --- training -----------------------------------------------------------------------------------------------------


def exists(config: ExperimentConfig, directory: Path) -> bool:
    """Return whether a run of an experiment exists, finished or not."""
    return is_run(directory) and read_config(directory) == config


def finished(config: ExperimentConfig, directory: Path) -> bool:
    """Return whether a finished run of an experiment exists."""
    return exists(config, directory) and read_state(directory).row.state == "finished"


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
    """Train the missing runs, each study's baseline before its other losses."""
    began = time.perf_counter()
    os.environ["OMP_NUM_THREADS"] = "1"
    waiting: dict[Future[tuple[float, str]], tuple[Study, str]] = {}
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:

        def submit(study: Study, name: str) -> None:
            config, directory = study.experiment(name, cache), study.directory(name, cache)
            if finished(config, directory):
                print(f"{study.name}: {name}: cached", flush=True)
                after(study, name)
            else:
                directory.parent.mkdir(parents=True, exist_ok=True)
                waiting[pool.submit(train, config.to_toml(), directory)] = study, name

        def after(study: Study, name: str) -> None:
            if name == BASELINE:
                for other in study.losses:
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


# --- tables ----------------------------------------------------------------------------------------------------------


def tests_of(record: RunRecord) -> dict[int, float]:
    """Return the student's test figure by seed."""
    return {summary.seed: summary.test for summary in summaries(record, "student")}


def summaries(record: RunRecord, stage: str) -> list[StageSummary]:
    """Return the figures of a stage."""
    return [summary for summary in record.summary if summary.stage == stage]


def format_shares(record: RunRecord) -> str:
    """Return each teacher term's share of the gradient, averaged over the first seed's measurements."""
    curves = record.curves["student"]
    means = {
        name.removeprefix("share/"): float(np.nanmean(curve.values))
        for name, curve in curves.items()
        if name.startswith("share/") and len(curve.values)
    }
    shares = [f"{TERMS[name].label} {share:.0%}" for name, share in means.items() if name != "nll"]
    return ", ".join(shares) or "–"


def table(study: Study, cache: Path) -> Iterator[str]:
    """Yield the lines of a study's table."""
    records = {
        name: open_run(study.directory(name, cache))
        for name in study.losses
        if finished(study.experiment(name, cache), study.directory(name, cache))
    }
    base = records.get(BASELINE)
    if base is None:
        return
    unit = base.row.unit
    yield f"\n**{study.title}.** {describe_roles(base)}\n"
    yield f"| loss | test {unit} | gain over {BASELINE} (95 % interval) | verdict | share of the gradient | C2ST |"
    yield "|---|---:|---|---|---|---:|"
    for name, wanted in study.losses.items():
        if name not in records or wanted.against not in records:
            yield f"| {name} | {unfinished(study.directory(name, cache))} | | | | |"
            continue
        record = records[name]
        found = list(tests_of(record).values())
        quality = format_mean([summary.c2st for summary in summaries(record, "student")])
        gain, verdict = format_verdict(records, name, wanted, unit)
        spread = statistics.stdev(found)
        figure = f"{statistics.mean(found):.4f} ± {spread:.4f}"
        yield f"| {name} | {figure} | {gain} | {verdict} | {format_shares(record)} | {quality} |"


def format_mean(values: list[float]) -> str:
    """Return a mean; a dash if samples were not finite."""
    mean = statistics.mean(values)
    return f"{mean:.3f}" if np.isfinite(mean) else "–"


def unfinished(directory: Path) -> str:
    """Return the state of a run without results."""
    if not is_run(directory):
        return "not trained yet"
    row = read_state(directory).row
    return row.cause if row.state == "failed" else row.state


def format_verdict(records: dict[str, RunRecord], name: str, wanted: Loss, unit: str) -> tuple[str, str]:
    """Return the gain with its interval, and the verdict."""
    if wanted.against == name:
        return "", ""
    pair = tests_of(records[name]), tests_of(records[wanted.against])
    verdict = judge(*pair, metric=METRICS["likelihood"], unit=unit, one_teacher=True)
    beside = "" if wanted.against == BASELINE else f" over {wanted.against}"
    return f"{verdict.difference:+.4f} ({verdict.low:+.4f} to {verdict.high:+.4f}){beside}", verdict.verdict


def describe_roles(base: RunRecord) -> str:
    """Return a description of teacher and student."""
    teacher, student = summaries(base, "teacher")[0], summaries(base, "student")[0]
    quick, slow = (samples_per_second(flow.scaled) for flow in (base.load_student(), base.load_teacher()))
    return (
        f"Teacher: {base.row.teacher}, {teacher.parameters:,} parameters, {teacher.steps:,} steps, test "
        f"{teacher.test:.4f} {teacher.unit}, C2ST {teacher.c2st:.3f}, {slow:,.0f} samples/s. Student: "
        f"{base.row.student}, {student.parameters:,} parameters, {student.steps:,} steps, {quick:,.0f} samples/s."
    )


def main() -> None:
    """Train the missing runs and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("studies", nargs="*", help=f"of {', '.join(study.name for study in STUDIES)} (default: all)")
    parser.add_argument("--cache", type=Path, default=Path("build/distillation"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at the same time, one thread each")
    parser.add_argument("--tables", action="store_true", help="only print the tables of the cache")
    options = parser.parse_args()
    known = {study.name: study for study in STUDIES}
    unknown = [name for name in options.studies if name not in known]
    if unknown:
        parser.error(f"no study {unknown[0]!r}: there are {', '.join(known)}")
    chosen = [known[name] for name in options.studies] or STUDIES
    cache = options.cache.absolute()
    if not options.tables:
        train_all(chosen, cache, options.jobs)
    torch.set_num_threads(1)
    for study in chosen:
        print("\n".join(table(study, cache)))
    if not options.studies:
        print("\n**Throughput**\n")
        for line in ratios():
            print(line, flush=True)


if __name__ == "__main__":
    main()
