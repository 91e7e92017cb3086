"""The metrics by which student and baseline are compared, and the share of the gap to the teacher that is closed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
MIN_SEEDS = 3


@dataclass(frozen=True)
class Metric:
    """A figure by which student and baseline are compared.

    Attributes
    ----------
    figure
        Field of `StageSummary`.
    name, noun
        Name in tables; name inside a sentence.
    unit
        None for the unit of the run's likelihoods.
    larger
        Whether larger is better.
    best
        The ideal value, for a metric where neither larger nor smaller is better.
    form
        Format specification of its values.
    has_gap
        Whether the teacher is the goal, so that a share of the gap to it can be closed.
    """

    figure: str
    name: str
    unit: str | None = None
    larger: bool = False
    best: float | None = None
    form: str = ".4f"
    noun: str = "test figure"
    has_gap: bool = True

    def gain(self, student: float, baseline: float) -> float:
        """Return by how much the student is better than its baseline; negative where it is worse."""
        if self.best is not None:
            return abs(baseline - self.best) - abs(student - self.best)
        return student - baseline if self.larger else baseline - student

    def signed(self, gain: float) -> str:
        """Return a gain with its sign."""
        return f"{gain:+{self.form}}".replace("-", "−")

    def change(self, gain: float) -> str:
        """Return what the student does with this gain, such as "gains 0.1200" or "loses 13,601"."""
        size = f"{abs(gain):{self.form}}"
        return f"{'loses' if gain < 0 and float(size.replace(',', '')) else 'gains'} {size}"

    def comparison(self, gain: float) -> str:
        """Return how a student with this gain compares, such as "lower than"."""
        if self.best is not None:
            return f"{'nearer to' if gain >= 0 else 'farther from'} {self.best:g} than"
        return "higher than" if (gain >= 0) == self.larger else "lower than"


METRICS = {
    "likelihood": Metric("test", "test likelihood"),
    "c2st": Metric("c2st", "C2ST", unit="", best=0.5, noun="C2ST"),
    "fd": Metric("fd", "FD-local", unit="", form=".3f", noun="FD-local"),
    "sw": Metric("sw", "sliced Wasserstein distance", unit="", noun="sliced Wasserstein distance"),
    "mmd": Metric("mmd", "MMD", unit="", form=".5f", noun="MMD"),
    "precision": Metric("precision", "precision", unit="", larger=True, form=".3f", noun="precision"),
    "recall": Metric("recall", "recall", unit="", larger=True, form=".3f", noun="recall"),
    "same_noise": Metric("same_noise", "distance to the teacher", unit="", noun="distance to the teacher"),
    "samples_per_second": Metric(
        "samples_per_second",
        "speed of sampling",
        "samples/s",
        larger=True,
        form=",.0f",
        noun="speed of sampling",
        has_gap=False,
    ),
}
"""Metrics by their name in `SeedsConfig.metric`."""


@dataclass(frozen=True)
class Gap:
    """How much of the gap between baseline and teacher the student closes.

    Attributes
    ----------
    closed
        (mean baseline − mean student) / (mean baseline − mean teacher); NaN where it is undefined.
    summary
        What it says, a sentence without its full stop.
    """

    closed: float
    summary: str

    @property
    def defined(self) -> bool:
        """Whether the teacher is clearly better than the baseline."""
        return not math.isnan(self.closed)


def gap_of(
    student: Mapping[int, float],
    baseline: Mapping[int, float],
    teacher: Mapping[int, float],
    *,
    metric: Metric,
    error: float | None = None,
) -> Gap | None:
    """Return the gap in a metric, as a ratio of means over the seeds that have both student and baseline.

    It is undefined where the teacher is better than the baseline by no more than a half width.

    Parameters
    ----------
    student, baseline, teacher
        Values by seed; a teacher that all seeds share has one.
    metric
        The metric.
    error
        The larger 95 % half width of the figures of teacher and baseline over the test examples; None to use the larger
        half width over seeds, which takes three seeds.

    Returns
    -------
    Gap or None
        None without finite values of all flows, or if the teacher is no goal in this metric.
    """
    seeds = student.keys() & baseline.keys()
    students, baselines = ([values[seed] for seed in sorted(seeds)] for values in (student, baseline))
    teachers = [value for seed, value in teacher.items() if seed in seeds] or list(teacher.values())
    if not (metric.has_gap and seeds and teachers and np.isfinite([*students, *baselines, *teachers]).all()):
        return None
    if error is None:
        if len(seeds) < MIN_SEEDS:
            return None
        error = max(half_width(values) for values in (baselines, teachers))
    means = {"student": np.mean(students), "baseline": np.mean(baselines), "teacher": np.mean(teachers)}
    size = metric.gain(float(means["teacher"]), float(means["baseline"]))
    texts = {name: f"{value:#.4g}".rstrip(".").replace("-", "−") for name, value in means.items()}
    if size <= error:
        compared = f"{texts['teacher']} against {texts['baseline']}"
        return Gap(math.nan, f"There is no gap: the teacher is not clearly better than the baseline ({compared})")
    closed = metric.gain(float(means["student"]), float(means["baseline"])) / size
    share = f"{100 * closed:.0f} %" if closed > 0 else "none"
    compared = f"{texts['student']} against {texts['baseline']}; teacher {texts['teacher']}"
    return Gap(closed, f"The student closes {share} of the gap to the teacher ({compared})")


def half_width(values: list[float]) -> float:
    """Return half the width of the 95 % Student-t interval of the mean; 0 for a single value."""
    if len(values) < 2:
        return 0.0
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))
