"""The verdict: its Student-t interval, its rate of false claims, and its sentences."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pytest
from msgspec.structs import replace
from scipy import stats

from nfkd.config import SeedsConfig
from nfkd.evaluation.metrics import METRICS
from nfkd.evaluation.verdict import ablations_of, interval_of, judge, verdict_of
from nfkd.protocol.events import StageSummary
from nfkd.protocol.roles import Role

LIKELIHOOD = METRICS["likelihood"]


def compare(student: list[float], baseline: list[float], **changes: object):
    options = {"metric": LIKELIHOOD, "unit": "bits/dim", "one_teacher": True} | changes
    return judge(dict(enumerate(student)), dict(enumerate(baseline)), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_false_claims_stay_at_five_percent_without_a_difference(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    rounds = 1000
    shared = rng.normal(size=(rounds, seeds))  # effect of the seed on both flows
    student = 2.0 + shared + 0.3 * rng.normal(size=(rounds, seeds))
    baseline = 2.0 + shared + 0.3 * rng.normal(size=(rounds, seeds))
    claims = sum(compare(list(a), list(b)).verdict != "inconclusive" for a, b in zip(student, baseline, strict=True))
    assert claims / rounds <= 0.06
    assert claims / rounds >= 0.03  # a verdict that never claims anything would pass the line above


QUANTILES = {2: 12.7062, 3: 4.30265, 4: 3.18245}
"""97.5 % quantiles of Student's t by the number of seeds, from published tables."""


@pytest.mark.parametrize("seeds", QUANTILES)
def test_the_interval_is_the_paired_t_interval(seeds: int) -> None:
    student, baseline = [2.0, 2.1, 1.9, 2.05][:seeds], [2.3, 2.2, 2.15, 2.4][:seeds]
    gains = np.subtract(baseline, student)
    half = QUANTILES[seeds] * gains.std(ddof=1) / math.sqrt(seeds)
    verdict = compare(student, baseline)
    expected = (gains.mean() - half, gains.mean(), gains.mean() + half)
    assert (verdict.low, verdict.difference, verdict.high) == pytest.approx(expected, rel=1e-5)


def test_a_clear_difference_is_better_or_worse() -> None:
    student, baseline = [2.0, 2.1, 1.9, 2.05], [2.3, 2.2, 2.15, 2.4]
    assert compare(student, baseline).verdict == "better"
    assert compare(baseline, student).verdict == "worse"


def test_equal_gains_have_an_interval_of_no_width() -> None:
    verdict = compare([1.1, 1.2, 1.3], [2.1, 2.2, 2.3])
    assert (verdict.low, verdict.high) == pytest.approx((1.0, 1.0))
    assert verdict.verdict == "better"


@pytest.mark.parametrize("seeds", [1, 2])
def test_below_three_seeds_nothing_is_claimed(seeds: int) -> None:
    verdict = compare([1.0 + 1e-9 * i for i in range(seeds)], [2.0] * seeds)
    assert verdict.verdict == "inconclusive"


def test_seeds_are_paired_by_number_and_non_finite_ones_are_dropped() -> None:
    student = {1: 1.0, 2: 1.1, 3: math.nan, 4: 1.2}
    baseline = {4: 2.2, 2: 2.1, 1: 2.0, 3: 2.0, 9: 5.0}
    verdict = judge(student, baseline, metric=LIKELIHOOD, unit="nats", one_teacher=False)
    assert verdict.seeds == [1, 2, 4]
    assert verdict.differences == pytest.approx([1.0, 1.0, 1.0])
    assert verdict.verdict == "inconclusive"  # the remaining seeds alone would be better
    assert verdict.summary.endswith("Seeds without a finite figure: 3.")


def test_the_summary_names_teachers_and_assistants() -> None:
    figures = [1.0, 1.1, 1.2], [2.0, 2.1, 2.25]
    assert "one teacher for all seeds" in compare(*figures).summary
    assert "a teacher for each seed" in compare(*figures, one_teacher=False).summary
    assert "one teacher and 1 assistant for all seeds" in compare(*figures, assistants=1).summary
    each = compare(*figures, one_teacher=False, assistants=2).summary
    assert "a teacher and 2 assistants for each seed" in each


def test_without_seeds_the_verdict_is_inconclusive() -> None:
    verdict = judge({}, {}, metric=LIKELIHOOD, unit="nats", one_teacher=True)
    assert verdict.verdict == "inconclusive"
    assert "no seed" in verdict.summary


# --- the primary and the other metrics --------------------------------------------------------------------------------


Figures = dict[str, list[float]]


def summaries(student: Figures, baseline: Figures) -> list[StageSummary]:
    """Return the summaries of students and baselines, with one value of each figure per seed."""
    both: list[tuple[Role, Figures]] = [("student", student), ("baseline", baseline)]
    return [
        StageSummary(
            stage=stage, seed=seed, parameters=1, multiply_adds=1, steps=1, best_step=1,
            validation=99.0 - row["test"][seed], test_error=0.1, unit="nats", seconds=1.0,
            **dict[str, Any]({name: values[seed] for name, values in row.items()}),
        )
        for stage, row in both
        for seed in range(len(row["test"]))
    ]  # fmt: skip


def test_an_ablation_without_finite_figures_says_nothing() -> None:
    both = [found for found in summaries(STUDENT, BASELINE) if found.stage == "student"]
    ablated = [replace(found, stage="ablation", test=found.test + 0.25, c2st=math.nan) for found in both]
    (interval,) = ablations_of([*both, *ablated], "likelihood")
    assert interval.difference == pytest.approx(0.25)
    assert interval.summary.startswith("Against its ablation in test likelihood: the student gains 0.2500 nats (95 %")
    assert ablations_of([*both, *ablated], "c2st") == []
    assert ablations_of(both, "likelihood") == []


STUDENT = {
    "test": [1.0, 1.3, 1.1, 1.2],
    "c2st": [0.9, 0.8, 0.85, 0.9],
    "fd": [20.0, 21.0, 19.0, 20.0],
    "sw": [0.04, 0.05, 0.06, 0.04],
    "mmd": [0.002, 0.003, 0.002, 0.001],
    "precision": [0.9, 0.8, 0.9, 0.8],
    "recall": [0.7, 0.6, 0.5, 0.6],
    "same_noise": [0.1, 0.2, 0.1, 0.2],
    "samples_per_second": [100.0, 130.0, 120.0, 90.0],
}
BASELINE = {
    "test": [1.3, 1.5, 1.2, 1.6],
    "c2st": [0.8, 0.75, 0.7, 0.85],
    "fd": [24.0, 25.0, 22.0, 25.0],
    "sw": [0.06, 0.08, 0.07, 0.06],
    "mmd": [0.001, 0.003, 0.004, 0.001],
    "precision": [0.7, 0.7, 0.7, 0.7],
    "recall": [0.8, 0.8, 0.7, 0.8],
    "same_noise": [0.4, 0.4, 0.5, 0.5],
    "samples_per_second": [50.0, 100.0, 90.0, 70.0],
}
FIGURES = {name: "test" if name == "likelihood" else name for name in METRICS}
LARGER = {"precision", "recall", "samples_per_second"}
VERDICTS = {
    "likelihood": "better",
    "c2st": "worse",
    "fd": "better",
    "sw": "better",
    "mmd": "inconclusive",
    "precision": "better",
    "recall": "worse",
    "same_noise": "better",
    "samples_per_second": "better",
}


def test_every_metric_of_the_config_is_in_the_table() -> None:
    assert set(get_args(SeedsConfig.model_fields["metric"].annotation)) == set(METRICS)
    assert SeedsConfig().metric == "likelihood"


@pytest.mark.parametrize("primary", METRICS)
def test_the_primary_metric_is_judged_and_the_others_get_an_interval(primary: str) -> None:
    verdict = verdict_of(summaries(student=STUDENT, baseline=BASELINE), primary, one_teacher=True)
    expected = {}
    for name, key in FIGURES.items():
        gains = [
            (student - baseline if name in LARGER else baseline - student)
            for student, baseline in zip(STUDENT[key], BASELINE[key], strict=True)
        ]
        expected[METRICS[name].name] = stats.ttest_rel(gains, np.zeros(4)).confidence_interval(0.95), np.mean(gains)
    found = [verdict, *verdict.others]
    assert [interval.metric for interval in found] == [
        METRICS[primary].name,
        *(METRICS[n].name for n in METRICS if n != primary),
    ]
    for interval in found:
        limits, mean = expected[interval.metric]
        assert (interval.low, interval.high, interval.difference) == pytest.approx((limits.low, limits.high, mean))
        assert interval.seeds == [0, 1, 2, 3]
    assert verdict.verdict == VERDICTS[primary]
    assert [interval.unit for interval in found if interval.metric == "test likelihood"] == ["nats"]


@pytest.mark.parametrize("primary", METRICS)
def test_only_the_primary_metric_has_a_verdict(primary: str) -> None:
    verdict = verdict_of(summaries(student=STUDENT, baseline=BASELINE), primary, one_teacher=True)
    assert verdict.summary.lower().startswith(verdict.verdict)
    for other in verdict.others:
        assert not any(word in other.summary.lower() for word in ("better", "worse", "inconclusive"))
        form = next(metric.form for metric in METRICS.values() if metric.name == other.metric)
        verb = "loses" if other.difference < 0 else "gains"
        assert f"the student {verb} {abs(other.difference):{form}}" in other.summary
        assert "-" not in other.summary.replace("FD-local", "")
        for limit in (other.low, other.high):
            assert f"{'−' if limit < 0 else '+'}{abs(limit):{form}}" in other.summary


def test_a_slower_student_loses_speed() -> None:
    student, baseline = {1: 20_000.0, 2: 21_000.0}, {1: 33_601.0, 2: 34_601.0}
    interval = interval_of(student, baseline, metric=METRICS["samples_per_second"], unit="samples/s")
    assert interval.difference == -13_601
    assert interval.summary == (
        "speed of sampling: the student loses 13,601 samples/s (95 % interval of the gain −13,601 to −13,601, 2 seeds)"
    )


def test_the_summary_says_how_the_student_differs() -> None:
    figures = summaries(student=STUDENT, baseline=BASELINE)
    texts = {name: verdict_of(figures, name, one_teacher=True).summary for name in METRICS}
    assert "test figure is 0.2500 nats lower than its baseline's" in texts["likelihood"]
    assert "sliced Wasserstein distance is 0.0200 lower than its baseline's" in texts["sw"]
    assert "precision is 0.150 higher than its baseline's" in texts["precision"]
    assert "recall is 0.175 lower than its baseline's" in texts["recall"]
    assert "C2ST is 0.0875 farther from 0.5 than its baseline's" in texts["c2st"]
    assert "speed of sampling is 32 samples/s higher than its baseline's" in texts["samples_per_second"]


def test_c2st_is_better_the_nearer_it_is_to_a_half() -> None:
    below, above = {1: 0.45, 2: 0.46, 3: 0.44}, {1: 0.55, 2: 0.54, 3: 0.56}
    assert METRICS["c2st"].gain(0.45, 0.5) == pytest.approx(-0.05)
    assert interval_of(below, above, metric=METRICS["c2st"], unit="").difference == pytest.approx(0.0)
    verdict = judge(below, {1: 0.56, 2: 0.551, 3: 0.569}, metric=METRICS["c2st"], unit="", one_teacher=True)
    assert verdict.verdict == "better"
    assert "C2ST is 0.0100 nearer to 0.5 than its baseline's" in verdict.summary


def test_without_any_finite_figure_the_verdict_is_inconclusive() -> None:
    broken = {1: math.nan, 2: math.inf}
    verdict = judge(broken, {1: 1.0, 2: 1.0}, metric=METRICS["likelihood"], unit="nats", one_teacher=True)
    assert verdict.verdict == "inconclusive"
    assert verdict.summary == (
        "Inconclusive: no seed has finite figures of both student and baseline. Seeds without a finite figure: 1, 2."
    )


def test_an_interval_drops_seeds_without_a_finite_figure_and_names_them() -> None:
    student, baseline = {1: 0.9, 2: math.nan, 3: 0.8, 4: 0.7}, {1: 0.8, 2: 0.7, 3: 0.75}
    other = interval_of(student, baseline, metric=METRICS["c2st"], unit="")
    assert other.seeds == [1, 3]
    assert "without a finite figure: 2" in other.summary
    assert other.difference == pytest.approx(-0.075)
    one = interval_of({1: 0.9}, {1: 0.8}, metric=METRICS["c2st"], unit="")
    assert math.isnan(one.low)
    assert "one seed, no interval" in one.summary


def test_without_summaries_there_are_no_other_intervals() -> None:
    verdict = verdict_of([], "c2st", one_teacher=True)
    assert verdict.others == []
    assert "no seed" in verdict.summary
