"""Fields of an experiment by their dotted paths, such as ``student.hidden`` and ``assistants.0.steps``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, cast

from nfkd.config.toml import is_table


def set_field(document: dict[str, Any], path: str, value: Any) -> None:
    """Set the field at a dotted path of nested tables and lists.

    Parameters
    ----------
    document
        Changed in place.
    path
        Entries of lists are named by their index. Missing tables are created, and an index may be one after the last.

    Raises
    ------
    LookupError
        With a message, when there is a value instead of a table, or an index is out of range.
    """
    *parents, last = path.split(".")
    section: Any = document
    for key, next_key in pairwise([*parents, last]):
        section = _subsection(section, key, next_key)
    _set_item(section, last, value)


def field_paths(document: dict[str, Any]) -> list[str]:
    """Return the dotted paths of all tables and values of nested tables and lists."""
    return list(_paths(document, ""))


def _paths(section: Any, start: str) -> Iterator[str]:
    items: Any = section.items() if is_table(section) else enumerate(cast("list[Any]", section))
    for key, value in items:
        yield f"{start}{key}"
        if isinstance(value, (dict, list, tuple)):
            yield from _paths(value, f"{start}{key}.")


def _subsection(section: Any, key: str, next_key: str) -> Any:
    """Return the table or list at a key or index; create a missing one."""
    index = _index(section, key)
    if index == len(section) or (is_table(section) and key not in section):
        _set_item(section, key, [] if next_key.isdecimal() else {})
    subsection = section[index]
    if isinstance(subsection, tuple):
        section[index] = subsection = list(cast("tuple[Any, ...]", subsection))
    if type(subsection) not in {dict, list}:
        msg = f"{key} is a value, not a section"
        raise LookupError(msg)
    return subsection


def _set_item(section: Any, key: str, value: Any) -> None:
    index = _index(section, key)
    if index == len(section):
        section.append(value)
    else:
        section[index] = value


def _index(section: Any, key: str) -> Any:
    """Return the dict key, or a list index up to `len`."""
    if is_table(section):
        return key
    if not key.isdecimal() or int(key) > len(section):
        msg = f"{key} is not an index of a list of {len(section)}; indices start at 0"
        raise LookupError(msg)
    return int(key)
