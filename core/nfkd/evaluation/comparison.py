"""Runs side by side: the settings that differ, the students' figures with intervals, and differences by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from nfkd.config.run_filter import Value
from nfkd.evaluation.metrics import METRICS, MIN_SEEDS, Metric, half_width
from nfkd.protocol.gap import likelihood_gap
from nfkd.protocol.records import StageSummary
from nfkd.runs.layout import read_config
from nfkd.runs.run_values import settings_of
from nfkd.runs.state import read_row
from nfkd.runs.summary_file import read_summaries

_ASIDE = ("name", "description", "data.", "compute.", "monitor.", "seeds.")
"""Settings that do not describe a student, or must be equal."""
Outcome = Literal["better", "worse", "no difference", ""]


class DifferentDataError(ValueError):
    """Runs of different data cannot be compared; the text names the settings."""


@dataclass(frozen=True)
class ComparedRun:
    """A run that is compared.

    Attributes
    ----------
    name
        Of the run.
    settings
        Every setting by its dotted path.
    summaries
        Of its finished stages.
    verdict
        Of its student against the baseline; empty without one.
    """

    name: str
    settings: Mapping[str, Value]
    summaries: Sequence[StageSummary]
    verdict: str = ""

    @classmethod
    def read(cls, run: Path) -> ComparedRun:
        """Read a run.

        Raises
        ------
        RunError
            When it cannot be read.
        """
        row = read_row(run)
        return cls(row.name, settings_of(read_config(run)), read_summaries(run), row.verdict)

    def figures(self, figure: str) -> dict[int, float]:
        """Return a figure of the student by seed, where it is finite."""
        found = {
            summary.seed: float(getattr(summary, figure)) for summary in self.summaries if summary.stage == "student"
        }
        return {seed: value for seed, value in found.items() if math.isfinite(value)}


@dataclass(frozen=True)
class Mean:
    """A mean over seeds, and half the width of its 95 % Student-t interval; NaN for fewer than two seeds."""

    value: float
    half: float
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        """Return the mean of some values; NaN without any."""
        if not values:
            return cls(math.nan, math.nan, 0)
        half = half_width(list(values)) if len(values) > 1 else math.nan
        return cls(math.fsum(values) / len(values), half, len(values))


@dataclass(frozen=True)
class Difference:
    """By how much a run's student differs from the first run's: means over the seeds of both.

    Attributes
    ----------
    mean
        This run's value minus the first one's.
    outcome
        Empty below three common seeds.
    """

    mean: Mean
    outcome: Outcome


@dataclass(frozen=True)
class MetricRow:
    """A metric of all runs; `differences` are those to the first run, which has none.

    `best` is the index of the run with the best mean; -1 where fewer than two runs have one, or all are equal.
    """

    metric: Metric
    means: list[Mean]
    differences: list[Difference | None]
    best: int = -1


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes
    ----------
    settings
        For each setting that differs, its value in every run; None where a run does not have it.
    same
        Number of the other settings.
    sizes
        Parameters and multiply-adds of the student of every run.
    gaps
        Share of the gap that the student closes, from the runs' means; NaN where it is not defined.
    verdicts
        Those of the students against their baselines.
    """

    names: list[str]
    unit: str
    settings: dict[str, list[Value]]
    same: int
    sizes: dict[str, list[float]]
    gaps: list[float]
    verdicts: list[str]
    metrics: list[MetricRow] = field(default_factory=list[MetricRow])


def compare_runs(runs: Sequence[ComparedRun]) -> Comparison:
    """Compare the students of runs of the same data; the first run is the one that the others differ from.

    Raises
    ------
    DifferentDataError
        When the runs have different data.
    """
    _require_same_data(runs)
    names = sorted({name for run in runs for name in run.settings if not name.startswith(_ASIDE)})
    settings = {name: [run.settings.get(name) for run in runs] for name in names}
    differing = {name: values for name, values in settings.items() if any(value != values[0] for value in values)}
    units = {summary.unit for run in runs for summary in run.summaries}
    return Comparison(
        names=[run.name for run in runs],
        unit=next(iter(units), ""),
        settings=differing,
        same=len(settings) - len(differing),
        sizes={name: [_first(run, name) for run in runs] for name in ("parameters", "multiply_adds")},
        gaps=[_gap(run) for run in runs],
        verdicts=[run.verdict for run in runs],
        metrics=[row for metric in METRICS.values() if (row := _row(metric, runs)) is not None],
    )


def _require_same_data(runs: Sequence[ComparedRun]) -> None:
    names = sorted({name for run in runs for name in run.settings if name.startswith("data.")})
    for name in names:
        values = [run.settings.get(name) for run in runs]
        for run, value in zip(runs, values, strict=True):
            if value != values[0]:
                shown = [f"{known!r}" if isinstance(known, str) else f"{known}" for known in (values[0], value)]
                different = f"{runs[0].name} has {name} = {shown[0]}, {run.name} has {shown[1]}"
                msg = f"{different}: their figures cannot be compared"
                raise DifferentDataError(msg)


def _first(run: ComparedRun, name: str) -> float:
    return next((float(getattr(summary, name)) for summary in run.summaries if summary.stage == "student"), math.nan)


def _gap(run: ComparedRun) -> float:
    gap = likelihood_gap(run.summaries)
    return math.nan if gap is None else gap.closed


def _row(metric: Metric, runs: Sequence[ComparedRun]) -> MetricRow | None:
    """Return a metric of all runs; None if no run has it."""
    figures = [run.figures(metric.figure) for run in runs]
    if not any(figures):
        return None
    differences = [None, *(_difference(metric, figures[0], other) for other in figures[1:])]
    means = [Mean.of(list(values.values())) for values in figures]
    return MetricRow(metric, means, differences, _best(metric, [mean.value for mean in means]))


def _best(metric: Metric, values: Sequence[float]) -> int:
    known = {index: value for index, value in enumerate(values) if math.isfinite(value)}
    if len(set(known.values())) < 2:
        return -1
    return max(known, key=lambda index: metric.gain(known[index], 0.0))


def _difference(metric: Metric, first: Mapping[int, float], other: Mapping[int, float]) -> Difference | None:
    """Return the difference over the seeds of both; None without a common seed."""
    seeds = sorted(first.keys() & other.keys())
    if not seeds:
        return None
    mean = Mean.of([other[seed] - first[seed] for seed in seeds])
    gain = Mean.of([metric.gain(other[seed], first[seed]) for seed in seeds])
    outcome: Outcome = ""
    if len(seeds) >= MIN_SEEDS:
        outcome = "no difference" if abs(gain.value) <= gain.half else "better" if gain.value > 0 else "worse"
    return Difference(mean, outcome)
