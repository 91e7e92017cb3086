"""A report of a run as one HTML file, for readers without NFKD."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from nfkd.config import ExperimentConfig, resource_path
from nfkd.config.toml import short_toml
from nfkd.evaluation.comparison import Mean
from nfkd.evaluation.metrics import METRICS
from nfkd.files import replacing
from nfkd.protocol.gap import likelihood_gap
from nfkd.protocol.roles import ROLES, USUAL, Role, role_name
from nfkd.runs.export import writing_into
from nfkd.runs.figures import draw_figures
from nfkd.runs.reader import RunRecord
from nfkd.text import plain

_TITLES = {
    "curves": ("Learning curves", "Negative log-likelihood. Thin: training. Bold: validation."),
    "samples": ("Samples", "Images or points at the same place of each flow begin with the same noise."),
    "interpolation": ("Interpolation", "From one example to another through the latents of each flow."),
    "matching": ("Matched layers", "Mean squared difference of the outputs of matched layers of student and teacher."),
}
_SIZES = {"parameters": "parameters", "multiply_adds": "multiply-adds of log p", "seconds": "training time, s"}
_LONGEST = 2000
_XML_HEAD = re.compile(r"\A.*?(?=<svg)", re.DOTALL)


def write_report(record: RunRecord, path: Path) -> Path:
    """Write a run's report, and return its path.

    Raises
    ------
    RunError
        When the file cannot be written.
    """
    text = report_html(record)
    with writing_into(path.parent), replacing(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")
    return path


def report_html(record: RunRecord) -> str:
    """Return a run's report: question and answer, figures, pictures, settings, and how to repeat it.

    The text refers to no other file, and names no folder of this machine.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(resource_path("report.html").read_text(encoding="utf-8"))
    gap = likelihood_gap(record.summary)
    started = next((seed.started for seed in record.seeds.values()), None)
    count = len({summary.seed for summary in record.summary})
    return template.render(
        title=plain(record.row.name, _LONGEST),
        subtitle=f"{record.row.data} · {record.row.teacher} → {record.row.student} · {record.row.state}",
        description=plain(record.config.description, _LONGEST),
        gap=f"{100 * gap.closed:.0f} %" if gap is not None and gap.defined else "",
        sentences=_sentences(record),
        head=["", *_roles(record)],
        rows=list(_rows(record)),
        seeds="1 seed" if count == 1 else f"{count} seeds",
        note=started.measures_note() if started is not None else "",
        figures=[_figure(name, figure) for name, figure in draw_figures(record).items()],
        settings=_settings(record.config),
        repeat=list(_repeat(record)),
    )


def _sentences(record: RunRecord) -> list[str]:
    if record.verdict is not None:
        return record.verdict.sentences()
    if record.error is not None:
        return [f"The run has no verdict: {record.error.title}."]
    return ["The run has not ended: there is no verdict yet."]


def _roles(record: RunRecord) -> list[Role]:
    found = {summary.stage for summary in record.summary}
    return [*(role for role in USUAL if role in found), *(role for role in ROLES if role in found - set(USUAL))]


def _rows(record: RunRecord) -> Iterator[list[str]]:
    """Yield the rows of the table of figures, those that any flow has."""
    roles = _roles(record)
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
    mean = Mean.of([value for value in values if math.isfinite(value)])
    if not mean.seeds:
        return "–"
    half = f" ± {mean.half:{form}}" if mean.half and math.isfinite(mean.half) else ""
    return f"{mean.value:{form}}{half}".replace("-", "−")


def _figure(name: str, figure: Figure) -> dict[str, Any]:
    kind, _, role = name.partition("-")
    title, caption = _TITLES[kind]
    with rc_context({"svg.hashsalt": "nfkd"}):  # the same run gives the same file
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = _XML_HEAD.sub("", buffer.getvalue())
    return {"title": f"{title}, {role_name(role)}" if role else title, "caption": caption, "svg": Markup(svg)}  # noqa: S704


def _settings(config: ExperimentConfig) -> str:
    """Return the experiment as TOML; paths are shortened to the names of their files."""
    text = short_toml(config, ("data", "teacher", "student"))
    for value in sorted(set(_paths(config.model_dump(mode="json"))), key=len, reverse=True):
        quoted = json.dumps(value, ensure_ascii=False)
        text = text.replace(quoted, json.dumps(re.split(r"[/\\]", value.rstrip("/\\"))[-1], ensure_ascii=False))
    return text


def _paths(table: Any) -> Iterator[str]:
    """Yield the absolute paths among the settings."""
    if isinstance(table, str):
        if Path(table).is_absolute() or re.match(r"[A-Za-z]:[\\/]", table):
            yield table
    elif isinstance(table, dict):
        for value in table.values():
            yield from _paths(value)
    elif isinstance(table, Sequence):
        for value in table:
            yield from _paths(value)


def _repeat(record: RunRecord) -> Iterator[tuple[str, str]]:
    row, seeds = record.row, record.config.seeds.values()
    yield "seeds", ", ".join(map(str, seeds))
    yield "device", row.device or "–"
    yield "started", f"{datetime.fromtimestamp(row.created, UTC):%Y-%m-%d %H:%M} UTC"
    started = next((seed.started for seed in record.seeds.values()), None)
    yield from (started.versions if started is not None else {}).items()
    yield "digest of the settings", record.config.digest()
