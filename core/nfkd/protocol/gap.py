"""The share of the gap between baseline and teacher that a student closes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from nfkd.protocol.records import StageSummary
from nfkd.protocol.roles import USUAL, Role


@dataclass(frozen=True)
class Gap:
    """How much of the gap between baseline and teacher the student closes.

    Attributes
    ----------
    means
        Mean figure of each usual flow.
    size
        By how much the teacher is better than the baseline.
    closed
        (mean baseline − mean student) / (mean baseline − mean teacher); NaN where the teacher is not clearly better.
    """

    means: dict[Role, float]
    size: float
    closed: float

    @property
    def defined(self) -> bool:
        """Whether the teacher is clearly better than the baseline."""
        return not math.isnan(self.closed)

    @property
    def summary(self) -> str:
        """What it says, a sentence without its full stop."""
        texts = {role: f"{value:#.4g}".rstrip(".").replace("-", "−") for role, value in self.means.items()}
        if not self.defined:
            compared = f"{texts['teacher']} against {texts['baseline']}"
            return f"There is no gap: the teacher is not clearly better than the baseline ({compared})"
        share = f"{100 * self.closed:.0f} %" if self.closed > 0 else "none"
        compared = f"{texts['student']} against {texts['baseline']}; teacher {texts['teacher']}"
        return f"The student closes {share} of the gap to the teacher ({compared})"


def gap_of(
    student: Mapping[int, float],
    baseline: Mapping[int, float],
    teacher: Mapping[int, float],
    *,
    gain: Callable[[float, float], float],
    error: float | Callable[[list[float]], float],
) -> Gap | None:
    """Return the gap, as a ratio of means over the seeds that have both student and baseline.

    It is undefined where the teacher is better than the baseline by no more than a half width.

    Parameters
    ----------
    student, baseline, teacher
        Values by seed; a teacher that all seeds share has one.
    gain
        By how much the first value is better than the second.
    error
        The larger 95 % half width of the figures of teacher and baseline, or how to compute that of one flow's values.

    Returns
    -------
    Gap or None
        None without finite values of all flows.
    """
    seeds = sorted(student.keys() & baseline.keys())
    students, baselines = ([values[seed] for seed in seeds] for values in (student, baseline))
    teachers = [value for seed, value in teacher.items() if seed in seeds] or list(teacher.values())
    if not (seeds and teachers and all(map(math.isfinite, [*students, *baselines, *teachers]))):
        return None
    means: dict[Role, float] = {"teacher": fmean(teachers), "student": fmean(students), "baseline": fmean(baselines)}
    size = gain(means["teacher"], means["baseline"])
    clear = size > (max(error(teachers), error(baselines)) if callable(error) else error)
    return Gap(means, size, gain(means["student"], means["baseline"]) / size if clear else math.nan)


def likelihood_gap(summaries: Iterable[StageSummary]) -> Gap | None:
    """Return the gap in test likelihood of a run, by the half widths over the test examples."""
    found = [summary for summary in summaries if summary.stage in USUAL]
    student, baseline, teacher = (
        {summary.seed: summary.test for summary in found if summary.stage == role}
        for role in ("student", "baseline", "teacher")
    )
    error = max((summary.test_error for summary in found if summary.stage != "student"), default=0.0)
    return gap_of(student, baseline, teacher, gain=lambda value, other: other - value, error=error)
