"""Problems of an experiment, each with the path of its field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from nfkd.text import plain

_SHOWN, _LISTED = 80, 100  # characters of a value, and problems of a file, in a message
LONGEST_MESSAGE = 2000
"""Most characters of a message about a problem; a longer one is cut."""


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """A problem at a field.

    Attributes
    ----------
    path
        The dotted path of the field, such as ``student.hidden``; empty for the whole file.
    message
        What is wrong and what is allowed, in one sentence; cut to `LONGEST_MESSAGE`.
    fix
        A value of the field that solves it, or items to add to a list; empty if there is none to propose.
    """

    path: str
    message: str
    fix: str | tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if len(self.message) > LONGEST_MESSAGE:
            object.__setattr__(self, "message", f"{self.message[: LONGEST_MESSAGE - 1]}…")

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(ValueError):
    """An experiment is not valid.

    Attributes
    ----------
    problems
        Every problem.
    source
        The file or preset; may be empty.
    """

    def __init__(self, problems: list[ConfigProblem], source: str = "") -> None:
        self.problems = list(problems)
        self.source = source
        super().__init__(str(self))

    def __str__(self) -> str:
        head = f"{self.source}: " if self.source else ""
        if len(self.problems) == 1:
            return f"{head}{self.problems[0]}"
        lines = [f"  {problem}" for problem in self.problems[:_LISTED]]
        if len(self.problems) > _LISTED:
            lines.append(f"  … and {len(self.problems) - _LISTED:,} more")
        return "\n".join([f"{head}{len(self.problems)} problems", *lines])


def problems_of(error: ValidationError) -> list[ConfigProblem]:
    """Return pydantic's errors as problems, each with its path in the file."""
    return [ConfigProblem(_path(item), _message(item)) for item in error.errors(include_url=False)]


def _path(item: Any) -> str:
    parts = list(item["loc"])
    if item["type"].startswith("union_tag"):
        parts.append("kind")
    elif len(parts) > 1 and parts[0] in {"data", "teacher", "student", "flow"}:
        del parts[1]  # pydantic inserts the chosen member of a union, as in teacher.glow.hidden
    elif len(parts) > 2 and parts[0] == "assistants":
        del parts[2]  # as in assistants.0.glow.hidden
    return ".".join(str(part) for part in parts)


_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("greater than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "string": "text",
    "bool": "true or false",
    "tuple": "a list",
    "list": "a list",
    "dict": "a table",
    "model": "a table",
}


def _message(item: Any) -> str:  # noqa: PLR0911 - one line for each kind of problem
    kind, context = item["type"], item.get("ctx", {})
    if kind in _BOUNDS:
        bound, key = _BOUNDS[kind]
        limit = context[key]
        return f"must be {bound} {int(limit) if limit == int(limit) else limit:,}{_format_input(item)}"
    match kind:
        case "extra_forbidden":
            return "there is no such field here"
        case "missing":
            return "is required"
        case "union_tag_invalid":
            return f"{plain(repr(context['tag']), _SHOWN)} is not known; choose one of {context['expected_tags']}"
        case "union_tag_not_found":
            return "needs a field 'kind'"
        case "too_short":
            return f"needs at least {context['min_length']:,}, and has {context['actual_length']:,}"
        case "too_long":
            count = context.get("actual_length")  # None for a list that pydantic stops counting
            return f"takes at most {context['max_length']:,}" + (f", and has {count:,}" if count is not None else "")
        case "value_error":
            return str(context["error"])
        case "string_too_long":
            return f"may have at most {_characters(context['max_length'])}"
        case "string_too_short":
            return f"needs at least {_characters(context['min_length'])}"
        case _:
            return _type_message(item)


def _type_message(item: Any) -> str:
    """Return the message for a value of another type, such as int_parsing, float_type or literal_error."""
    kind, value = item["type"], item.get("input")
    expected = item["ctx"]["expected"] if kind == "literal_error" else _TYPES.get(kind.partition("_")[0])
    if expected is None:
        return f"cannot be used here{_format_input(item)}"
    if isinstance(value, str) and not value.strip():
        return f"is empty; it must be {expected}"
    if kind == "tuple_type" and isinstance(value, str):
        return f'must be a list, such as ["x", "y"]{_format_input(item)}'
    return f"must be {expected}{_format_input(item)}"


def _characters(count: int) -> str:
    return f"{count:,} character{'' if count == 1 else 's'}"


def _format_input(item: Any) -> str:
    """Return the wrong value as it is written in TOML, if it is short."""
    value = item.get("input")
    if isinstance(value, bool):
        return f" (given: {str(value).lower()})"
    return f" (given: {plain(repr(value), _SHOWN)})" if isinstance(value, (int, float, str)) else ""
