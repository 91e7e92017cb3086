"""Did distillation help? A paired Student-t interval over the seeds: a verdict by one metric, intervals of the rest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from nfkd.protocol.events import StageSummary, Verdict
from nfkd.protocol.records import MetricInterval
from nfkd.protocol.roles import Role

_CONFIDENCE = 0.95
_LEAST_SEEDS = 3


@dataclass(frozen=True)
class Metric:
    """What flows are compared by.

    Attributes
    ----------
    figure
        The figure of a `StageSummary`.
    name, unit
        For people; without a unit of its own it has the likelihoods'.
    larger
        Whether the larger figure is the better one.
    best
        The figure that is best of all, where it is neither the largest nor the smallest.
    form
        How its figures are written.
    noun
        What a sentence calls it.
    """

    figure: str
    name: str
    unit: str | None = None
    larger: bool = False
    best: float | None = None
    form: str = ".4f"
    noun: str = "test figure"

    def gain(self, student: float, baseline: float) -> float:
        """Return by how much the student is better than its baseline; negative where it is worse."""
        if self.best is not None:
            return abs(baseline - self.best) - abs(student - self.best)
        return student - baseline if self.larger else baseline - student

    def than(self, gain: float) -> str:
        """Return where a student's figure lies by its gain, in the words before its baseline's."""
        if self.best is not None:
            return f"{'nearer to' if gain >= 0 else 'farther from'} {self.best:g} than"
        return "higher than" if (gain >= 0) == self.larger else "lower than"


METRICS = {
    "likelihood": Metric("test", "test likelihood"),
    "c2st": Metric("c2st", "C2ST", unit="", best=0.5, noun="C2ST"),
    "samples_per_second": Metric(
        "samples_per_second", "speed of sampling", "samples/s", larger=True, form=",.0f", noun="speed of sampling"
    ),
}
"""By the name that `SeedsConfig.metric` has; samples that nothing tells from data have a two-sample test of 0.5."""


def verdict_of(summaries: Iterable[StageSummary], primary: str, *, one_teacher: bool, assistants: int = 0) -> Verdict:
    """Return what a run's figures say: the verdict by its primary metric, and the intervals of all others.

    Parameters
    ----------
    summaries
        Of the stages that have ended.
    primary
        One of `METRICS`.
    one_teacher, assistants
        As for `judge`.
    """
    summaries = list(summaries)
    likelihoods = next((summary.unit for summary in summaries), "")

    def figures(metric: Metric, role: Role) -> dict[int, float]:
        return {summary.seed: getattr(summary, metric.figure) for summary in summaries if summary.stage == role}

    def unit(metric: Metric) -> str:
        return likelihoods if metric.unit is None else metric.unit

    metric = METRICS[primary]
    student, baseline = figures(metric, "student"), figures(metric, "baseline")
    others = [
        interval_of(figures(other, "student"), figures(other, "baseline"), metric=other, unit=unit(other))
        for name, other in METRICS.items()
        if name != primary
    ]
    return judge(
        student,
        baseline,
        metric=metric,
        unit=unit(metric),
        one_teacher=one_teacher,
        assistants=assistants,
        others=[other for other in others if other.seeds],
    )


def unjudged(primary: str) -> Verdict:
    """Return what is said where there is no baseline: no verdict, by whichever metric of `METRICS`."""
    metric = METRICS[primary]
    return Verdict(
        verdict="inconclusive",
        metric=metric.name,
        unit=metric.unit or "",
        difference=math.nan,
        low=math.nan,
        high=math.nan,
        seeds=[],
        differences=[],
        summary="No baseline was trained: nothing to judge.",
    )


def judge(
    student: Mapping[int, float],
    baseline: Mapping[int, float],
    *,
    metric: Metric,
    unit: str,
    one_teacher: bool,
    assistants: int = 0,
    others: Iterable[MetricInterval] = (),
) -> Verdict:
    """Compare the distilled student with its baseline over the seeds that both have.

    Parameters
    ----------
    student, baseline
        The primary metric by seed.
    metric, unit
        What it is.
    one_teacher
        Whether one teacher served all seeds: the verdict says which.
    assistants
        How many there were between teacher and student; they belong to the teacher.
    others
        What goes with the verdict.

    Notes
    -----
    A paired t interval keeps its 5 % at three seeds, where a bootstrap over seeds does not. Below three seeds the
    verdict is always *inconclusive*, and so it is when a seed has a figure that is not finite: to leave such a seed
    out would judge the survivors alone.
    """
    seeds, gains, broken = _paired(student, baseline, metric)
    mean = float(gains.mean()) if seeds else math.nan
    low, high = _interval(gains)
    verdict = "inconclusive" if broken else _decide(len(seeds), low, high)
    teacher = _teacher_label(assistants, one=one_teacher)
    words = _words(verdict, metric, (mean, low, high), len(seeds), unit, teacher)
    if broken:
        words = words if seeds else "Inconclusive: no seed has finite figures of both student and baseline."
        words += f" Seeds without a finite figure: {', '.join(map(str, broken))}."
    return Verdict(
        verdict=verdict,
        metric=metric.name,
        unit=unit,
        difference=mean,
        low=low,
        high=high,
        seeds=seeds,
        differences=gains.tolist(),
        summary=words,
        others=list(others),
    )


def interval_of(
    student: Mapping[int, float], baseline: Mapping[int, float], *, metric: Metric, unit: str
) -> MetricInterval:
    """Return the gain in a metric that no verdict is about; arguments as for `judge`."""
    seeds, gains, broken = _paired(student, baseline, metric)
    mean = float(gains.mean()) if seeds else math.nan
    low, high = _interval(gains)
    if len(seeds) < 2:
        about = "one seed, no interval"
    else:
        about = f"95 % interval {low:+{metric.form}} to {high:+{metric.form}}, {len(seeds)} seeds"
    if broken:
        about += f"; without a finite figure: {', '.join(map(str, broken))}"
    words = f"{metric.name}: the student gains {mean:+{metric.form}}{_spaced(unit)} ({about})"
    return MetricInterval(
        metric=metric.name, unit=unit, difference=mean, low=low, high=high, seeds=seeds, summary=words
    )


def _paired(
    student: Mapping[int, float], baseline: Mapping[int, float], metric: Metric
) -> tuple[list[int], np.ndarray, list[int]]:
    """Return the seeds that both have, the gain of each, and the seeds whose figures are not finite."""
    both = sorted(student.keys() & baseline.keys())
    seeds = [seed for seed in both if math.isfinite(student[seed]) and math.isfinite(baseline[seed])]
    gains = np.array([metric.gain(student[seed], baseline[seed]) for seed in seeds])
    return seeds, gains, [seed for seed in both if seed not in seeds]


def _interval(gains: np.ndarray) -> tuple[float, float]:
    count = len(gains)
    if count < 2:
        return math.nan, math.nan
    half = stats.t.ppf(0.5 + _CONFIDENCE / 2, count - 1) * gains.std(ddof=1) / math.sqrt(count)
    return float(gains.mean() - half), float(gains.mean() + half)


def _decide(count: int, low: float, high: float) -> Literal["better", "worse", "inconclusive"]:
    if count < _LEAST_SEEDS or low <= 0 <= high:
        return "inconclusive"
    return "better" if low > 0 else "worse"


def _teacher_label(assistants: int, *, one: bool) -> str:
    helped = f" and {assistants} {'assistant' if assistants == 1 else 'assistants'}" if assistants else ""
    return f"one teacher{helped} for all seeds" if one else f"a teacher{helped} for each seed"


def _words(verdict: str, metric: Metric, gain: tuple[float, float, float], count: int, unit: str, teacher: str) -> str:
    if count == 0:
        return "Inconclusive: no seed has both a student and a baseline."
    mean, low, high = gain
    size = f"{abs(mean):{metric.form}}"
    apart = f"{size}{_spaced(unit)} {metric.than(mean)}" if float(size.replace(",", "")) else "about as good as"
    figure = f"the student's {metric.noun} is {apart} its baseline's"
    if count == 1:
        return f"Inconclusive: {figure}, but one seed decides nothing; run at least {_LEAST_SEEDS}."
    interval = f"95 % interval of the gain {low:+{metric.form}} to {high:+{metric.form}}, {count} seeds, {teacher}"
    more = f"; a verdict needs {_LEAST_SEEDS} seeds" if count < _LEAST_SEEDS else ""
    return f"{verdict.capitalize()}: {figure} ({interval}{more})."


def _spaced(unit: str) -> str:
    return f" {unit}" if unit else ""
