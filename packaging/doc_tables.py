"""The tables of flows, data sets and loss terms in README and docs, made from the registries: ``make tables``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from nfkd.config import TERMS, Config, ExperimentConfig, preset_names
from nfkd.config.datasets import DATA_KINDS
from nfkd.config.splits import SplitConfig
from nfkd.config.tables import TableConfig
from nfkd.data.source import Source
from nfkd.data.sources import SOURCES
from nfkd.flows.architectures import ARCHITECTURES

ROOT = Path(__file__).resolve().parents[1]
_ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5})")


def short_flows() -> str:
    """Return README's table of flows."""
    rows = [(_extra(flow.config, "label"), f"`{flow.kind}`", _help(flow.config)) for flow in ARCHITECTURES.values()]
    return _table(("flow", "`kind`", "what it is"), rows)


def short_data() -> str:
    """Return README's table of data sets: a row for each group of the form."""
    rows = [
        (group.lower(), ", ".join(f"`{source.kind}`" for source in sources)) for group, sources in _grouped_sources()
    ]
    return _table(("data", "`kind`"), rows)


def short_terms() -> str:
    """Return README's table of loss terms."""
    rows = [(term.label, f"`{name}`", term.summary()) for name, term in TERMS.items()]
    return _table(("term", "`distillation.…`", "what it is"), rows)


def flows() -> str:
    """Return the table of flows, with papers, costs and presets."""
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
    return "\n\n".join(
        _table((group.lower(), "what it is", "example", "examples", "from", "unit"), map(_data_row, sources))
        for group, sources in _grouped_sources()
    )


def table_settings() -> str:
    """Return the table of the settings of a table that say how it is read and split."""
    fields = TableConfig.model_fields
    names = list(fields)[list(fields).index("separator") :]
    rows = [
        (f"`data.{name}`", _values(fields[name]), (fields[name].description or "").rstrip("."))
        for name in names
        if name not in SplitConfig.model_fields
    ]
    return _table(("setting", "values", "what it is"), rows)


def _values(info: FieldInfo) -> str:
    values = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
    if values:
        return ", ".join(f"*{value}*" if value == info.default else value for value in values)
    return "names" if get_origin(info.annotation) is tuple else "text"


def terms() -> str:
    """Return the table of loss terms, with papers and default weights."""
    rows = [
        (
            term.label,
            f"`distillation.{name}`",
            term.summary(),
            term.paper,
            f"{term().weight:g}" if term().weight else "off",
        )
        for name, term in TERMS.items()
    ]
    return _table(("term", "settings", "what it is", "paper", "default weight"), rows)


def _grouped_sources() -> Iterable[tuple[str, Iterable[Source[Any]]]]:
    return groupby((SOURCES[kind] for kind in DATA_KINDS), lambda source: _extra(source.config, "group"))


def _data_row(source: Source[Any]) -> tuple[str, ...]:
    summary = (source.config.__doc__ or "").partition("\n")[0].rstrip(".")
    return f"`{source.kind}`", summary, source.shape, _examples(source), _origin(source), source.unit


def _examples(source: Source[Any]) -> str:
    count = source.config.model_fields.get("count")
    return source.examples or (f"`count`: {count.default:,}" if count else "")


def _origin(source: Source[Any]) -> str:
    megabytes = sum(file.size for file in source.downloads) / 1e6
    return source.origin + (f", {megabytes:,.0f} MB" if megabytes else "")


def _extra(config: type[Config], name: str) -> str:
    extra = config.model_fields["kind"].json_schema_extra
    return str(extra[name]) if isinstance(extra, dict) else ""


def _help(config: type[Config]) -> str:
    return (config.model_fields["kind"].description or "").rstrip(".")


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(header)
    lines = [names, ["---"] * len(names), *([_link_papers(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _link_papers(text: str) -> str:
    """Turn arXiv numbers into links."""
    return _ARXIV.sub(r"[arXiv \1](https://arxiv.org/abs/\1)", text)


TABLES: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"flows": short_flows, "data": short_data, "terms": short_terms},
    "docs/flows.md": {"flows": flows},
    "docs/data.md": {"data": data, "settings": table_settings},
    "docs/distillation.md": {"terms": terms},
}
"""The tables of each document, by the name in the comments that enclose them."""


def update_tables(document: str, text: str) -> str:
    """Return the text of a document with its tables made again.

    Raises
    ------
    ValueError
        When the comments that enclose a table are missing.
    """
    for name, table in TABLES[document].items():
        start, end = f"<!-- {name}: generated by make tables -->\n", f"<!-- end of {name} -->"
        before, found, rest = text.partition(start)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            msg = f"{document} has no comments around the table of {name}: {start.strip()} … {end}"
            raise ValueError(msg)
        text = f"{before}{start}\n{table()}\n\n{end}{after}"
    return text


if __name__ == "__main__":
    for document in TABLES:
        path = ROOT / document
        path.write_text(update_tables(document, path.read_text(encoding="utf-8")), encoding="utf-8")
