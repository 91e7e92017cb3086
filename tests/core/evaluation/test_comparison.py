"""Runs side by side: differing settings, means with Student's t, and differences paired by seed, against SciPy."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import nfkd
from nfkd.evaluation.comparison import ComparedRun, DifferentDataError, compare_runs
from nfkd.protocol.records import StageSummary
from tests.core.tiny import moons

SETTINGS: dict[str, Any] = {
    "name": "x",
    "data.kind": "digits",
    "data.count": 9.0,
    "student.hidden": 8.0,
    "seeds.count": 3.0,
}


def summary(stage: Any, seed: int, test: float, **figures: Any) -> StageSummary:
    fields: dict[str, Any] = {
        "stage": stage, "seed": seed, "parameters": 10, "multiply_adds": 20, "steps": 5, "best_step": 5,
        "validation": test, "test": test, "test_error": 0.01, "unit": "bits/dim", "samples_per_second": 100.0 + seed,
        "seconds": 1.0,
    }  # fmt: skip
    return StageSummary(**fields | figures)


def run(name: str, tests: dict[int, float], settings: dict[str, Any] | None = None, **figures: Any) -> ComparedRun:
    summaries = [summary("student", seed, test, **figures) for seed, test in tests.items()]
    return ComparedRun(name, SETTINGS | (settings or {}), summaries)


FIRST = {1: 2.51, 2: 2.48, 3: 2.55, 4: 2.50}
OTHER = {1: 2.41, 2: 2.36, 3: 2.47, 5: 2.0}


def test_means_and_differences_are_those_of_scipy() -> None:
    row = compare_runs([run("a", FIRST), run("b", OTHER)]).metrics[0]
    values = list(FIRST.values())
    interval = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    assert (row.means[0].value, row.means[0].seeds) == (pytest.approx(np.mean(values)), 4)
    assert row.means[0].half == pytest.approx((interval[1] - interval[0]) / 2)
    paired = stats.ttest_rel([OTHER[seed] for seed in (1, 2, 3)], [FIRST[seed] for seed in (1, 2, 3)])
    low, high = paired.confidence_interval(0.95)
    difference = row.differences[1]
    assert row.differences[0] is None
    assert difference is not None
    assert difference.mean.value == pytest.approx((low + high) / 2)
    assert difference.mean.half == pytest.approx((high - low) / 2)
    assert (difference.mean.seeds, difference.outcome) == (3, "better")


@pytest.mark.parametrize(
    ("other", "outcome"),
    [
        ({1: 2.61, 2: 2.59, 3: 2.64}, "worse"),
        ({1: 2.61, 2: 2.36, 3: 2.56}, "no difference"),
        ({1: 2.0, 2: 2.0}, ""),
        ({1: 2.0}, ""),
    ],
)
def test_an_outcome_needs_three_common_seeds_and_an_interval_without_zero(
    other: dict[int, float], outcome: str
) -> None:
    difference = compare_runs([run("a", FIRST), run("b", other)]).metrics[0].differences[1]
    assert difference is not None
    assert difference.outcome == outcome


def test_no_outcome_in_most_null_experiments() -> None:
    rng, outcomes = np.random.default_rng(0), []
    for _ in range(400):
        first, other = (dict(enumerate(rng.normal(2.5, 0.1, 4).tolist())) for _ in range(2))
        difference = compare_runs([run("a", first), run("b", other)]).metrics[0].differences[1]
        outcomes.append(difference is not None and difference.outcome != "no difference")
    low, high = stats.binom.interval(0.999, 400, 0.05)
    assert low <= sum(outcomes) <= high, "the interval holds 95 %"


def test_larger_is_better_where_the_metric_says_so() -> None:
    metrics = compare_runs([run("a", FIRST, recall=0.5), run("b", FIRST, recall=0.9)]).metrics
    recall = next(row for row in metrics if row.metric.figure == "recall").differences[1]
    assert recall is not None
    assert recall.outcome == "better"


def test_only_settings_that_differ_are_listed() -> None:
    comparison = compare_runs([
        run("a", FIRST), run("b", OTHER, {"name": "y", "student.hidden": 16.0, "seeds.count": 5.0}),
        run("c", OTHER, {"student.bins": 4.0}),
    ])  # fmt: skip
    assert comparison.settings == {"student.hidden": [8.0, 16.0, 8.0], "student.bins": [None, None, 4.0]}
    assert comparison.sizes == {"parameters": [10.0] * 3, "multiply_adds": [20.0] * 3}
    assert comparison.names == ["a", "b", "c"]


def test_the_gap_is_that_of_each_run() -> None:
    flows = [summary("teacher", 1, 2.0), summary("student", 1, 2.25), summary("baseline", 1, 3.0)]
    comparison = compare_runs([ComparedRun("a", SETTINGS, flows), run("b", OTHER)])
    assert comparison.gaps[0] == pytest.approx(0.75)
    assert math.isnan(comparison.gaps[1])


def test_a_figure_that_no_run_has_is_left_out_and_one_that_a_run_lacks_is_empty() -> None:
    comparison = compare_runs([run("a", FIRST), run("b", FIRST, c2st=0.6)])
    figures = {row.metric.figure: row for row in comparison.metrics}
    assert "fd" not in figures
    assert figures["c2st"].means[0].seeds == 0
    assert figures["c2st"].differences == [None, None]


def test_runs_of_different_data_are_refused_with_the_setting() -> None:
    with pytest.raises(DifferentDataError, match=r"a has data\.count = 9, b has 7: their figures cannot be"):
        compare_runs([run("a", FIRST), run("b", OTHER, {"data.count": 7.0})])


def known(name: str, fingerprint: str, path: str) -> ComparedRun:
    return replace(run(name, FIRST, {"data.path": path}), fingerprint=fingerprint)


def test_the_values_of_files_are_compared_and_not_their_places() -> None:
    same = compare_runs([known("a", "1", "/here/x.csv"), known("b", "1", "/there/x.csv")])
    assert same.names == ["a", "b"]
    with pytest.raises(DifferentDataError, match="a and b have the same settings, but their data had other values"):
        compare_runs([known("a", "1", "/here/x.csv"), known("b", "2", "/here/x.csv")])
    with pytest.raises(DifferentDataError, match=r"data\.path = '/here/x.csv', b has '/there/x.csv'"):
        compare_runs([known("a", "", "/here/x.csv"), known("b", "1", "/there/x.csv")])


def test_the_fingerprint_is_read_from_a_run(tmp_path: Path) -> None:
    for name, count in (("a", 40), ("b", 41)):
        np.savetxt(tmp_path / "x.csv", np.random.default_rng(count).normal(size=(200, 2)), delimiter=",", header="u,v")
        training = {"teacher_steps": 2, "student_steps": 2, "batch_size": 16, "baseline": False}
        nfkd.run(moons(data={"kind": "table", "path": str(tmp_path / "x.csv")}, training=training), tmp_path / name)
    runs = [ComparedRun.read(tmp_path / name) for name in ("a", "b")]
    with pytest.raises(DifferentDataError, match="a and b have the same settings"):
        compare_runs(runs)
