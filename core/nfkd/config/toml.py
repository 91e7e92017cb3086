"""Reading and writing TOML."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeGuard, cast
from uuid import uuid4

import tomli_w

from nfkd.config.base import Config
from nfkd.config.problems import ConfigError, ConfigProblem
from nfkd.files import FileError, read_limited

_MAX_SIZE = 4 << 20  # bytes: a drawing of 100,000 points takes nearly as many
_MAX_DEPTH = 32  # nested tables and lists: an experiment has 4
_POSITION = re.compile(r"(?<=at )(line \d+, column \d+|end of document)")  # in the messages of tomllib
# tomllib takes quadratic time for a dotted key of many parts.
_LONG_KEY = re.compile(rf"(?<![\w-])(?:(?:[\w-]+|\"[^\"\n]*\"|'[^'\n]*')[ \t]*\.[ \t]*){{{_MAX_DEPTH}}}")


def toml_text(config: Config) -> str:
    """Return a model with all fields as TOML text, with the kind first in each table."""
    return _dumped(_kind_first(config.model_dump(mode="python")))


def short_toml(config: Config, kinds: Iterable[str]) -> str:
    """Return a model as TOML text without fields that have their default value.

    Parameters
    ----------
    config
        The model.
    kinds
        Its fields that are unions; their tables always name the kind.
    """
    table = config.model_dump(mode="python", exclude_defaults=True)
    table |= {key: {"kind": getattr(config, key).kind} | table.get(key, {}) for key in kinds}
    return _dumped(_kind_first(table))


def _dumped(table: dict[str, Any]) -> str:
    """Return a table as TOML text, without keys whose value is None, which TOML lacks.

    Lists of numbers are written as JSON, which is TOML too: tomli_w would write each number on a line of its own.
    """
    lists: dict[str, str] = {}

    def shorten(value: Any) -> Any:
        if is_table(value):
            return {key: shorten(item) for key, item in value.items() if item is not None}
        if not _are_numbers(value):
            return value
        name = f"numbers-{uuid4().hex}"
        lists[f'"{name}"'] = json.dumps(value)
        return name

    text = tomli_w.dumps(shorten(table))
    for name, value in lists.items():
        text = text.replace(name, value)
    return text


def toml_document(text: str, source: str = "") -> dict[str, Any]:
    """Return the content of TOML text.

    Parameters
    ----------
    source
        The file of the text, for the error.

    Raises
    ------
    ConfigError
        When it is not TOML.
    """
    try:
        document = None if _LONG_KEY.search(text) else tomllib.loads(text)
    except RecursionError:
        document = None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([ConfigProblem("", f"not a TOML file{_reason(text, error)}")], source) from error
    except ValueError as error:
        raise ConfigError([ConfigProblem("", "not a TOML file: a number has too many digits")], source) from error
    if document is None or _is_deep(document):
        message = f"has more than {_MAX_DEPTH} nested levels. Give a file that NFKD has written"
        raise ConfigError([ConfigProblem("", message)], source)
    return document


def _is_deep(document: dict[str, Any]) -> bool:
    level: list[Any] = [document]
    for _ in range(_MAX_DEPTH):
        level = [
            item
            for value in level
            for item in (value.values() if is_table(value) else value)
            if isinstance(item, (dict, list))
        ]
    return bool(level)


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises
    ------
    ConfigError
        When it cannot be read, or is not TOML.
    """
    return toml_document(read_text(path), str(path))


def read_text(path: str | os.PathLike[str]) -> str:
    """Return the text of a TOML file.

    Raises
    ------
    ConfigError
        When it cannot be read, or is not UTF-8.
    """
    try:
        return read_limited(Path(path), _MAX_SIZE).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        message = f"cannot be read: not a TOML file, or damaged (no UTF-8 text from byte {error.start + 1:,} on)"
        raise ConfigError([ConfigProblem("", message)], str(path)) from error
    except OSError as error:
        reason = f"it {error.strerror}" if isinstance(error, FileError) else error.strerror or str(error)
        raise ConfigError([ConfigProblem("", f"cannot be read: {reason}")], str(path)) from error


def _reason(text: str, error: Exception) -> str:
    """Return why a text is not TOML; a crash or a full disk can leave zero bytes at the end of a file."""
    if "\0" not in text:
        position = _POSITION.search(str(error))
        return f": wrong syntax ({position[0]})" if position else ": wrong syntax"
    line = text[: text.index("\0")].count("\n") + 1
    return f", or damaged: it contains zero bytes from line {line:,} on, as if writing it was interrupted"


def toml_value(text: str) -> Any:
    """Return the value of an override; a value that is not TOML is a string, such as ``cpu`` in ``device=cpu``."""
    try:
        return toml_document(f"value = {text}\n")["value"]
    except (ConfigError, LookupError):
        return text


def names_value(text: str) -> list[Any]:
    """Return the list of names that an override gives: TOML, such as ``["x, y"]``, or names with commas between them.

    Brackets around the names and quotes around one with a comma are allowed; a number stands for its digits.

    Examples
    --------
    >>> names_value("x, y"), names_value("[x,y]"), names_value('["x, y"]')
    (['x', 'y'], ['x', 'y'], ['x, y'])
    """
    value = toml_value(text)
    if isinstance(value, list):
        return [item if isinstance(item, (str, bool, list, dict)) else str(item) for item in cast("list[Any]", value)]
    if isinstance(value, str) and value != text:
        return [value]  # a text in quotes
    inside = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    cells: list[str] = next(csv.reader([inside], skipinitialspace=True), list[str]())
    return [name for cell in cells if (name := cell.strip())]


def is_table(value: Any) -> TypeGuard[dict[str, Any]]:
    """Return whether a value of a TOML document is a table."""
    return isinstance(value, dict)


def _kind_first(table: dict[str, Any]) -> dict[str, Any]:
    ordered = sorted(table.items(), key=lambda item: item[0] != "kind")
    return {key: _kind_first(value) if is_table(value) else _listed(value) for key, value in ordered}


def _are_numbers(value: Any) -> bool:
    """Return whether a value is a list of finite numbers, or of such lists."""
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return bool(items) and all(_is_number(item) or _are_numbers(item) for item in items)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _listed(value: Any) -> Any:
    if is_table(value):
        return _kind_first(value)  # an item of an array of tables
    return [_listed(item) for item in cast("tuple[Any, ...]", value)] if isinstance(value, tuple) else value
