"""What is known of a run by name: columns of the table of runs, settings by their dotted paths, evaluated metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nfkd.config import ConfigError, ExperimentConfig
from nfkd.config.run_filter import Value
from nfkd.protocol.records import RunRow
from nfkd.runs.errors import RunError
from nfkd.runs.evaluation_file import evaluation_columns, read_evaluations
from nfkd.runs.layout import read_config

COLUMNS = (
    "name", "state", "data", "teacher", "student", "loss", "seeds", "seeds_done", "created", "seconds", "device",
    "unit", "teacher_test", "student_test", "baseline_test", "gap_closed", "verdict",
)  # fmt: skip
"""Columns of the table of runs."""


def run_values(row: RunRow, *, settings: bool = True) -> dict[str, Value]:
    """Return the values of a run: its columns, then its settings and the metrics that were evaluated.

    Parameters
    ----------
    row
        The run.
    settings
        Whether to read its experiment and its evaluation. What cannot be read is left out.
    """
    values: dict[str, Value] = {name: _plain(getattr(row, name)) for name in COLUMNS}
    values["created"] = datetime.fromtimestamp(row.created, UTC).isoformat(timespec="seconds")
    if settings:
        try:
            config = read_config(Path(row.run))
        except (ConfigError, RunError, OSError):
            return values
        values |= {path: value for path, value in settings_of(config).items() if path not in values}
        with suppress(RunError):
            columns = evaluation_columns(read_evaluations(Path(row.run)))
            values |= {name: _plain(value) for name, value in columns.items() if name not in values}
    return values


def settings_of(config: ExperimentConfig) -> dict[str, Value]:
    """Return every setting of an experiment by its dotted path; items of lists have their index."""
    return flat_settings(config.model_dump(mode="json"))


def flat_settings(table: Mapping[str, Any]) -> dict[str, Value]:
    """Return the values of nested tables and lists by their dotted paths."""
    return dict(_settings(table))


def _settings(table: Any, path: str = "") -> Iterator[tuple[str, Value]]:
    if isinstance(table, Mapping):
        items: Any = table.items()
    elif isinstance(table, list):
        items = enumerate(table)
    else:
        yield path, _plain(table)
        return
    for key, value in items:
        yield from _settings(value, f"{path}.{key}" if path else str(key))


def _plain(value: Any) -> Value:
    if isinstance(value, (bool, str)) or value is None:
        return value
    number = float(value)
    return None if math.isnan(number) else number
