"""The verdict: a paired Student-t interval, and how often it is wrong when nothing is there."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from nfkd.evaluation.verdict import judge


def verdict_of(student: list[float], baseline: list[float], **changes: object):
    named = {"metric": "test likelihood", "unit": "bits/dim", "one_teacher": True} | changes
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
    verdict = judge(student, baseline, metric="m", unit="nats", one_teacher=False)
    assert verdict.seeds == [1, 2, 4]
    assert verdict.differences == pytest.approx([1.0, 1.0, 1.0])
    assert verdict.verdict == "inconclusive"  # the survivors alone would be a claim
    assert verdict.words.endswith("Seeds without a finite figure: 3.")


def test_the_words_say_which_teacher_served() -> None:
    figures = [1.0, 1.1, 1.2], [2.0, 2.1, 2.25]
    assert "one teacher for all seeds" in verdict_of(*figures).words
    assert "a teacher for each seed" in verdict_of(*figures, one_teacher=False).words


def test_nothing_to_compare_is_said() -> None:
    verdict = judge({}, {}, metric="m", unit="nats", one_teacher=True)
    assert verdict.verdict == "inconclusive"
    assert "no seed" in verdict.words
