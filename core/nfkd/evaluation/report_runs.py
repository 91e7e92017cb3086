"""The report of several runs as a page of HTML: which student is best, by how much, and at which size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nfkd.config.run_filter import Value
from nfkd.evaluation.comparison import Comparison, Difference, Mean, MetricRow, compare_runs
from nfkd.evaluation.metrics import METRICS, MIN_SEEDS, Metric
from nfkd.evaluation.report_evaluated import evaluated_table
from nfkd.evaluation.report_parts import (
    LONGEST,
    VERDICTS,
    Figures,
    data_hashes,
    device_of,
    file_name,
    mean_text,
    percent,
    render,
    settings_text,
    versions_of,
    weights_hashes,
)
from nfkd.evaluation.report_sweep import sweep_part
from nfkd.evaluation.run_group import DataGroup, GroupedRun, RunGroup
from nfkd.evaluation.tradeoff import Point, draw_tradeoff
from nfkd.protocol.roles import Role, role_name
from nfkd.runs.curve_figures import draw_validation
from nfkd.runs.errors import RunError
from nfkd.runs.figures import draw_figures
from nfkd.runs.reader import RunRecord, open_run
from nfkd.text import format_number, plain

DETAILED = 12
"""Most runs of a data set whose curves and pictures are shown: the best ones."""
_MAX_NAMED = 6  # runs in a sentence
_MAX_VALUES = 8  # of a setting
_MAX_COLUMNS = 4  # of settings in the table


@dataclass(frozen=True)
class _Ranking:
    """The runs of a data set, the best first, compared with the best one."""

    metric: Metric
    runs: list[GroupedRun]
    comparison: Comparison
    row: MetricRow | None

    @property
    def unit(self) -> str:
        """Unit of the metric."""
        return self.comparison.unit if self.metric.unit is None else self.metric.unit

    def mean(self, index: int) -> Mean:
        """Return the metric of a run's student."""
        return self.row.means[index] if self.row is not None else Mean.of([])

    def difference(self, index: int) -> Difference | None:
        """Return the paired difference of a run to the best one."""
        return self.row.differences[index] if self.row is not None else None


def runs_report_html(group: RunGroup, *, for_print: bool = False) -> str:
    """Return the report of several runs: for each data set an answer, a table, figures, and details of the best runs.

    Runs of different data are never compared. The text refers to no other file, and names no folder of this machine.

    Parameters
    ----------
    group
        The runs.
    for_print
        Whether the page is only printed: figures then have fixed colours, and all details are open.
    """
    figures = Figures(for_print=for_print)
    records = [run.record for data in group.groups for run in data.runs]
    descriptions = {record.config.description for record in records}
    sweep = sweep_part(group.sweep, group.title) if group.sweep is not None else None
    roles = {summary.stage for record in records for summary in record.summary}
    units = {summary.unit for record in records for summary in record.summary}
    sections = [_section(data, figures) for data in group.groups]
    return render(
        "runs.html",
        title=group.title,
        description=plain(descriptions.pop(), LONGEST) if len(descriptions) == 1 else "",
        finished=len(records),
        sweep=sweep,
        sections=sections,
        notes=group.notes,
        roles=roles,
        unit=units.pop() if len(units) == 1 else "",
        matching=bool(records),
        evaluated=any(section["evaluated"] for section in sections),
        measures=any(section["evaluated"] for section in sections)
        or any(record.config.seeds.metric != "likelihood" for record in records),
        most=DETAILED,
        for_print=for_print,
    )


def _section(data: DataGroup, figures: Figures) -> dict[str, object]:
    ranking = _rank(data.runs)
    varied = ranking.comparison.settings
    # Curves and pictures take much memory: only those of the best runs are read.
    details = [(f"{number}  {run.label}", run) for number, run in enumerate(ranking.runs[:DETAILED], 1)]
    opened = [(label, record) for label, run in details if (record := _opened(run)) is not None]
    return {
        "title": data.title,
        "answer": answer(ranking.metric, ranking.unit, ranking.comparison),
        "varied": [(name, _distinct(values)) for name, values in varied.items()],
        "columns": list(varied)[:_MAX_COLUMNS] if len(varied) <= _MAX_COLUMNS else [],
        "metric": f"{ranking.metric.name}, {ranking.unit}" if ranking.unit else ranking.metric.name,
        "rows": list(_rows(ranking)),
        "evaluated": evaluated_table(ranking.comparison),
        "comparisons": sum(difference is not None for difference in ranking.row.differences) if ranking.row else 0,
        "tradeoff": _tradeoff(ranking, figures),
        "curves": figures.svg(drawn, "Validation curves") if (drawn := draw_validation(opened)) is not None else "",
        "details": [_detail(number, run, opened, figures) for number, run in details],
        "data": data_hashes(data.runs[0].record),
        "repeat": list(_repeat(ranking.runs)),
    }


def _rank(runs: Sequence[GroupedRun]) -> _Ranking:
    names = {run.record.config.seeds.metric for run in runs}
    metric = METRICS[names.pop() if len(names) == 1 else "likelihood"]

    def loss(run: GroupedRun) -> float:
        mean = Mean.of(list(run.compared.figures(metric.figure).values()))
        return -metric.gain(mean.value, 0.0) if mean.seeds else math.inf

    ordered = sorted(runs, key=lambda run: (loss(run), run.label))
    comparison = compare_runs([run.compared for run in ordered])
    row = next((row for row in comparison.metrics if row.metric is metric), None)
    return _Ranking(metric, ordered, comparison, row)


def answer(metric: Metric, unit: str, comparison: Comparison) -> str:
    """Return which run is best and from which others it differs, for a comparison with the best run in front.

    Nothing is claimed of runs with fewer than three seeds in common with the best one.
    """
    row = next((row for row in comparison.metrics if row.metric is metric), None)
    if row is None or not row.means[0].seeds:
        return f"No run has a finite {metric.name}."
    mean, best = row.means[0], comparison.names[0]
    value = f"{mean_text(mean, metric.form)}{f' {unit}' if unit else ''}"
    seeds = "1 seed" if mean.seeds == 1 else f"mean of {mean.seeds} seeds"
    begin = f"{best} has the best {'mean ' if mean.seeds > 1 else ''}{metric.name}: {value} ({seeds})"
    others = list(zip(comparison.names[1:], row.differences[1:], strict=True))
    if not others:
        return f"{begin}. There is no other run of this data to compare it with."
    found: dict[str, list[str]] = {}
    for name, difference in others:
        found.setdefault(difference.outcome if difference is not None else "", []).append(name)
    if len(found.get("", [])) == len(others):
        return f"{begin}. Whether it differs from the others is not decided: that takes {MIN_SEEDS} common seeds."
    texts = {
        "worse": "it is better than {}",
        "no difference": "it is not distinguishable from {}",
        "better": "but {} is better on the common seeds",
        "": f"{{}} has fewer than {MIN_SEEDS} common seeds",
    }
    parts = [text.format(_listed(found[outcome])) for outcome, text in texts.items() if outcome in found]
    return f"{begin}; by paired differences over seeds, {_joined(parts)}."


def _listed(names: Sequence[str]) -> str:
    if len(names) > _MAX_NAMED:
        return f"{', '.join(names[:_MAX_NAMED])} and {len(names) - _MAX_NAMED} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _joined(parts: Sequence[str]) -> str:
    return f"{', '.join(parts[:-1])}, and {parts[-1].removeprefix('but ')}" if len(parts) > 1 else parts[0]


def _rows(ranking: _Ranking) -> Iterator[dict[str, object]]:
    varied = ranking.comparison.settings
    for index, run in enumerate(ranking.runs):
        verdict = run.record.verdict.verdict if run.record.verdict is not None else ""
        yield {
            "number": index + 1,
            "label": run.label,
            "settings": [_value(values[index]) for values in varied.values()],
            "mean": mean_text(ranking.mean(index), ranking.metric.form),
            "seeds": ranking.mean(index).seeds,
            "difference": _difference(ranking.difference(index), ranking.metric.form),
            "outcome": difference.outcome if (difference := ranking.difference(index)) is not None else "",
            "gap": percent(ranking.comparison.gaps[index]),
            "verdict": VERDICTS[verdict],
            "verdict_class": verdict,
            "parameters": _number(ranking.comparison.sizes["parameters"][index]),
            "speed": _number(Mean.of(list(run.compared.figures("samples_per_second").values())).value),
        }


def _difference(difference: Difference | None, form: str) -> str:
    if difference is None:
        return "–"
    mean = difference.mean
    half = f" ± {format_number(mean.half, form)}" if math.isfinite(mean.half) else ""
    return f"{format_number(mean.value, f'+{form}')}{half}".replace("-", "−")


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:,.0f}"


def _value(value: Value) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    return plain(file_name(value), 60) if isinstance(value, str) else f"{value:.6g}".replace("-", "−")


def _distinct(values: Sequence[Value]) -> str:
    numbers = sorted({value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)})
    shown = [_value(value) for value in numbers]
    shown += list(dict.fromkeys(_value(value) for value in values if value not in numbers or isinstance(value, bool)))
    more = f" and {len(shown) - _MAX_VALUES} more" if len(shown) > _MAX_VALUES else ""
    return f"{', '.join(shown[:_MAX_VALUES])}{more}"


def _tradeoff(ranking: _Ranking, figures: Figures) -> str:
    def points(role: Role) -> list[Point]:
        found = [Point.of(str(number), run.record.summary, role) for number, run in enumerate(ranking.runs, 1)]
        return [point for point in found if point is not None]

    drawn = draw_tradeoff(points("student"), points("baseline"), points("teacher"), ranking.comparison.unit)
    return figures.svg(drawn, "Size and likelihood") if drawn is not None else ""


def _opened(run: GroupedRun) -> RunRecord | None:
    try:
        return open_run(run.record.path)
    except RunError:  # its figures could be read a moment ago
        return None


def _detail(
    label: str, run: GroupedRun, opened: Sequence[tuple[str, RunRecord]], figures: Figures
) -> dict[str, object]:
    record = dict(opened).get(label)
    drawn = draw_figures(record) if record is not None else {}
    titles = {"samples": "Samples", "matching": "Matched layers"}
    shown: list[tuple[str, str]] = []
    for name, figure in drawn.items():
        kind, _, role = name.partition("-")
        if kind in titles:
            title = f"{titles[kind]}, {role_name(role)}" if role else titles[kind]
            shown.append((title, figures.svg(figure, f"{title} of {run.label}")))
    verdict = run.record.verdict
    return {
        "label": label,
        "sentences": verdict.sentences() if verdict is not None else [],
        "figures": shown,
        "settings": settings_text(run.record.config),
        "readable": record is not None,
    }


def _repeat(runs: Sequence[GroupedRun]) -> Iterator[dict[str, object]]:
    for number, run in enumerate(runs, 1):
        versions = versions_of(run.record)
        yield {
            "number": number,
            "label": run.label,
            "seeds": ", ".join(map(str, run.record.config.seeds.values())),
            "device": device_of(run.record),
            "versions": ", ".join(f"{name} {version}" for name, version in versions.items()) or "–",
            "digest": run.record.config.digest(),
            "weights": [(each.seed, each.sha256) for each in weights_hashes(run.record) if each.flow == "student"],
        }
