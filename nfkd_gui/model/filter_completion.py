"""What can follow in a filter of runs: names, operators, then the values that runs have. No Qt."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from nfkd.config.run_filter import Value

OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "~", "in")
_JOINS = ("and", "or", "not")
_TOKEN = re.compile(r"""\s*("[^"]*"|'[^']*'|[\w.\[\]]+|==|!=|<=|>=|[<>~()\[\],])""")
_LEAST, _MOST = 2, 40  # letters before names are proposed; proposals


@dataclass(frozen=True)
class Completion:
    """What can follow: `options` replace the last `length` characters before the cursor."""

    length: int = 0
    options: Sequence[str] = ()


def complete(text: str, names: Collection[str], values_of: Callable[[str], Sequence[Value]]) -> Completion:
    """Return what can follow a filter.

    Parameters
    ----------
    text
        The filter up to the cursor.
    names
        Every column, setting and figure.
    values_of
        Returns the values that runs have of one of them.

    Examples
    --------
    >>> complete("verdict ", {"verdict"}, lambda name: []).options[0]
    '=='
    """
    whole, part = _split(text)
    before = _TOKEN.findall(whole)
    last = before[-1] if before else ""
    if last in OPERATORS:
        name = before[-2] if len(before) > 1 else ""
        return _matching(part, [_written(value) for value in values_of(name)]) if name in names else Completion()
    if last in names:
        return _matching(part, OPERATORS)
    if last in {"", "(", *_JOINS}:
        return _matching(part, sorted(names, key=len)) if len(part) >= _LEAST else Completion()
    begun = bool(part) or whole[-1:].isspace()  # directly after a value nothing follows yet
    return _matching(part, _JOINS[:2]) if begun and len(before) > 1 else Completion()


def _split(text: str) -> tuple[str, str]:
    """Return what is before the last token, and the token, which may be the beginning of a quoted text."""
    opened = re.match(r"""^((?:[^"']|"[^"]*"|'[^']*')*)(["'][^"']*)$""", text)
    if opened:
        return opened[1], opened[2]
    part = re.search(r"[\w.]*$", text)
    cut = part.start() if part else len(text)
    return text[:cut], text[cut:]


def _matching(part: str, options: Sequence[str]) -> Completion:
    """Return the options that have a word which begins with the part; those that themselves do come first."""
    wanted = part.strip("\"'").casefold()
    begins = re.compile(rf"(^|[\W_]){re.escape(wanted)}")
    found = [option for option in options if begins.search(option.casefold()) and option != part]
    found.sort(key=lambda option: not option.strip("\"'").casefold().startswith(wanted))
    return Completion(len(part), found[:_MOST])


def _written(value: Value) -> str:
    """Return a value as a filter has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value}'" if '"' in value else f'"{value}"'
    return f"{value:.10g}" if value is not None else ""
