"""Did distillation help? A paired Student-t interval over the seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from scipy import stats

from nfkd.protocol.events import Verdict

_CONFIDENCE = 0.95
_LEAST_SEEDS = 3


def judge(
    student: Mapping[int, float], baseline: Mapping[int, float], *, metric: str, unit: str, one_teacher: bool
) -> Verdict:
    """Compare the distilled student with its baseline over the seeds that both have.

    Parameters
    ----------
    student, baseline
        The primary metric by seed; smaller is better.
    metric, unit
        Its name and unit.
    one_teacher
        Whether one teacher served all seeds: the verdict says which.

    Notes
    -----
    A paired t interval keeps its 5 % at three seeds, where a bootstrap over seeds does not. Below three seeds the
    verdict is always *inconclusive*, and so it is when a seed has a figure that is not finite: to leave such a seed
    out would judge the survivors alone.
    """
    both = sorted(student.keys() & baseline.keys())
    seeds = [seed for seed in both if math.isfinite(student[seed]) and math.isfinite(baseline[seed])]
    broken = [seed for seed in both if seed not in seeds]
    differences = np.array([baseline[seed] - student[seed] for seed in seeds])
    mean = float(differences.mean()) if seeds else math.nan
    low, high = _interval(differences)
    verdict = "inconclusive" if broken else _decide(len(seeds), low, high)
    words = _words(verdict, mean, low, high, len(seeds), unit, one_teacher=one_teacher)
    if broken:
        words += f" Seeds without a finite figure: {', '.join(map(str, broken))}."
    return Verdict(
        verdict=verdict,
        metric=metric,
        unit=unit,
        difference=mean,
        low=low,
        high=high,
        seeds=seeds,
        differences=differences.tolist(),
        words=words,
    )


def _interval(differences: np.ndarray) -> tuple[float, float]:
    count = len(differences)
    if count < 2:
        return math.nan, math.nan
    half = stats.t.ppf(0.5 + _CONFIDENCE / 2, count - 1) * differences.std(ddof=1) / math.sqrt(count)
    return float(differences.mean() - half), float(differences.mean() + half)


def _decide(count: int, low: float, high: float) -> Literal["better", "worse", "inconclusive"]:
    if count < _LEAST_SEEDS or low <= 0 <= high:
        return "inconclusive"
    return "better" if low > 0 else "worse"


def _words(verdict: str, mean: float, low: float, high: float, count: int, unit: str, *, one_teacher: bool) -> str:
    if count == 0:
        return "Inconclusive: no seed has both a student and a baseline."
    teacher = "one teacher for all seeds" if one_teacher else "a teacher for each seed"
    side = "lower" if mean >= 0 else "higher"
    figure = f"the student's test figure is {abs(mean):.4f} {unit} {side} than its baseline's"
    if count == 1:
        return f"Inconclusive: {figure}, but one seed decides nothing; run at least {_LEAST_SEEDS}."
    interval = f"95 % interval of the gain {low:+.4f} to {high:+.4f}, {count} seeds, {teacher}"
    more = f"; a verdict needs {_LEAST_SEEDS} seeds" if count < _LEAST_SEEDS else ""
    return f"{verdict.capitalize()}: {figure} ({interval}{more})."
