"""Studies of recipes: pool, inheritance and terms together, and the share of the gap to the teacher that they close."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from nfkd.config import ExperimentConfig
from nfkd.evaluation.metrics import METRICS, metric_gap
from nfkd.evaluation.verdict import judge
from nfkd.runs.reader import RunRecord, open_run
from tests.benchmarks.costs import Cost, read_costs
from tests.benchmarks.studies import BASELINE, Row, Study, fading, loss, summaries, unfinished, values_of

SEEDS = 5
ADAM = "NLL alone, Adam"
EQUAL_TIME = ", same time as its baseline"
MEASURES = ("fd", "sw", "c2st", "precision", "recall")


def recipe(
    weights: Mapping[str, float] = MappingProxyType({}),
    *,
    share: float = 0.0,
    inherit: str = "none",
    normalize: bool = False,
) -> Row:
    """Return a row with a pool, inheritance and teacher's terms; NLL has the rest of the weight."""
    table = loss(1 - sum(weights.values()), balanced=False, **weights)
    if normalize:
        table |= {name: table[name] | {"normalize": True} for name in weights}
    return Row(table | {"pool": {"share": share}, "inherit": inherit})


LATENTS = {"lkd": 0.05, "ilkd": 0.05}
PLAIN = {BASELINE: recipe()}
BASELINES = PLAIN | {ADAM: replace(recipe(), training={"optimizer": "adam"})}
"""Where the preset has AdamW with the weight decay that is best on validation data."""
DECAYED = PLAIN | {
    f"NLL alone, AdamW, decay {decay:g}": replace(
        recipe(), training={"optimizer": "adamw", "weight_decay": decay, "teacher_optimizer": "adam"}
    )
    for decay in (0.1, 0.5)
}
"""Where Adam is best."""


def few(share: float) -> dict[str, Row]:
    """Return the rows for students with few examples."""
    return BASELINES | {
        "LKD + ILKD": recipe(LATENTS),
        f"pool {share:g}": recipe(share=share),
        f"blocks + pool {share:g}": recipe(share=share, inherit="blocks"),
        f"pool {share:g} + LKD + ILKD": recipe(LATENTS, share=share),
        "pool 1 (no real data)": recipe(share=1.0),
    }


ALL_DATA = BASELINES | {
    "LKD + ILKD": recipe(LATENTS),
    "pool 0.5": recipe(share=0.5),
    "pool 0.5 + LKD + ILKD": recipe(LATENTS, share=0.5),
    "pool 0.5 + normalised LKD + ILKD": recipe(LATENTS, share=0.5, normalize=True),
    "blocks + pool 0.5": recipe(share=0.5, inherit="blocks"),
    "blocks + pool 0.5 + LKD + ILKD": recipe(LATENTS, share=0.5, inherit="blocks"),
}
ON_DIGITS = {
    "mixing + pool 0.5 + LKD + ILKD": recipe(LATENTS, share=0.5, inherit="mixing"),
    "pool 0.3 + LKD + ILKD": recipe(LATENTS, share=0.3),
    "pool 0.7 + LKD + ILKD": recipe(LATENTS, share=0.7),
    "pool 0.5 + LKD + ILKD, fading": Row(fading(recipe(LATENTS, share=0.5).distillation)),
    "LKD + ILKD without NLL": recipe({"lkd": 0.5, "ilkd": 0.5}),
}
PINWHEEL = {name: row for name, row in few(0.9).items() if "blocks" not in name} | {
    "LKD + ILKD + SKD": recipe(LATENTS | {"skd": 0.05}),
}
"""Without blocks: the student is an NSF of another width."""
PATCHES = DECAYED | {
    "LKD + ILKD": recipe(LATENTS),
    "normalised LKD + ILKD": recipe(LATENTS, normalize=True),
    "normalised LKD + ILKD, a tenth of the weights": recipe({"lkd": 0.005, "ilkd": 0.005}, normalize=True),
    "LKD + ILKD, fading": Row(fading(recipe(LATENTS).distillation)),
    "pool 0.2": recipe(share=0.2),
    "pool 0.5": recipe(share=0.5),
    "mixing": recipe(inherit="mixing"),
    "blocks": recipe(inherit="blocks"),
    "blocks + pool 0.2": recipe(share=0.2, inherit="blocks"),
    "mixing + LKD + ILKD, fading": Row(fading(recipe(LATENTS, inherit="mixing").distillation)),
}
CROPS = DECAYED | {
    "LKD + ILKD": recipe(LATENTS),
    "pool 0.5": recipe(share=0.5),
    "blocks + pool 0.5": recipe(share=0.5, inherit="blocks"),
}
MAF = {"kind": "maf", "hidden": 64}
ON_MAF = {
    name: PATCHES[name] for name in (BASELINE, "NLL alone, AdamW, decay 0.1", "pool 0.2", "blocks", "blocks + pool 0.2")
}
ON_LONGER = {name: PATCHES[name] for name in (*DECAYED, "LKD + ILKD, fading", "pool 0.2", "mixing", "blocks")}
LONGER = {"training": {"student_steps": 3600}}
STUDIES = [
    Study(
        "recipes-digits",
        "digits, Glow 8×2 → 2×2",
        "digits",
        ALL_DATA | ON_DIGITS,
        seeds=SEEDS,
        timed=("pool 0.5", "pool 0.3 + LKD + ILKD", "pool 0.5 + LKD + ILKD", "LKD + ILKD"),
    ),
    Study(
        "recipes-digits-half",
        "digits, Glow 8×2 → 4×2",
        "digits_half",
        ALL_DATA,
        seeds=SEEDS,
        timed=("blocks + pool 0.5",),
    ),
    Study(
        "recipes-digits-few",
        "100 examples of digits, Glow 8×2 → 2×2",
        "digits_few",
        few(0.8),
        seeds=SEEDS,
        timed=("blocks + pool 0.8",),
    ),
    Study(
        "recipes-pinwheel-few",
        "100 points of pinwheel, NSF 6 → 2",
        "pinwheel_few",
        PINWHEEL,
        seeds=SEEDS,
        timed=("pool 0.9",),
    ),
    Study(
        "recipes-patches-few",
        "500 natural patches, Glow-1D 5 → 2",
        "natural_patches",
        few(0.8),
        seeds=SEEDS,
        timed=("blocks + pool 0.8",),
    ),
    Study(
        "recipes-patches",
        "14,000 natural patches, Glow-1D 5 → 2",
        "natural_patches_all",
        PATCHES,
        seeds=SEEDS,
        timed=("blocks",),
    ),
    Study(
        "recipes-patches-longer",
        "14,000 natural patches, Glow-1D 5 → 2, three times the steps",
        "natural_patches_all",
        ON_LONGER,
        LONGER,
        seeds=SEEDS,
    ),
    Study(
        "recipes-patches-maf",
        "14,000 natural patches, MAF 9 → 3",
        "natural_patches_all",
        ON_MAF,
        {
            "teacher": MAF | {"steps": 9},
            "student": MAF | {"steps": 3},
            "training": {"student_steps": 500, "batch_size": 128},
            "monitor": {"pictures_every": 200, "sample_count": 16},
        },
        seeds=SEEDS,
    ),
    Study(
        "recipes-crops",
        "3×32×32 natural crops, Glow 6×3 → 2×3",
        "natural_crops",
        CROPS,
        seeds=SEEDS,
        timed=("blocks + pool 0.5",),
    ),
]


def with_equal_time(study: Study, cache: Path) -> Study:
    """Return the study with each timed row again, for as much time as its baseline takes."""
    costs, rows = read_costs(study, cache), dict(study.rows)
    for name, cost in costs.items():
        row, fewer = study.rows[name], {"student_steps": cost.equal_steps}
        rows[name + EQUAL_TIME] = replace(row, training=row.training | fewer)
    return replace(study, rows=rows)


def table(study: Study, cache: Path) -> Iterator[str]:
    """Yield the lines of a study's table."""
    study = with_equal_time(study, cache)
    records = {name: open_run(study.directory(name, cache)) for name in study.rows if study.finished(name, cache)}
    if BASELINE not in records:
        return
    base, costs, other = records[BASELINE], read_costs(study, cache), list(study.rows)[1]
    yield f"\n**{study.title}.** {describe_roles(base)}\n"
    yield (
        f"| recipe | test {base.row.unit} | gap closed | against {other} | gain (95 % interval) | verdict | FD-local "
        "| SW | C2ST | precision, recall | cost |"
    )
    yield "|---|---:|---:|---:|---|---|---:|---:|---:|---|---:|"
    for name in study.rows:
        if name not in records:
            yield f"| {name} | {unfinished(study.directory(name, cache))} |" + " |" * 9
            continue
        yield "| " + " | ".join(cells(name, records, costs, other)) + " |"
    teacher = summaries(base, "teacher")
    figures = [statistics.mean(getattr(found, measure) for found in teacher) for measure in ("test", *MEASURES)]
    test, fd, sw, c2st, precision, recall = (short(figure) for figure in figures)
    yield f"| *teacher* | {test} | | | | | {fd} | {sw} | {c2st} | {precision}, {recall} | |"


def cells(name: str, records: Mapping[str, RunRecord], costs: Mapping[str, Cost], other: str) -> list[str]:
    """Return a row of the table; `other` names the second baseline."""
    base, record = records[BASELINE], records[name]
    tests = list(values_of(record, "test").values())
    verdict = judge(
        values_of(record, "test"),
        values_of(base, "test"),
        metric=METRICS["likelihood"],
        unit=base.row.unit,
        one_teacher=True,
    )
    own = name == BASELINE
    gain = f"{verdict.difference:+.4f} ({verdict.low:+.4f} to {verdict.high:+.4f})"
    values = {measure: statistics.mean(values_of(record, measure).values()) for measure in MEASURES}
    return [
        name,
        f"{statistics.mean(tests):.4f} ± {statistics.stdev(tests):.4f}",
        "" if own else gap(record, base, "likelihood"),
        gap(record, records[other], "likelihood") if other in records and name != other else "",
        "" if own else gain,
        "" if own else verdict.verdict,
        with_gap(values["fd"], record, base, "fd"),
        with_gap(values["sw"], record, base, "sw"),
        short(values["c2st"]),
        f"{short(values['precision'])}, {short(values['recall'])}",
        "1" if own else f"{costs[name].step:.2f}" if name in costs else "",
    ]


def gap(record: RunRecord, base: RunRecord, metric: str, teacher: RunRecord | None = None) -> str:
    """Return the share of the gap between another run's student and the teacher that a student closes."""
    closed = share_closed(record, base, metric, teacher)
    return "none" if math.isnan(closed) else f"{closed:.0%}".replace("-", "−")


def share_closed(record: RunRecord, base: RunRecord, metric: str, teacher: RunRecord | None = None) -> float:
    """Return the same as a number; NaN if the teacher is not clearly better than the other run's student.

    `teacher` is the run with the teacher's figures: where it is None, the other run if it has them, else the student's.
    """
    figure = METRICS[metric].figure
    teacher = teacher or (base if summaries(base, "teacher") else record)
    errors = [found.test_error for found in (*summaries(teacher, "teacher"), *summaries(base, "student"))]
    closed = metric_gap(
        METRICS[metric],
        values_of(record, figure),
        values_of(base, figure),
        values_of(teacher, figure, "teacher"),
        error=max(errors) if figure == "test" else None,
    )
    return closed.closed if closed is not None and closed.defined else math.nan


def with_gap(value: float, record: RunRecord, base: RunRecord, metric: str, teacher: RunRecord | None = None) -> str:
    """Return a measure and, except for the baseline, the share of its gap that is closed."""
    if math.isnan(value):
        return "–"
    return short(value) if record is base else f"{short(value)} ({gap(record, base, metric, teacher)})"


def short(value: float) -> str:
    """Return a value with four digits; a dash where it is not finite."""
    return f"{value:.4g}".replace("-", "−") if math.isfinite(value) else "–"


def describe_roles(base: RunRecord) -> str:
    """Return a description of teacher, student and budget."""
    teacher, student, config = summaries(base, "teacher")[0], summaries(base, "student")[0], base.config
    return (
        f"Teacher: {base.row.teacher}, {teacher.parameters:,} parameters, {teacher.steps:,} steps. Student: "
        f"{base.row.student}, {student.parameters:,} parameters, {student.steps:,} steps, {optimizer(config)}."
    )


def optimizer(config: ExperimentConfig) -> str:
    """Return the optimizer of a run and its settings."""
    training = config.training
    decay = f", weight decay {training.weight_decay:g}" if training.optimizer == "adamw" else ""
    return f"{training.optimizer}, rate {training.learning_rate:g}{decay}"
