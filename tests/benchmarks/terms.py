"""Studies of single terms of the loss: each on real data, with the same student without a teacher beside it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nfkd.config import TERMS
from nfkd.evaluation.metrics import METRICS
from nfkd.evaluation.throughput import samples_per_second
from nfkd.evaluation.verdict import judge
from nfkd.runs.reader import RunRecord, open_run
from tests.benchmarks.studies import BASELINE, Row, Study, fading, loss, summaries, unfinished, values_of

PAPER = ("lkd", "ilkd", "skd")


def inherited(distillation: dict[str, Any]) -> dict[str, Any]:
    """Return the same for a student that starts with its teacher's channel mixing."""
    return distillation | {"inherit": "mixing"}


def by(strategy: str, distillation: dict[str, Any]) -> dict[str, Any]:
    """Return the same with another matching of layers."""
    return distillation | {"matching": {"strategy": strategy}}


THREE = loss(0.85, lkd=0.05, ilkd=0.05, skd=0.05)
INHERITED = "NLL alone, inherited"
PAPER_LOSSES = {
    BASELINE: Row(loss(1.0)),
    "+ LKD": Row(loss(0.9, lkd=0.1)),
    "+ ILKD": Row(loss(0.9, ilkd=0.1)),
    "+ SKD": Row(loss(0.9, skd=0.1)),
    "+ all three": Row(THREE),
}
FURTHER_LOSSES = {
    "+ all three, half of the gradient": Row(loss(0.5, balanced=True, **dict.fromkeys(PAPER, 1 / 6))),
    **{
        f"+ {TERMS[name].label}": Row(loss(0.9, balanced=True, **{name: 0.1}))
        for name in TERMS
        if name not in {"nll", *PAPER}
    },
    "+ all three, fading": Row(fading(THREE)),
    "Forward KL alone (no data)": Row(loss(0.0, forward_kl=1.0)),
}
MATCHINGS = {
    "+ ILKD, every step": Row(by("by_depth", loss(0.9, ilkd=0.1))),
    "+ ILKD, last layer only": Row(by("last_only", loss(0.9, ilkd=0.1))),
}
"""For images only: vectors have no levels, all student steps are matched anyway, and ILKD of the last one is LKD."""
INHERITED_LOSSES = {
    INHERITED: Row(inherited(loss(1.0))),
    **{
        f"{name}, inherited": Row(inherited((PAPER_LOSSES | FURTHER_LOSSES)[name].distillation), INHERITED)
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


FEW = {"training": {"student_steps": 600}, "monitor": {"pictures_every": 300}}
MAF = {"kind": "maf", "hidden": 64}
STUDIES = [
    Study("digits", "digits, Glow", "digits_paper", PAPER_LOSSES | FURTHER_LOSSES | MATCHINGS | INHERITED_LOSSES, FEW),
    Study(
        "patches-glow",
        "63-D natural patches, Glow-1D",
        "natural_patches_paper",
        PAPER_LOSSES | FURTHER_LOSSES | INHERITED_LOSSES,
        {"training": {"student_steps": 1200}, "monitor": {"pictures_every": 600}},
    ),
    Study("crops", "3×32×32 natural crops, Glow", "natural_crops", PAPER_LOSSES, FEW),
    Study(
        "patches-maf",
        "63-D natural patches, MAF",
        "natural_patches_paper",
        PAPER_LOSSES | FURTHER_LOSSES,
        {
            "teacher": MAF | {"steps": 9},
            "student": MAF | {"steps": 3},
            "training": {"teacher_steps": 3000, "student_steps": 500, "batch_size": 128, "learning_rate": 2e-3},
            "monitor": {"pictures_every": 200, "sample_count": 16},
        },
    ),
]


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
    records = {name: open_run(study.directory(name, cache)) for name in study.rows if study.finished(name, cache)}
    base = records.get(BASELINE)
    if base is None:
        return
    unit = base.row.unit
    yield f"\n**{study.title}.** {describe_roles(base)}\n"
    yield f"| loss | test {unit} | gain over {BASELINE} (95 % interval) | verdict | share of the gradient | C2ST |"
    yield "|---|---:|---|---|---|---:|"
    for name, wanted in study.rows.items():
        if name not in records or wanted.against not in records:
            yield f"| {name} | {unfinished(study.directory(name, cache))} | | | | |"
            continue
        record = records[name]
        found = list(values_of(record, "test").values())
        quality = format_mean([summary.c2st for summary in summaries(record, "student")])
        gain, verdict = format_verdict(records, name, wanted, unit)
        spread = statistics.stdev(found)
        figure = f"{statistics.mean(found):.4f} ± {spread:.4f}"
        yield f"| {name} | {figure} | {gain} | {verdict} | {format_shares(record)} | {quality} |"


def format_mean(values: list[float]) -> str:
    """Return a mean; a dash if samples were not finite."""
    mean = statistics.mean(values)
    return f"{mean:.3f}" if np.isfinite(mean) else "–"


def format_verdict(records: dict[str, RunRecord], name: str, wanted: Row, unit: str) -> tuple[str, str]:
    """Return the gain with its interval, and the verdict."""
    if wanted.against == name:
        return "", ""
    pair = values_of(records[name], "test"), values_of(records[wanted.against], "test")
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
