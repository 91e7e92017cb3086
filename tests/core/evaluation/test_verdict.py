"""The verdict: a paired Student-t interval, and how often it is wrong when nothing is there."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
from scipy import stats

from nfkd.config import SeedsConfig
from nfkd.evaluation.verdict import METRICS, interval_of, judge
from nfkd.evaluation.verdict import verdict_of as whole_verdict
from nfkd.protocol.events import StageSummary
from nfkd.protocol.roles import Role

LIKELIHOOD = METRICS["likelihood"]


def verdict_of(student: list[float], baseline: list[float], **changes: object):
    named = {"metric": LIKELIHOOD, "unit": "bits/dim", "one_teacher": True} | changes
    return judge(dict(enumerate(student)), dict(enumerate(baseline)), **named)  # type: ignore[arg-type]


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_false_claims_stay_at_five_percent_when_nothing_is_there(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    rounds = 4000
    shared = rng.normal(size=(rounds, seeds))  # what a seed does to both flows
    student = 2.0 + shared + 0.3 * rng.normal(size=(rounds, seeds))
    baseline = 2.0 + shared + 0.3 * rng.normal(size=(rounds, seeds))
    claims = sum(verdict_of(list(a), list(b)).verdict != "inconclusive" for a, b in zip(student, baseline, strict=True))
    assert claims / rounds <= 0.06
    assert claims / rounds >= 0.03  # an interval that never speaks would pass the line above


def test_the_interval_is_scipys_paired_t_interval() -> None:
    student, baseline = [2.0, 2.1, 1.9, 2.05], [2.3, 2.2, 2.15, 2.4]
    verdict = verdict_of(student, baseline)
    expected = stats.ttest_rel(baseline, student).confidence_interval(0.95)
    assert verdict.low == pytest.approx(expected.low)
    assert verdict.high == pytest.approx(expected.high)
    assert verdict.difference == pytest.approx(np.mean(np.subtract(baseline, student)))
    assert verdict.verdict == "better"
    assert verdict_of(baseline, student).verdict == "worse"


@pytest.mark.parametrize("seeds", [1, 2])
def test_below_three_seeds_nothing_is_claimed(seeds: int) -> None:
    verdict = verdict_of([1.0 + 1e-9 * i for i in range(seeds)], [2.0] * seeds)
    assert verdict.verdict == "inconclusive"


def test_seeds_are_paired_by_their_number_and_broken_ones_left_out() -> None:
    student = {1: 1.0, 2: 1.1, 3: math.nan, 4: 1.2}
    baseline = {4: 2.2, 2: 2.1, 1: 2.0, 3: 2.0, 9: 5.0}
    verdict = judge(student, baseline, metric=LIKELIHOOD, unit="nats", one_teacher=False)
    assert verdict.seeds == [1, 2, 4]
    assert verdict.differences == pytest.approx([1.0, 1.0, 1.0])
    assert verdict.verdict == "inconclusive"  # the survivors alone would be a claim
    assert verdict.summary.endswith("Seeds without a finite figure: 3.")


def test_the_words_say_which_teacher_served() -> None:
    figures = [1.0, 1.1, 1.2], [2.0, 2.1, 2.25]
    assert "one teacher for all seeds" in verdict_of(*figures).summary
    assert "a teacher for each seed" in verdict_of(*figures, one_teacher=False).summary
    assert "one teacher and 1 assistant for all seeds" in verdict_of(*figures, assistants=1).summary
    each = verdict_of(*figures, one_teacher=False, assistants=2).summary
    assert "a teacher and 2 assistants for each seed" in each


def test_nothing_to_compare_is_said() -> None:
    verdict = judge({}, {}, metric=LIKELIHOOD, unit="nats", one_teacher=True)
    assert verdict.verdict == "inconclusive"
    assert "no seed" in verdict.summary


# --- the primary metric, and the rest ---------------------------------------------------------------------------------


Figures = dict[str, list[float]]


def summaries(student: Figures, baseline: Figures) -> list[StageSummary]:
    """Return the ends of stages, one a seed, with some figures."""
    both: list[tuple[Role, Figures]] = [("student", student), ("baseline", baseline)]
    return [
        StageSummary(
            stage=stage, seed=seed, parameters=1, multiply_adds=1, steps=1, best_step=1,
            validation=99.0 - row["test"][seed], test=row["test"][seed], test_error=0.1, unit="nats",
            samples_per_second=row["speed"][seed], seconds=1.0, c2st=row["c2st"][seed],
        )
        for stage, row in both
        for seed in range(len(row["test"]))
    ]  # fmt: skip


STUDENT = {"test": [1.0, 1.3, 1.1, 1.2], "c2st": [0.9, 0.8, 0.85, 0.9], "speed": [100.0, 130.0, 120.0, 90.0]}
BASELINE = {"test": [1.3, 1.5, 1.2, 1.6], "c2st": [0.8, 0.75, 0.7, 0.85], "speed": [50.0, 100.0, 90.0, 70.0]}
FIGURES = {"likelihood": "test", "c2st": "c2st", "samples_per_second": "speed"}
SIGNS = {"likelihood": 1, "c2st": 1, "samples_per_second": -1}
"""Of baseline minus student: a speed is the better the larger it is."""


def test_every_metric_that_can_be_chosen_is_known() -> None:
    assert set(get_args(SeedsConfig.model_fields["metric"].annotation)) == set(METRICS)
    assert SeedsConfig().metric == "likelihood"


@pytest.mark.parametrize("primary", METRICS)
def test_the_primary_metric_is_judged_and_the_others_get_scipys_paired_interval(primary: str) -> None:
    verdict = whole_verdict(summaries(student=STUDENT, baseline=BASELINE), primary, one_teacher=True)
    expected = {}
    for name, key in FIGURES.items():
        gains = [SIGNS[name] * (theirs - ours) for ours, theirs in zip(STUDENT[key], BASELINE[key], strict=True)]
        expected[METRICS[name].name] = stats.ttest_rel(gains, np.zeros(4)).confidence_interval(0.95), np.mean(gains)
    found = [verdict, *verdict.others]
    assert [one.metric for one in found] == [METRICS[primary].name, *(METRICS[n].name for n in METRICS if n != primary)]
    for one in found:
        interval, mean = expected[one.metric]
        assert (one.low, one.high, one.difference) == pytest.approx((interval.low, interval.high, mean))
        assert one.seeds == [0, 1, 2, 3]
    assert verdict.verdict == {"likelihood": "better", "c2st": "worse", "samples_per_second": "better"}[primary]
    assert [one.unit for one in (verdict, *verdict.others) if one.metric == "test likelihood"] == ["nats"]


@pytest.mark.parametrize("primary", METRICS)
def test_a_run_makes_one_claim(primary: str) -> None:
    verdict = whole_verdict(summaries(student=STUDENT, baseline=BASELINE), primary, one_teacher=True)
    assert verdict.summary.lower().startswith(verdict.verdict)
    for other in verdict.others:
        assert not any(word in other.summary.lower() for word in ("better", "worse", "inconclusive"))
        assert f"{other.difference:+{METRICS_BY_NAME[other.metric].form}}" in other.summary


METRICS_BY_NAME = {metric.name: metric for metric in METRICS.values()}


def test_the_words_say_which_side_the_student_is_on() -> None:
    figures = summaries(student=STUDENT, baseline=BASELINE)
    words = {name: whole_verdict(figures, name, one_teacher=True).summary for name in METRICS}
    assert "test figure is 0.2500 nats lower than its baseline's" in words["likelihood"]
    assert "C2ST is 0.0875 farther from 0.5 than its baseline's" in words["c2st"]
    assert "speed of sampling is 32 samples/s higher than its baseline's" in words["samples_per_second"]


def test_a_two_sample_test_below_a_half_is_no_better_than_one_as_far_above() -> None:
    below, above = {1: 0.45, 2: 0.46, 3: 0.44}, {1: 0.55, 2: 0.54, 3: 0.56}
    assert METRICS["c2st"].gain(0.45, 0.5) == pytest.approx(-0.05)
    assert interval_of(below, above, metric=METRICS["c2st"], unit="").difference == pytest.approx(0.0)
    verdict = judge(below, {1: 0.56, 2: 0.551, 3: 0.569}, metric=METRICS["c2st"], unit="", one_teacher=True)
    assert verdict.verdict == "better"
    assert "C2ST is 0.0100 nearer to 0.5 than its baseline's" in verdict.summary


def test_where_no_seed_has_a_figure_the_words_say_so() -> None:
    broken = {1: math.nan, 2: math.inf}
    verdict = judge(broken, {1: 1.0, 2: 1.0}, metric=METRICS["likelihood"], unit="nats", one_teacher=True)
    assert verdict.verdict == "inconclusive"
    assert verdict.summary == (
        "Inconclusive: no seed has finite figures of both student and baseline. Seeds without a finite figure: 1, 2."
    )


def test_an_interval_leaves_seeds_without_a_figure_out_and_says_so() -> None:
    student, baseline = {1: 0.9, 2: math.nan, 3: 0.8, 4: 0.7}, {1: 0.8, 2: 0.7, 3: 0.75}
    other = interval_of(student, baseline, metric=METRICS["c2st"], unit="")
    assert other.seeds == [1, 3]
    assert "without a finite figure: 2" in other.summary
    assert other.difference == pytest.approx(-0.075)
    one = interval_of({1: 0.9}, {1: 0.8}, metric=METRICS["c2st"], unit="")
    assert math.isnan(one.low)
    assert "one seed, no interval" in one.summary


def test_before_anything_has_ended_nothing_is_said_of_the_rest() -> None:
    verdict = whole_verdict([], "c2st", one_teacher=True)
    assert verdict.others == []
    assert "no seed" in verdict.summary
