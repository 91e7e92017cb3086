"""Studies of students that sample faster than their teacher, a TarFlow: what they gain from it, and how fast they are.

A row is compared with the same student without a teacher: the same flow, steps, order of data and first weights.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from nfkd.config import ExperimentConfig
from nfkd.data import load_dataset
from nfkd.evaluation.metrics import METRICS
from nfkd.evaluation.verdict import judge
from nfkd.runs.reader import RunRecord, open_run
from tests.benchmarks.recipes import SEEDS, gap, recipe, share_closed, short, with_gap
from tests.benchmarks.studies import BASELINE, Row, Study, summaries, unfinished, values_of
from tests.benchmarks.throughput import draw, initialised, rounds

BATCHES = (16, 256)
FASTER, LIKELIHOOD, FD = 5.0, 0.4, 0.25
"""The goal: times the teacher's speed at both batches, and shares of the gaps that are closed."""


@dataclass(frozen=True)
class Student:
    """A student and its training, the same with and without a teacher.

    Attributes
    ----------
    name
        In the table.
    recipes
        By name.
    flow, training
        What differs from the study's experiment.
    """

    name: str
    recipes: dict[str, Row]
    flow: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


def rows_of(*students: Student) -> dict[str, Row]:
    """Return the rows of all students: each without a teacher, and with its recipes.

    The first row is `BASELINE`, the first student without a teacher.
    """
    found = dict[str, Row]()
    for student in students:
        alone = f"{student.name}: {BASELINE}" if found else BASELINE
        rows = {alone: recipe()} | {f"{student.name}: {key}": row for key, row in student.recipes.items()}
        for name, row in rows.items():
            training = row.training | student.training
            found[name] = replace(row, against=alone, student=student.flow, training=training)
    return found


POOL = {"pool 0.5": recipe(share=0.5)}
MANY = {"pool 0.8": recipe(share=0.8)}
FEW = {"student_examples": 100, "student_steps": 400, "weight_decay": 0.1}
"""As in the preset ``digits_few``."""
JET = {"kind": "jet", "patch": 4, "steps": 8, "hidden": 64, "depth": 1, "scale": "exponential"}
SMALLER = {"kind": "tarflow", "patch": 4, "steps": 4, "hidden": 64, "depth": 1}
STUDIES = [
    Study(
        "students-digits",
        "digits, TarFlow 4×2",
        "tarflow_digits",
        rows_of(
            Student("Glow 2×2", POOL),
            Student("Glow 4×2", POOL, {"steps": 4}),
            Student("Jet 8", POOL, JET),
            Student("TarFlow 4×1", POOL, SMALLER),
            Student("Glow 2×2, 100 examples", MANY, training=FEW),
        ),
        {
            "data": {"class_labels": False},
            "training": {"student_examples": 0, "student_steps": 1000, "weight_decay": 0.5},
        },
        seeds=SEEDS,
    ),
    Study(
        "students-digits-by-class",
        "digits by class, TarFlow 4×2",
        "tarflow_digits",
        rows_of(
            Student("Glow 2×2, 100 examples", MANY, training=FEW),
            Student("Jet 8, 100 examples", MANY, JET, FEW),
            Student("TarFlow 4×1, 100 examples", MANY, SMALLER, FEW),
        ),
        seeds=SEEDS,
    ),
    Study(
        "students-crops",
        "3×32×32 natural crops, TarFlow 4×2 with patches of 4×4",
        "tarflow_crops",
        rows_of(
            Student("Glow 3×3, 200 examples", MANY),
            Student("Glow 2×3, 200 examples", MANY, {"steps": 2, "hidden": 32}),
            Student("Jet 4, 200 examples", MANY, JET | {"patch": 8, "steps": 4}),
            Student("TarFlow 4×1, 200 examples", MANY, SMALLER | {"patch": 8}),
            Student("Glow 3×3", POOL, training={"student_examples": 0}),
        ),
        seeds=SEEDS,
    ),
]


@dataclass(frozen=True)
class Speed:
    """Samples per second of CPU time, by batch, and how many times as fast as the teacher that is."""

    parameters: int
    samples: dict[int, float]
    times: dict[int, float]


def speeds(config: ExperimentConfig, students: Mapping[str, ExperimentConfig]) -> dict[str, Speed]:
    """Measure students beside their teacher, in turn on one thread; the teacher, named ``teacher``, comes first.

    The cost does not depend on the weights, so the flows are only initialised. The teacher samples exactly, with its
    cache of keys and values.
    """
    shape = load_dataset(config.data).event_shape
    teacher, found = initialised(config.teacher, shape), dict[str, Speed]()
    for name, student in students.items():
        flow = initialised(student.student, shape)
        pairs = {count: rounds(partial(draw, count=count), teacher, flow) for count in BATCHES}
        if not found:
            slow = {count: count / statistics.median(own for own, _ in pair) for count, pair in pairs.items()}
            found["teacher"] = Speed(
                sum(each.numel() for each in teacher.parameters()), slow, dict.fromkeys(BATCHES, 1.0)
            )
        found[name] = Speed(
            sum(each.numel() for each in flow.parameters()),
            {count: count / statistics.median(own for _, own in pair) for count, pair in pairs.items()},
            {count: statistics.median(slow / own for slow, own in pair) for count, pair in pairs.items()},
        )
    return found


def table(study: Study, cache: Path) -> Iterator[str]:
    """Yield the lines of a study's tables: speeds, and recipes."""
    records = {name: open_run(study.directory(name, cache)) for name in study.rows if study.finished(name, cache)}
    if BASELINE not in records:
        return
    base = records[BASELINE]
    teacher = summaries(base, "teacher")[0]
    alone = list(dict.fromkeys(row.against for row in study.rows.values()))
    found = speeds(base.config, {name: study.experiment(name, cache) for name in alone})
    names = {name: label(study, name) for name in study.rows}
    yield f"\n**{study.title}.** Teacher: {base.row.teacher}, {teacher.steps:,} steps.\n"
    yield from speed_table({names.get(name, name).removesuffix(f": {BASELINE}"): each for name, each in found.items()})
    yield ""
    yield (
        f"| student | test {base.row.unit} | gap closed | gain (95 % interval) | verdict | FD-local (gap closed) | "
        "verdict | SW | precision, recall | times as fast, batch 16, 256 |"
    )
    yield "|---|---:|---:|---|---|---:|---|---:|---|---:|"
    for name, row in study.rows.items():
        if name in records and row.against in records:
            yield f"| {names[name]} | " + " | ".join(cells(name, row, records, found[row.against])) + " |"
        else:
            yield f"| {names[name]} | {unfinished(study.directory(name, cache))} |" + " |" * 8
    figures = [short(value) for value in (teacher.test, teacher.fd, teacher.sw, teacher.precision, teacher.recall)]
    yield "| *teacher* | {} | | | | {} | | {} | {}, {} | 1, 1 |".format(*figures)
    reached = [name for name, row in study.rows.items() if name in records and reaches(name, row, records, found)]
    goal = f"At least {FASTER:g} times as fast, {LIKELIHOOD:.0%} and {FD:.0%} of the gaps"
    yield f"\n{goal}: {', '.join(reached) or 'none'}."


def label(study: Study, name: str) -> str:
    """Return a row's name with its student, which the name of the first row lacks."""
    first = next(other for other, row in study.rows.items() if row.against == BASELINE != other)
    return f"{first.rpartition(': ')[0]}: {name}" if name == BASELINE else name


def speed_table(found: Mapping[str, Speed]) -> Iterator[str]:
    """Yield the lines of the table of speeds."""
    yield "| flow | parameters | samples/s, batch 16 | times the teacher | samples/s, batch 256 | times the teacher |"
    yield "|---|---:|---:|---:|---:|---:|"
    for name, speed in found.items():
        measured = " | ".join(f"{speed.samples[count]:,.0f} | {speed.times[count]:.1f}" for count in BATCHES)
        yield f"| {name} | {speed.parameters:,} | {measured} |"


def cells(name: str, row: Row, records: Mapping[str, RunRecord], speed: Speed) -> list[str]:
    """Return a row of the table of recipes, without its name."""
    record, base, teacher = records[name], records[row.against], records[BASELINE]
    tests = list(values_of(record, "test").values())
    means = {
        measure: statistics.mean(values_of(record, measure).values()) for measure in ("fd", "sw", "precision", "recall")
    }
    own = record is base
    verdicts = {
        metric: judge(
            values_of(record, METRICS[metric].figure),
            values_of(base, METRICS[metric].figure),
            metric=METRICS[metric],
            unit=base.row.unit,
            one_teacher=True,
        )
        for metric in ("likelihood", "fd")
    }
    gain = verdicts["likelihood"]
    spread = f" ± {statistics.stdev(tests):.4f}" if len(tests) > 1 else ""
    return [
        f"{statistics.mean(tests):.4f}{spread}",
        "" if own else gap(record, base, "likelihood", teacher),
        "" if own else f"{gain.difference:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})",
        "" if own else gain.verdict,
        with_gap(means["fd"], record, base, "fd", teacher),
        "" if own else verdicts["fd"].verdict,
        short(means["sw"]),
        f"{short(means['precision'])}, {short(means['recall'])}",
        ", ".join(f"{speed.times[count]:.1f}" for count in BATCHES),
    ]


def reaches(name: str, row: Row, records: Mapping[str, RunRecord], found: Mapping[str, Speed]) -> bool:
    """Return whether a student reaches the goal."""
    if name == row.against:
        return False
    pair, teacher = (records[name], records[row.against]), records[BASELINE]
    closed = {metric: share_closed(*pair, metric, teacher) for metric in ("likelihood", "fd")}
    fast = min(found[row.against].times.values()) >= FASTER
    return fast and closed["likelihood"] >= LIKELIHOOD and closed["fd"] >= FD
