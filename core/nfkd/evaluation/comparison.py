"""Runs side by side: the settings that differ, the students' figures with intervals, and differences by seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from nfkd.config.run_filter import Value
from nfkd.evaluation.evaluated_metrics import metric_of
from nfkd.evaluation.metrics import METRICS, MIN_SEEDS, Metric, half_width
from nfkd.protocol.gap import likelihood_gap
from nfkd.protocol.records import StageSummary
from nfkd.runs.evaluation_file import EvaluatedMetric, own_test_values, read_evaluations
from nfkd.runs.layout import read_config
from nfkd.runs.run_values import settings_of
from nfkd.runs.state import read_row
from nfkd.runs.summary_file import read_fingerprint, read_summaries

_ASIDE = ("name", "description", "data.", "compute.", "monitor.", "seeds.")
"""Settings that do not describe a student, or must be equal."""
_PLACES = ("data.path", "data.folder")
"""Settings that say where files are; a fingerprint says what is in them."""
_SIZES = ("parameters", "multiply_adds")
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
    evaluated
        Metrics that ``nfkd evaluate`` has added, on its own test data.
    fingerprint
        Of its data, as JSON; empty if it is not known.
    """

    name: str
    settings: Mapping[str, Value]
    summaries: Sequence[StageSummary]
    verdict: str = ""
    evaluated: Sequence[EvaluatedMetric] = ()
    fingerprint: str = ""

    @classmethod
    def read(cls, run: Path) -> ComparedRun:
        """Read a run.

        Raises
        ------
        RunError
            When it cannot be read.
        """
        row = read_row(run)
        evaluated = own_test_values(read_evaluations(run))
        settings = settings_of(read_config(run))
        return cls(row.name, settings, read_summaries(run), row.verdict, evaluated, read_fingerprint(run))

    @property
    def data(self) -> dict[str, Value]:
        """What must be equal for a comparison: settings of the data, without the places of files that are known."""
        places = _PLACES if self.fingerprint else ()
        return {name: value for name, value in self.settings.items() if name.startswith("data.") and name not in places}

    def figures(self, figure: str) -> dict[int, float]:
        """Return a figure of the student by seed, where it is finite."""
        found = {
            summary.seed: float(getattr(summary, figure)) for summary in self.summaries if summary.stage == "student"
        }
        return {seed: value for seed, value in found.items() if math.isfinite(value)}

    def evaluated_figures(self, name: str) -> dict[int, float]:
        """Return a metric of the student that was evaluated, by seed, where it is finite."""
        found = {
            value.seed: value.value for value in self.evaluated if (value.stage, value.metric) == ("student", name)
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
    `evaluated` says that ``nfkd evaluate`` has added the metric.
    """

    metric: Metric
    means: list[Mean]
    differences: list[Difference | None]
    best: int = -1
    evaluated: bool = False


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
    require_same_data(runs)
    names = sorted({name for run in runs for name in run.settings if not name.startswith(_ASIDE)})
    settings = {name: [run.settings.get(name) for run in runs] for name in names}
    differing = {name: values for name, values in settings.items() if any(value != values[0] for value in values)}
    units = {summary.unit for run in runs for summary in run.summaries}
    return Comparison(
        names=[run.name for run in runs],
        unit=next(iter(units), ""),
        settings=differing,
        same=len(settings) - len(differing),
        sizes={name: [_first(run, name) for run in runs] for name in _SIZES},
        gaps=[_gap(run) for run in runs],
        verdicts=[run.verdict for run in runs],
        metrics=[
            *_rows(METRICS.values(), [run.figures for run in runs]),
            *(
                replace(row, evaluated=True)
                for row in _rows(_evaluated_metrics(runs), [run.evaluated_figures for run in runs])
            ),
        ],
    )


def _evaluated_metrics(runs: Sequence[ComparedRun]) -> list[Metric]:
    """Return the metrics that were evaluated for a student, with names that tell them from those of the run's end."""
    names = dict.fromkeys(value.metric for run in runs for value in run.evaluated if value.metric not in _SIZES)
    found = [(name, metric) for name in names if (metric := metric_of(name)) is not None]
    return [replace(metric, figure=name, name=f"{metric.name}, evaluated") for name, metric in found]


def require_same_data(runs: Sequence[ComparedRun]) -> None:
    """Refuse runs of different data.

    Raises
    ------
    DifferentDataError
        With the first setting that differs, or the runs whose files had other values.
    """
    found = {name for run in runs for name in run.data}
    names = sorted(found, key=lambda name: (name != "data.kind", name))
    for name in names:
        values = [run.settings.get(name) for run in runs]
        for run, value in zip(runs, values, strict=True):
            if value != values[0]:
                shown = [_shown(known) for known in (values[0], value)]
                different = f"{runs[0].name} has {name} = {shown[0]}, {run.name} has {shown[1]}"
                msg = f"{different}: their figures cannot be compared"
                raise DifferentDataError(msg)
    known = [run for run in runs if run.fingerprint]
    for run in known:
        if run.fingerprint != known[0].fingerprint:
            different = f"{known[0].name} and {run.name} have the same settings, but their data had other values"
            msg = f"{different}: their figures cannot be compared"
            raise DifferentDataError(msg)


def _shown(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)


def _first(run: ComparedRun, name: str) -> float:
    return next((float(getattr(summary, name)) for summary in run.summaries if summary.stage == "student"), math.nan)


def _gap(run: ComparedRun) -> float:
    gap = likelihood_gap(run.summaries)
    return math.nan if gap is None else gap.closed


def _rows(metrics: Iterable[Metric], readers: Sequence[Callable[[str], dict[int, float]]]) -> Iterator[MetricRow]:
    """Yield the metrics of all runs that some run has; a reader returns a run's values by seed."""
    for metric in metrics:
        figures = [read(metric.figure) for read in readers]
        if any(figures):
            differences = [None, *(_difference(metric, figures[0], other) for other in figures[1:])]
            means = [Mean.of(list(values.values())) for values in figures]
            yield MetricRow(metric, means, differences, _best(metric, [mean.value for mean in means]))


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
