"""The metrics by which student and baseline are compared, and the gap to the teacher in each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy

from nfkd.protocol.gap import Gap, gap_of
from nfkd.text import format_number

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
        return f"{format_number(gain, f'+{self.form}')}".replace("-", "−")

    def change(self, gain: float) -> str:
        """Return what the student does with this gain, such as "gains 0.1200" or "loses 13,601"."""
        size = format_number(abs(gain), self.form)
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


def metric_gap(
    metric: Metric,
    student: Mapping[int, float],
    baseline: Mapping[int, float],
    teacher: Mapping[int, float],
    *,
    error: float | None = None,
) -> Gap | None:
    """Return the gap in a metric; None also if the teacher is no goal in it.

    Parameters
    ----------
    metric
        The metric.
    student, baseline, teacher
        As for `gap_of`.
    error
        The larger 95 % half width of the figures of teacher and baseline over the test examples; None to use the larger
        half width over seeds, which takes three seeds.
    """
    if not metric.has_gap or (error is None and len(student.keys() & baseline.keys()) < MIN_SEEDS):
        return None
    return gap_of(student, baseline, teacher, gain=metric.gain, error=half_width if error is None else error)


def half_width(values: list[float]) -> float:
    """Return half the width of the 95 % Student-t interval of the mean; 0 for a single value."""
    if len(values) < 2:
        return 0.0
    quantile = scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
    return float(quantile * np.std(values, ddof=1) / math.sqrt(len(values)))
