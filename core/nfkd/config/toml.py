"""Configuration as TOML text."""

from __future__ import annotations

from typing import Any, TypeGuard, cast

import tomlkit
import tomlkit.exceptions

from nfkd.config.base import Config


def toml_text(config: Config) -> str:
    """Return a model as TOML text: every field written out, the kind of each table first."""
    return tomlkit.dumps(_kind_first(config.model_dump(mode="python")))


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
