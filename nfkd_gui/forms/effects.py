"""Whether a field has an effect at present, from the rules beside the fields of the configuration."""

from __future__ import annotations

from typing import Any

from nfkd_gui.forms.fields import Field


def has_effect(field: Field, document: dict[str, Any]) -> bool:
    """Return whether a field has an effect, given the values of all fields as nested dictionaries."""
    rules = field.needs
    return not rules or any(all(_holds(value_at(document, path), rule[path]) for path in rule) for rule in rules)


def _holds(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, list):
        return value in wanted
    if isinstance(wanted, bool):
        return bool(value) == wanted
    return not isinstance(value, (int, float)) or value > wanted  # a text is wrong here, and its field is shown


def value_at(document: Any, path: str) -> Any:
    """Return the value at a dotted path, or None."""
    for key in path.split("."):
        if isinstance(document, list):
            document = document[int(key)] if key.isdecimal() and int(key) < len(document) else None
        else:
            document = document.get(key) if isinstance(document, dict) else None
    return document
