"""Configuration as TOML text."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any, TypeGuard, cast

import tomlkit

from nfkd.config.base import Config
from nfkd.config.problems import ConfigError, ConfigProblem
from nfkd.files import FileError, read_limited

_LIMIT = 4 << 20  # bytes of a file: a drawing of 100,000 points takes nearly as many
_DEPTH = 32  # tables and lists inside each other: an experiment has 4
# tomllib needs the square of a key's length, and is asked about no key of a thousand parts. tomlkit has a limit of its
# own, and is not used for reading, since it takes half a minute for a megabyte of empty lines.
_LONG_KEY = re.compile(rf"(?<![\w-])(?:(?:[\w-]+|\"[^\"\n]*\"|'[^'\n]*')[ \t]*\.[ \t]*){{{_DEPTH}}}")


def toml_text(config: Config) -> str:
    """Return a model as TOML text: every field written out, the kind of each table first."""
    return tomlkit.dumps(_kind_first(config.model_dump(mode="python")))


def toml_document(text: str, source: str = "") -> dict[str, Any]:
    """Return the document of a TOML text.

    Parameters
    ----------
    source
        The file that it was read from, for the error.

    Raises
    ------
    ConfigError
        When it is no TOML.
    """
    try:
        document = None if _LONG_KEY.search(text) else tomllib.loads(text)
    except RecursionError:
        document = None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([ConfigProblem("", f"not a TOML file{_why(text, error)}")], source) from error
    except ValueError as error:
        raise ConfigError(
            [ConfigProblem("", "not a TOML file: a number has more digits than can be read")], source
        ) from error
    if document is None or _is_deep(document):
        words = f"nested more than {_DEPTH} levels deep: no experiment is. Give a file that NFKD has written"
        raise ConfigError([ConfigProblem("", words)], source)
    return document


def _is_deep(document: dict[str, Any]) -> bool:
    level: list[Any] = [document]
    for _ in range(_DEPTH):
        level = [
            item
            for value in level
            for item in (value.values() if is_table(value) else value)
            if isinstance(item, (dict, list))
        ]
    return bool(level)


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the document of a TOML file.

    Raises
    ------
    ConfigError
        When it cannot be read, or is no TOML.
    """
    return toml_document(read_text(path), str(path))


def read_text(path: str | os.PathLike[str]) -> str:
    """Return the text of a TOML file.

    Raises
    ------
    ConfigError
        When it cannot be read, or is no text.
    """
    try:
        return read_limited(Path(path), _LIMIT).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        words = f"cannot be read, not a TOML file or a damaged one: no text in UTF-8 from byte {error.start + 1:,} on"
        raise ConfigError([ConfigProblem("", words)], str(path)) from error
    except OSError as error:
        why = f"it {error.strerror}" if isinstance(error, FileError) else error.strerror or str(error)
        words = f"cannot be read: {why}"
        raise ConfigError([ConfigProblem("", words)], str(path)) from error


def _why(text: str, error: Exception) -> str:
    """Say what keeps a text from being TOML; bytes of zero are what a crash or a full disk leaves of a file's end."""
    if "\0" not in text:
        return f": {error}"
    line = text[: text.index("\0")].count("\n") + 1
    return f", or a damaged one: it holds bytes of zero from line {line:,} on, as one that was not written whole"


def toml_value(text: str) -> Any:
    """Return the value of an assignment; what is no TOML is meant as text, such as ``cpu`` in ``--set device=cpu``."""
    try:
        return toml_document(f"value = {text}\n")["value"]
    except (ConfigError, LookupError):
        return text


def is_table(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether a value of a TOML document is a table."""
    return isinstance(value, dict)


def _kind_first(table: dict[str, Any]) -> dict[str, Any]:
    ordered = sorted(table.items(), key=lambda item: item[0] != "kind")
    return {key: _kind_first(value) if is_table(value) else _listed(value) for key, value in ordered}


def _listed(value: Any) -> Any:
    if is_table(value):
        return _kind_first(value)  # one of an array of tables
    return [_listed(item) for item in cast("tuple[Any, ...]", value)] if isinstance(value, tuple) else value
