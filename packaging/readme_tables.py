"""README's tables of flows, data sets and terms of the loss, made from the registries: ``make readme``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from nfkd.config import Config, DistillationConfig, ExperimentConfig, preset_names
from nfkd.config.datasets import DATA_KINDS
from nfkd.data.source import Source
from nfkd.data.sources import SOURCES
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.flows.architectures import ARCHITECTURES

README = Path(__file__).resolve().parents[1] / "README.md"
_ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5})")
_SCIENTIFIC = 1e6


def flows() -> str:
    """Return the table of flows."""
    header = ("flow", "kind", "what it is", "paper", "log-density", "sample", "presets")
    used: dict[str, list[str]] = {}
    for name in preset_names():
        config = ExperimentConfig.load(name)
        for kind in {flow.kind for flow in (config.teacher, *config.assistants, config.student)}:
            used.setdefault(kind, []).append(f"`{name}`")
    rows = [
        (
            _extra(flow.config, "label"),
            f"`{flow.kind}`",
            _help(flow.config),
            flow.paper,
            flow.density,
            flow.sampling,
            ", ".join(used.get(flow.kind, [])),
        )
        for flow in ARCHITECTURES.values()
    ]
    return _table(header, rows)


def data() -> str:
    """Return the tables of data sets, one for each group of the form."""
    groups = groupby((SOURCES[kind] for kind in DATA_KINDS), lambda source: _extra(source.config, "group"))
    return "\n\n".join(
        _table((group.lower(), "what it is", "example", "examples", "from", "unit"), map(_data_row, sources))
        for group, sources in groups
    )


def terms() -> str:
    """Return the table of the loss's terms."""
    weights = {name: term.weight for name, term in DistillationConfig().terms().items()}
    rows = [
        (
            term.label,
            f"`distillation.{name}`",
            term.summary,
            term.paper,
            f"{weights[name]:g}" if weights[name] else "off",
        )
        for name, term in OBJECTIVES.items()
    ]
    return _table(("term of the loss", "settings", "what it is", "paper", "weight unless set"), rows)


def _data_row(source: Source[Any]) -> tuple[str, ...]:
    what = (source.config.__doc__ or "").partition("\n")[0].rstrip(".")
    return f"`{source.kind}`", what, source.shape, _examples(source), _origin(source), source.unit


def _examples(source: Source[Any]) -> str:
    count = source.config.model_fields.get("count")
    return source.examples or (f"`count`: {count.default:,}" if count else "")


def _origin(source: Source[Any]) -> str:
    megabytes = sum(file.size for file in source.downloads) / _SCIENTIFIC
    return source.origin + (f", {megabytes:,.0f} MB" if megabytes else "")


def _extra(config: type[Config], name: str) -> str:
    extra = config.model_fields["kind"].json_schema_extra
    return str(extra[name]) if isinstance(extra, dict) else ""


def _help(config: type[Config]) -> str:
    return (config.model_fields["kind"].description or "").rstrip(".")


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(header)
    lines = [names, ["---"] * len(names), *([_linked(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _linked(text: str) -> str:
    """Return a cell with its arXiv numbers as links."""
    return _ARXIV.sub(r"[arXiv \1](https://arxiv.org/abs/\1)", text)


def renewed(readme: str) -> str:
    """Return README's text with its tables written anew.

    Raises
    ------
    ValueError
        When the comments that mark a table's place are not there.
    """
    for name, table in (("flows", flows()), ("data", data()), ("terms", terms())):
        start, end = f"<!-- {name}: written by make readme -->\n", f"<!-- end of {name} -->"
        before, found, rest = readme.partition(start)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            msg = f"README.md has no place for the table of {name}: {start.strip()} … {end}"
            raise ValueError(msg)
        readme = f"{before}{start}\n{table}\n\n{end}{after}"
    return readme


if __name__ == "__main__":
    README.write_text(renewed(README.read_text(encoding="utf-8")), encoding="utf-8")
