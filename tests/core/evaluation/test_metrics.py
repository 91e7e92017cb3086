"""The share of the gap between baseline and teacher that a student closes."""

from __future__ import annotations

import math

import pytest

from nfkd.evaluation.metrics import METRICS, metric_gap
from nfkd.evaluation.verdict import judge, verdict_of
from nfkd.protocol.events import StageSummary
from nfkd.protocol.gap import likelihood_gap
from nfkd.protocol.roles import Role

STUDENT, BASELINE = {1: 2.454, 2: 2.398, 3: 2.426}, {1: 2.609, 2: 2.457, 3: 2.502}
TEACHER = {1: 2.396}
LIKELIHOOD = METRICS["likelihood"]


def test_the_gap_closed_is_a_ratio_of_means() -> None:
    gap = metric_gap(LIKELIHOOD, STUDENT, BASELINE, TEACHER, error=0.02)
    assert gap is not None
    assert gap.closed == pytest.approx((7.568 - 7.278) / (7.568 - 3 * 2.396))
    verdict = judge(STUDENT, BASELINE, metric=LIKELIHOOD, unit="bits/dim", one_teacher=True, gap=gap)
    assert verdict.gap_closed == gap.closed
    assert verdict.summary.startswith(
        "The student closes 76 % of the gap to the teacher (2.426 against 2.523; teacher 2.396). Inconclusive: "
    )


def test_without_a_clearly_better_teacher_there_is_no_gap() -> None:
    gap = metric_gap(LIKELIHOOD, STUDENT, BASELINE, {1: 2.5}, error=0.03)
    assert gap is not None
    assert math.isnan(gap.closed)
    verdict = judge(STUDENT, BASELINE, metric=LIKELIHOOD, unit="bits/dim", one_teacher=True, gap=gap)
    assert math.isnan(verdict.gap_closed)
    assert verdict.summary.startswith(
        "There is no gap: the teacher is not clearly better than the baseline (2.500 against 2.523). "
    )


def test_a_worse_student_closes_none_of_the_gap() -> None:
    gap = metric_gap(LIKELIHOOD, {1: 2.7}, {1: 2.6}, {1: 2.4}, error=0.02)
    assert gap is not None
    assert gap.closed == pytest.approx(-0.5)
    assert "closes none of the gap to the teacher" in gap.summary


def test_teachers_of_other_seeds_and_missing_values_are_left_out() -> None:
    gap = metric_gap(LIKELIHOOD, {1: 2.0}, {1: 3.0}, {1: 1.0, 2: 0.0}, error=0.1)
    assert gap is not None
    assert gap.closed == pytest.approx(0.5)
    shared = metric_gap(LIKELIHOOD, {2: 2.0}, {2: 3.0}, {1: 1.0}, error=0.1)
    assert shared is not None
    assert shared.closed == pytest.approx(0.5)
    assert metric_gap(LIKELIHOOD, {1: math.nan}, {1: 3.0}, {1: 1.0}, error=0.1) is None
    assert metric_gap(LIKELIHOOD, {}, {}, TEACHER, error=0.1) is None


def test_the_gap_of_other_metrics_takes_three_seeds_and_a_teacher_outside_their_interval() -> None:
    student, baseline = {1: 0.043, 2: 0.041, 3: 0.042}, {1: 0.050, 2: 0.049, 3: 0.051}
    metric = METRICS["sw"]
    gap = metric_gap(metric, student, baseline, {1: 0.035})
    assert gap is not None
    assert gap.closed == pytest.approx((0.050 - 0.042) / (0.050 - 0.035))
    close = metric_gap(metric, student, baseline, {1: 0.048})  # half width of the baseline: .0025
    assert close is not None
    assert math.isnan(close.closed)
    assert metric_gap(metric, {1: 0.04}, {1: 0.05}, {1: 0.03}) is None
    recall = metric_gap(METRICS["recall"], {1: 0.7, 2: 0.7, 3: 0.7}, {1: 0.6, 2: 0.6, 3: 0.6}, {1: 0.8})
    assert recall is not None
    assert recall.closed == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["same_noise", "samples_per_second"])
def test_metrics_without_a_goal_have_no_gap(name: str) -> None:
    teacher = {1: math.nan if name == "same_noise" else 1000.0}
    assert metric_gap(METRICS[name], STUDENT, BASELINE, teacher, error=0.0) is None


def summary(stage: Role, seed: int, test: float, error: float) -> StageSummary:
    return StageSummary(
        stage=stage, seed=seed, parameters=1, multiply_adds=1, steps=1, best_step=1, validation=test, test=test,
        test_error=error, unit="nats", samples_per_second=1.0, seconds=1.0, sw=test / 100,
    )  # fmt: skip


def test_a_seed_that_waits_for_its_baseline_does_not_count_for_the_likelihood_gap() -> None:
    values: dict[Role, dict[int, float]] = {
        "teacher": {1: 1.0, 2: 0.0},
        "student": {1: 2.0, 2: 9.0},
        "baseline": {1: 3.0},
    }
    summaries = [summary(role, seed, test, 0.02) for role, row in values.items() for seed, test in row.items()]
    gap = likelihood_gap(summaries)
    assert gap is not None
    assert gap.closed == pytest.approx(0.5)
    assert gap.means == {"teacher": 1.0, "student": 2.0, "baseline": 3.0}
    assert gap.closed == verdict_of(summaries, "likelihood", one_teacher=True).gap_closed
    uncertain_student = [summary(s.stage, s.seed, s.test, 5.0 if s.stage == "student" else 0.02) for s in summaries]
    assert likelihood_gap(uncertain_student) == gap


def test_a_verdict_has_the_gap_of_each_metric() -> None:
    values: dict[Role, dict[int, float]] = {"teacher": TEACHER, "student": STUDENT, "baseline": BASELINE}
    summaries = [summary(role, seed, test, 0.02) for role, row in values.items() for seed, test in row.items()]
    verdict = verdict_of(summaries, "likelihood", one_teacher=True)
    expected = (7.568 - 7.278) / (7.568 - 3 * 2.396)
    assert verdict.gap_closed == pytest.approx(expected)
    (sliced,) = [other for other in verdict.others if other.metric == "sliced Wasserstein distance"]
    assert math.isnan(sliced.gap_closed)  # the half width over the seeds of the baseline is larger than the gap
    uncertain = [summary(role, seed, test, 0.2) for role, row in values.items() for seed, test in row.items()]
    verdict = verdict_of(uncertain, "sw", one_teacher=True)
    assert [math.isnan(other.gap_closed) for other in verdict.others] == [True, True]
    assert verdict.metric == "sliced Wasserstein distance"
