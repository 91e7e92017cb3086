"""The settings in the experiment of a run by their dotted paths, without validation: fast for thousands of runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from nfkd.config import ConfigError
from nfkd.config.run_filter import Value
from nfkd.config.toml import read_text, toml_document
from nfkd.runs.layout import EXPERIMENT

_TABLE = "\n["
_UNUSUAL = ("\n[[", '"""', "'''")  # text with which a line that begins with a bracket may not begin a table
_SHORT, _LONGEST = 8192, 100  # characters of a table that is remembered; items of a list
Settings = Mapping[str, Value]


def read_settings(run: str) -> tuple[Settings, ...]:
    """Return the settings of a run as tables whose paths differ; empty if its experiment cannot be read.

    Runs of a sweep have most tables of their experiments in common: each is parsed once.
    """
    try:
        text = read_text(Path(run, EXPERIMENT))
        return _tables(text)
    except ConfigError:
        return ()


def _tables(text: str) -> tuple[Settings, ...]:
    if not any(found in text for found in _UNUSUAL):
        first, *others = text.split(_TABLE)
        with suppress(ConfigError):  # a list may have lines that begin with a bracket, too
            return (_table(first), *(_table(f"[{part}") for part in others))
    return (_parsed(text),)


def _table(text: str) -> Settings:
    return _known(text) if len(text) < _SHORT else _parsed(text)


def _parsed(text: str) -> Settings:
    return flattened(toml_document(text), longest=_LONGEST)


@lru_cache(maxsize=4096)
def _known(text: str) -> Settings:
    return _parsed(text)


def flattened(table: Any, *, longest: int = 0) -> dict[str, Value]:
    """Return the values of nested tables and lists by their dotted path; items of lists have their index.

    Of lists with more than `longest` items, such as drawings, there is the number of items. 0 for no limit.
    """
    return dict(_flattened(table, "", longest))


def _flattened(table: Any, path: str, longest: int) -> Iterator[tuple[str, Value]]:
    if isinstance(table, Mapping):
        items: Any = table.items()
    elif isinstance(table, list) and 0 < longest < len(table):
        yield path, f"{len(table):,} items"
        return
    elif isinstance(table, list):
        items = enumerate(table)
    else:
        yield path, plain_value(table)
        return
    for key, value in items:
        yield from _flattened(value, f"{path}.{key}" if path else str(key), longest)


def plain_value(value: Any) -> Value:
    """Return a value for filters: None for NaN, and for anything but a number, a text or a truth value."""
    if isinstance(value, (bool, str)):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):  # a date, or a number of hundreds of digits
        return None
    return None if math.isnan(number) else number
