"""Likelihood against the number of parameters: the runs that no other one beats in both, and their figure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from nfkd.evaluation.comparison import Mean
from nfkd.protocol.records import StageSummary
from nfkd.protocol.roles import COLOURS, Role
from nfkd.runs.curve_figures import GREY, escape_text, plot_figure, tidy_axes

_LOG_FROM = 4.0  # ratio of the largest to the smallest number of parameters
_MAX_LABELS = 40  # numbers beside the points of students


@dataclass(frozen=True)
class Point:
    """A flow of a run: number of parameters, and mean test negative log-likelihood."""

    label: str
    parameters: float
    test: Mean

    @classmethod
    def of(cls, label: str, summaries: Iterable[StageSummary], role: Role) -> Point | None:
        """Return the point of a run's flow; None without a finite figure."""
        found = [each for each in summaries if each.stage == role and math.isfinite(each.test)]
        return cls(label, found[0].parameters, Mean.of([each.test for each in found])) if found else None


def pareto_front(points: Iterable[Point]) -> list[Point]:
    """Return the points that no other one beats in parameters without losing in likelihood, by parameters."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.parameters, point.test.value)):
        if not front or point.test.value < front[-1].test.value:
            front.append(point)
    return front


def draw_tradeoff(
    students: Sequence[Point], baselines: Sequence[Point], teachers: Sequence[Point], unit: str
) -> Figure | None:
    """Draw flows by their size and likelihood, with the Pareto front of the students.

    Parameters
    ----------
    students, baselines, teachers
        Points of the runs; those of students are labelled.
    unit
        Of the likelihood.

    Returns
    -------
    Figure or None
        None without a student.
    """
    if not students:
        return None
    figure = plot_figure(7.5, 4.2)
    axes = figure.add_subplot()
    front = pareto_front(students)
    axes.step(
        [point.parameters for point in front], [point.test.value for point in front], where="post",
        color=COLOURS["student"], linewidth=1, alpha=0.6, label="Pareto front",
    )  # fmt: skip
    axes.plot(*_coordinates(baselines), "_", color=COLOURS["baseline"], markersize=12, label="baselines")
    halves = [point.test.half if math.isfinite(point.test.half) else 0.0 for point in students]
    axes.errorbar(
        *_coordinates(students), yerr=halves, fmt="o", color=COLOURS["student"], markersize=6, linewidth=1.2,
        label="students",
    )  # fmt: skip
    distinct = {(point.parameters, point.test.value): point for point in teachers}
    axes.plot(*_coordinates(list(distinct.values())), "*", color=COLOURS["teacher"], markersize=14, label="teacher")
    if len(students) <= _MAX_LABELS:
        for point in students:
            axes.annotate(
                escape_text(point.label), (point.parameters, point.test.value), xytext=(6, 5),
                textcoords="offset points", fontsize=9, color=GREY,
            )  # fmt: skip
    _scale_sizes(axes, [point.parameters for point in (*students, *teachers)])
    axes.set(xlabel="Parameters", ylabel=f"Test NLL ({escape_text(unit)})")
    tidy_axes(axes)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    return figure


def _scale_sizes(axes: Axes, sizes: Sequence[float]) -> None:
    """Make the axis of sizes logarithmic, unless they are so close that it would have no ticks."""
    if min(sizes) > 0 and max(sizes) > _LOG_FROM * min(sizes):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _coordinates(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [point.parameters for point in points], [point.test.value for point in points]
