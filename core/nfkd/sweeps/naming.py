"""Names of the directories of a sweep's runs, such as ``hidden-8_steps-2``."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import PurePath
from typing import Any

from nfkd.config.sweep import Values, format_value
from nfkd.config.toml import is_table

_OTHER = re.compile(r"[^A-Za-z0-9._+-]+")
_LENGTH = 60


def run_names(combinations: Sequence[Values], taken: Iterable[str] = ()) -> list[str]:
    """Return a name for each combination, from the values that differ between them.

    Names are at most 64 characters long, valid on all systems, and differ in more than upper and lower case.

    Parameters
    ----------
    combinations
        The values of each run.
    taken
        Names that are used already.

    Examples
    --------
    >>> run_names([{"student.hidden": 8, "seeds.first": 1}, {"student.hidden": 16, "seeds.first": 1}])
    ['hidden-8', 'hidden-16']
    """
    paths = list(dict.fromkeys(path for values in combinations for path in values))
    differing = [path for path in paths if len({_key(values, path) for values in combinations}) > 1]
    labels = short_paths(differing or paths)
    used = {name.casefold() for name in taken}
    names: list[str] = []
    for values in combinations:
        names.append(_unique(_name(values, labels), used))
        used.add(names[-1].casefold())
    return names


def short_paths(paths: Iterable[str]) -> dict[str, str]:
    """Return for each path as many of its last parts as are needed to tell it from the others."""
    paths = list(paths)
    labels: dict[str, str] = {}
    for path in paths:
        parts = path.split(".")
        for length in range(1, len(parts) + 1):
            labels[path] = ".".join(parts[-length:])
            if sum(other == labels[path] or other.endswith(f".{labels[path]}") for other in paths) == 1:
                break
    return labels


def _key(values: Values, path: str) -> str:
    return format_value(values[path]) if path in values else "\0"


def _name(values: Values, labels: dict[str, str]) -> str:
    parts = [f"{_OTHER.sub('-', label)}-{_short(values[path])}" for path, label in labels.items() if path in values]
    return "_".join(parts)[:_LENGTH].rstrip("._-") or "run"


def _short(value: Any) -> str:
    if is_table(value):
        digest = hashlib.sha256(format_value(value).encode()).hexdigest()[:6]
        return f"{_OTHER.sub('-', str(value.get('kind', '')))}{digest}"
    text = PurePath(value).stem if isinstance(value, str) else format_value(value)
    return _OTHER.sub("-", f"{value:g}" if isinstance(value, float) else text).strip("-") or "empty"


def _unique(name: str, used: set[str]) -> str:
    if name.casefold() not in used:
        return name
    return next(other for number in count(2) if (other := f"{name}-{number}").casefold() not in used)
