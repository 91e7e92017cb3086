"""The report of one run as a page of HTML, for readers without NFKD."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

from nfkd.evaluation.comparison import Mean
from nfkd.evaluation.metrics import METRICS
from nfkd.evaluation.report_evaluated import flows_table
from nfkd.evaluation.report_parts import (
    LONGEST,
    VERDICTS,
    Figures,
    data_hashes,
    device_of,
    mean_text,
    render,
    settings_text,
    versions_of,
    weights_hashes,
    without_folders,
)
from nfkd.protocol.gap import likelihood_gap
from nfkd.protocol.roles import ROLES, USUAL, Role, role_label, role_name
from nfkd.runs.errors import RunError
from nfkd.runs.evaluation_file import own_test_values, read_evaluations
from nfkd.runs.figures import draw_figures
from nfkd.runs.reader import RunRecord
from nfkd.text import plain

_TITLES = {
    "curves": (
        "Learning curves",
        "Negative log-likelihood; lower is better. Training: on the examples that a flow learns from. Lines: means.",
    ),
    "samples": (
        "Samples",
        "What each flow generates. Images or points at the same place of each flow begin with the same noise.",
    ),
    "interpolation": ("Interpolation", "From one example to another through the latents of each flow."),
    "matching": (
        "Matched layers",
        "Mean squared difference of the outputs of matched layers of student and teacher, over the training.",
    ),
}
_SIZES = {"parameters": "parameters", "multiply_adds": "multiply-adds of log p", "seconds": "training time, s"}


def report_html(record: RunRecord, *, for_print: bool = False) -> str:
    """Return a run's report: question and answer, figures, pictures, settings, and how to reproduce it.

    The text refers to no other file, and names no folder of this machine.

    Parameters
    ----------
    record
        The run.
    for_print
        Whether the page is only printed: its figures then have fixed colours.
    """
    gap = likelihood_gap(record.summary)
    started = next((seed.started for seed in record.seeds.values()), None)
    count = len({summary.seed for summary in record.summary})
    figures = Figures(for_print=for_print)
    roles = _roles(record)
    verdict = record.verdict.verdict if record.verdict is not None else ""
    return render(
        "run.html",
        title=plain(record.row.name, LONGEST),
        subtitle=f"{record.row.data} · {record.row.teacher} → {record.row.student} · {record.row.state}",
        description=plain(record.config.description, LONGEST),
        gap=f"{100 * gap.closed:.0f} %" if gap is not None and gap.closed > 0 else "",
        verdict=VERDICTS[verdict],
        verdict_class=verdict,
        sentences=_sentences(record),
        roles={role: role_label(role) for role in roles},
        unit=next((summary.unit for summary in record.summary), ""),
        rows=list(_rows(record, roles)),
        seeds="1 seed" if count == 1 else f"{count} seeds",
        evaluated=_evaluated(record, roles),
        note=started.measures_note() if started is not None else "",
        figures=list(_figures(record, figures)),
        settings=settings_text(record.config),
        matching=any(len(view.matching_steps) for seed in record.seeds.values() for view in seed.stages.values()),
        measures=any(math.isfinite(summary.c2st) for summary in record.summary),
        command="nfkd run experiment.toml",
        version=versions_of(record).get("nfkd", ""),
        repeat=list(_repeat(record)),
        data=data_hashes(record),
        weights=weights_hashes(record),
    )


def _evaluated(record: RunRecord, roles: list[Role]) -> list[list[str]]:
    """Return the metrics that ``nfkd evaluate`` has added; none if their file cannot be read."""
    with suppress(RunError):
        return flows_table(own_test_values(read_evaluations(record.path)), roles)
    return []


def _sentences(record: RunRecord) -> list[str]:
    if record.verdict is not None:
        return record.verdict.sentences()
    if record.error is not None:
        return [f"The run has no verdict: {without_folders(record.error.title, [record.path.parent])}."]
    return ["The run has not ended: there is no verdict yet."]


def _roles(record: RunRecord) -> list[Role]:
    found = {summary.stage for summary in record.summary}
    return [*(role for role in USUAL if role in found), *(role for role in ROLES if role in found - set(USUAL))]


def _rows(record: RunRecord, roles: list[Role]) -> Iterator[list[str]]:
    """Yield the rows of the table of figures, those that any flow has."""
    unit = next((summary.unit for summary in record.summary), "")
    for name, title in _SIZES.items():
        yield [title, *(_mean(record, role, name, ",.0f") for role in roles)]
    for metric in METRICS.values():
        unit_text = metric.unit if metric.unit is not None else unit
        title = f"{metric.name}, {unit_text}" if unit_text else metric.name
        cells = [_mean(record, role, metric.figure, metric.form) for role in roles]
        if any(cell != "–" for cell in cells):
            yield [title, *cells]


def _mean(record: RunRecord, role: Role, figure: str, form: str) -> str:
    values = [float(getattr(summary, figure)) for summary in record.summary if summary.stage == role]
    return mean_text(Mean.of([value for value in values if math.isfinite(value)]), form)


def _figures(record: RunRecord, figures: Figures) -> Iterator[dict[str, str]]:
    first = next(iter(record.seeds), None)
    for name, figure in draw_figures(record).items():
        kind, _, role = name.partition("-")
        title, caption = _TITLES[kind]
        if kind != "curves" and len(record.seeds) > 1:
            caption = f"{caption} Seed {first}."
        title = f"{title}, {role_name(role)}" if role else title
        yield {"title": title, "caption": caption, "svg": figures.svg(figure, title)}


def _repeat(record: RunRecord) -> Iterator[tuple[str, str]]:
    row, seeds = record.row, record.config.seeds.values()
    yield "seeds", ", ".join(map(str, seeds))
    yield "device", device_of(record)
    yield "started", f"{datetime.fromtimestamp(row.created, UTC):%Y-%m-%d %H:%M} UTC"
    yield from versions_of(record).items()
    yield "digest of the settings", record.config.digest()
