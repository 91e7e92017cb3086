"""Configuration as TOML text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeGuard, cast

import tomlkit
import tomlkit.exceptions

from nfkd.config.base import Config
from nfkd.config.errors import ConfigError, Fault


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
        return tomlkit.parse(text).unwrap()
    except tomlkit.exceptions.TOMLKitError as error:
        raise ConfigError([Fault("", f"not a TOML file{_why(text, error)}")], source) from error


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
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        words = f"cannot be read, not a TOML file or a damaged one: no text in UTF-8 from byte {error.start + 1:,} on"
        raise ConfigError([Fault("", words)], str(path)) from error
    except OSError as error:
        raise ConfigError([Fault("", f"cannot be read: {error}")], str(path)) from error


def _why(text: str, error: Exception) -> str:
    """Say what keeps a text from being TOML; bytes of zero are what a crash or a full disk leaves of a file's end."""
    if "\0" not in text:
        return f": {error}"
    line = text[: text.index("\0")].count("\n") + 1
    return f", or a damaged one: it holds bytes of zero from line {line:,} on, as one that was not written whole"


def toml_value(text: str) -> Any:
    """Return the value of an assignment; what is no TOML is meant as text, such as ``cpu`` in ``--set device=cpu``."""
    try:
        return tomlkit.parse(f"value = {text}\n").unwrap()["value"]
    except (tomlkit.exceptions.ParseError, ValueError):
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
