"""Did distillation help? Paired Student-t intervals over the seeds, and a verdict by the primary metric."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy
from msgspec.structs import replace

from nfkd.evaluation.advice import advice_of
from nfkd.evaluation.finite_samples import left_out_note
from nfkd.evaluation.metrics import CONFIDENCE, METRICS, MIN_SEEDS, Metric, metric_gap
from nfkd.evaluation.outliers import outlier_note
from nfkd.evaluation.reference import Reference
from nfkd.protocol.events import StageSummary, Verdict
from nfkd.protocol.gap import Gap, likelihood_gap
from nfkd.protocol.records import MetricInterval, with_fd_floor
from nfkd.protocol.roles import Role
from nfkd.text import format_number


def verdict_of(
    summaries: Iterable[StageSummary],
    primary: str,
    *,
    one_teacher: bool,
    assistants: int = 0,
    pool_share: float = 0.0,
    reference: Reference | None = None,
) -> Verdict:
    """Judge a run by its primary metric; add the intervals of all other metrics, and advice.

    Parameters
    ----------
    summaries
        Of the stages that have ended.
    primary
        Key of `METRICS`.
    one_teacher, assistants
        As in `judge`.
    pool_share
        Part of the student's batches that are samples of the teacher.
    reference
        What samples were compared with, for the noise floor of each measure.
    """
    summaries = list(summaries)
    likelihood_unit = next((summary.unit for summary in summaries), "")

    def values(metric: Metric, role: Role) -> dict[int, float]:
        return {summary.seed: getattr(summary, metric.figure) for summary in summaries if summary.stage == role}

    def unit(metric: Metric) -> str:
        return likelihood_unit if metric.unit is None else metric.unit

    def gap(metric: Metric) -> Gap | None:
        if metric.figure == "test":
            return likelihood_gap(summaries)
        return metric_gap(metric, *(values(metric, role) for role in ("student", "baseline", "teacher")))

    metric = METRICS[primary]
    intervals = [
        interval_of(values(other, "student"), values(other, "baseline"), metric=other, unit=unit(other), gap=gap(other))
        for name, other in METRICS.items()
        if name != primary
    ]
    verdict = judge(
        values(metric, "student"),
        values(metric, "baseline"),
        metric=metric,
        unit=unit(metric),
        one_teacher=one_teacher,
        assistants=assistants,
        others=[interval for interval in intervals if interval.seeds],
        gap=gap(metric),
    )
    likelihood = gap(METRICS["likelihood"])
    helped = likelihood is not None and likelihood.closed > 0
    note = outlier_note(summaries, None if reference is None else reference.dataset)
    advice = note or advice_of(summaries, share=pool_share, student_is_better=helped)
    verdict = replace(verdict, advice=" ".join(filter(None, (advice, left_out_note(summaries)))))
    if note and primary == "likelihood":
        verdict = _withhold(verdict)
    return verdict if reference is None else _with_floors(verdict, metric, reference, summaries)


def _withhold(verdict: Verdict) -> Verdict:
    """Return a verdict as inconclusive, because a few examples decide its figures."""
    rest = re.sub(r"\b(?:Better|Worse|Inconclusive): (\w)", lambda found: found[1].upper(), verdict.summary)
    return replace(verdict, verdict="inconclusive", summary=f"Inconclusive: a few examples decide the figures. {rest}")


def _with_floors(verdict: Verdict, primary: Metric, reference: Reference, summaries: Iterable[StageSummary]) -> Verdict:
    """Return a verdict with the noise floor of each measure of samples."""
    names = {metric.name: metric.figure for metric in METRICS.values()}
    floors = with_fd_floor(reference.floors, summaries)
    others = [replace(other, floor=floors.get(names[other.metric], math.nan)) for other in verdict.others]
    floor = floors.get(primary.figure, math.nan)
    return replace(verdict, floor=floor, others=others, compared=len(reference.test))


def ablations_of(summaries: Iterable[StageSummary], primary: str) -> list[MetricInterval]:
    """Return the gain of the students over their ablations in a metric, at most one; none without finite figures."""
    metric, summaries = METRICS[primary], list(summaries)
    student, ablation = (
        {summary.seed: getattr(summary, metric.figure) for summary in summaries if summary.stage == stage}
        for stage in ("student", "ablation")
    )
    unit = next((summary.unit for summary in summaries), "") if metric.unit is None else metric.unit
    interval = interval_of(student, ablation, metric=metric, unit=unit, against="ablation")
    return [interval] if interval.seeds else []


def verdict_without_baseline(primary: str) -> Verdict:
    """Return the verdict of a run that trains no baseline."""
    metric = METRICS[primary]
    verdict = judge({}, {}, metric=metric, unit=metric.unit or "", one_teacher=True)
    return replace(verdict, summary="No baseline was trained: nothing to judge.")


def judge(
    student: Mapping[int, float],
    baseline: Mapping[int, float],
    *,
    metric: Metric,
    unit: str,
    one_teacher: bool,
    assistants: int = 0,
    others: Iterable[MetricInterval] = (),
    gap: Gap | None = None,
) -> Verdict:
    """Compare the distilled student with its baseline over the seeds that have both.

    Parameters
    ----------
    student, baseline
        Values of the metric by seed.
    metric, unit
        The metric and its unit.
    one_teacher, assistants
        Whether all seeds share one teacher, and the number of assistants; the verdict says both.
    others
        Intervals of the other metrics, for the verdict.
    gap
        The gap to the teacher in this metric; None if it is not known.

    Notes
    -----
    A paired t interval keeps its 5 % error rate at three seeds; a bootstrap over seeds does not. With fewer seeds, or
    with a seed whose value is not finite, the verdict is *inconclusive*: dropping such a seed would bias it.
    """
    gain = _Gain.of(student, baseline, metric)
    verdict = "inconclusive" if gain.dropped else _decide(gain)
    summary = _describe_verdict(verdict, metric, gain, unit, _describe_teachers(assistants, one=one_teacher))
    if gain.dropped:
        if not gain.seeds:
            summary = "Inconclusive: no seed has finite figures of both student and baseline."
        summary += f" Seeds without a finite figure: {', '.join(map(str, gain.dropped))}."
    elif gap is not None:
        summary = f"{gap.summary}. {summary}"
    return Verdict(
        verdict=verdict,
        metric=metric.name,
        unit=unit,
        difference=gain.mean,
        low=gain.low,
        high=gain.high,
        seeds=gain.seeds,
        differences=gain.values.tolist(),
        summary=summary,
        others=list(others),
        gap_closed=math.nan if gap is None else gap.closed,
    )


def interval_of(
    student: Mapping[int, float],
    baseline: Mapping[int, float],
    *,
    metric: Metric,
    unit: str,
    gap: Gap | None = None,
    against: Literal["baseline", "ablation"] = "baseline",
) -> MetricInterval:
    """Return the gain in a metric, without a verdict; arguments as in `judge`.

    `against` says which flow's values stand in place of the baseline's.
    """
    gain = _Gain.of(student, baseline, metric)
    if len(gain.seeds) < 2:
        details = "one seed, no interval"
    else:
        interval = f"{metric.signed(gain.low)} to {metric.signed(gain.high)}"
        details = f"95 % interval of the gain {interval}, {len(gain.seeds)} seeds"
    if gain.dropped:
        details += f"; without a finite figure: {', '.join(map(str, gain.dropped))}"
    if gap is not None and gap.defined:
        details += f"; {100 * gap.closed:.0f} % of the gap closed"
    what = metric.name if against == "baseline" else f"Against its {against} in {metric.name}"
    return MetricInterval(
        metric=metric.name,
        unit=unit,
        difference=gain.mean,
        low=gain.low,
        high=gain.high,
        seeds=gain.seeds,
        summary=f"{what}: the student {metric.change(gain.mean)}{_suffix(unit)} ({details})",
        gap_closed=math.nan if gap is None else gap.closed,
        against=against,
    )


@dataclass(frozen=True)
class _Gain:
    """Gains of the student over its baseline by seed, their mean and its interval; `dropped` seeds are not finite."""

    seeds: list[int]
    dropped: list[int]
    values: np.ndarray
    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, student: Mapping[int, float], baseline: Mapping[int, float], metric: Metric) -> _Gain:
        both = sorted(student.keys() & baseline.keys())
        seeds = [seed for seed in both if math.isfinite(student[seed]) and math.isfinite(baseline[seed])]
        dropped = [seed for seed in both if seed not in seeds]
        values = np.array([metric.gain(student[seed], baseline[seed]) for seed in seeds])
        mean = float(values.mean()) if seeds else math.nan
        if len(seeds) < 2:
            return cls(seeds, dropped, values, mean, math.nan, math.nan)
        # Centred, because SciPy warns where all values are equal.
        interval = scipy.stats.ttest_1samp(values - mean, 0).confidence_interval(CONFIDENCE)
        return cls(seeds, dropped, values, mean, mean + float(interval.low), mean + float(interval.high))


def _decide(gain: _Gain) -> Literal["better", "worse", "inconclusive"]:
    if len(gain.seeds) < MIN_SEEDS or gain.low <= 0 <= gain.high:
        return "inconclusive"
    return "better" if gain.low > 0 else "worse"


def _describe_teachers(assistants: int, *, one: bool) -> str:
    helped = f" and {assistants} {'assistant' if assistants == 1 else 'assistants'}" if assistants else ""
    return f"one teacher{helped} for all seeds" if one else f"a teacher{helped} for each seed"


def _describe_verdict(verdict: str, metric: Metric, gain: _Gain, unit: str, teachers: str) -> str:
    count = len(gain.seeds)
    if count == 0:
        return "Inconclusive: no seed has both a student and a baseline."
    size = format_number(abs(gain.mean), metric.form)
    if float(size.replace(",", "")):
        comparison = f"{size}{_suffix(unit)} {metric.comparison(gain.mean)}"
    else:
        comparison = "about as good as"
    result = f"the student's {metric.noun} is {comparison} its baseline's"
    if count == 1:
        return f"Inconclusive: {result}, but one seed is not enough; run at least {MIN_SEEDS}."
    interval = f"95 % interval of the gain {metric.signed(gain.low)} to {metric.signed(gain.high)}"
    hint = f"; a verdict needs {MIN_SEEDS} seeds" if count < MIN_SEEDS else ""
    return f"{verdict.capitalize()}: {result} ({interval}, {count} seeds, {teachers}{hint})."


def _suffix(unit: str) -> str:
    return f" {unit}" if unit else ""
