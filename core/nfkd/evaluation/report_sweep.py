"""The part of a report that says what a sweep has varied, and how to repeat it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nfkd.config.sweep import SpaceConfig, SweepConfig, SweepSection, format_value
from nfkd.evaluation.report_parts import LONGEST, file_name, settings_text, without_folders
from nfkd.text import plain

_FILE = "sweep.toml"
_METHODS = {"tpe": "tree-structured Parzen estimator", "random": "random values"}
_METRICS = {"likelihood": "the likelihood on validation data", "samples_per_second": "the speed of sampling"}
_MAX_VALUES, _MAX_VALUE = 12, 60  # values of a field; characters of a value
_MAX_SPACES = 12  # fields of a search


def read_sweep(folder: Path) -> SweepConfig | None:
    """Return the sweep in a folder, or None if it has none.

    Raises
    ------
    ConfigError
        When its file cannot be read.
    """
    path = folder / _FILE
    return SweepConfig.open(path) if path.exists() else None


def sweep_part(sweep: SweepConfig, folder: str) -> dict[str, object]:
    """Return what a report says of a sweep.

    Parameters
    ----------
    sweep
        The sweep.
    folder
        Name of its folder.
    """
    quoted = folder if folder.replace("-", "").replace("_", "").isalnum() else f"'{folder}'"
    return {
        "description": plain(sweep.description, LONGEST),
        "question": plain(_question(sweep.sweep), LONGEST),
        "fields": list(_values(sweep.sweep)),
        "settings": settings_text(sweep),
        "command": f"nfkd sweep {_FILE} --out {plain(quoted)}",
    }


def _question(section: SweepSection) -> str:
    search, metric = section.search, _METRICS[section.metric]
    if search is not None:
        hours = f" or {search.hours:g} hours" if search.hours else ""
        budget = f"{search.runs:,} runs{hours}"
        return f"A search ({_METHODS[search.method]}) chose values of these fields by {metric}, for {budget}."
    parts = ["every combination of these values"] if section.grid else []
    if section.list:
        parts.append(f"{len(section.list):,} listed {'choice' if len(section.list) == 1 else 'choices'} of values")
    count = f"{section.count:,} {'run' if section.count == 1 else 'runs'}"
    return f"The sweep has {count}: {' and '.join(parts)}. It is sorted by {metric}."


def _values(section: SweepSection) -> Iterator[tuple[str, str]]:
    for path, values in section.grid.items():
        yield path, _listed(values)
    listed = dict.fromkeys(path for row in section.list for path in row)
    for path in listed:
        yield f"{path} (listed)", _listed([row[path] for row in section.list if path in row])
    if section.search is not None:
        for path, space in list(section.search.space.items())[:_MAX_SPACES]:
            yield path, _listed(space.choices) if space.choices else _range(space)


def _listed(values: Sequence[Any]) -> str:
    shown = list(dict.fromkeys(plain(_shown(value), _MAX_VALUE) for value in values))
    more = f" and {len(shown) - _MAX_VALUES} more" if len(shown) > _MAX_VALUES else ""
    return f"{', '.join(shown[:_MAX_VALUES])}{more}"


def _shown(value: Any) -> str:
    return file_name(value) if isinstance(value, str) else without_folders(format_value(value))


def _range(space: SpaceConfig) -> str:
    step = f", step {space.step:g}" if space.step is not None else ""
    return f"{space.low:g} to {space.high:g}{step}{', logarithmic' if space.log else ''}"
