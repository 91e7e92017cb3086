"""Problems: what is wrong with an experiment, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from nfkd.text import plain

_SHOWN, _LISTED = 80, 100  # characters of a value, and problems of a file, in a message


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One thing that is wrong.

    Attributes
    ----------
    path
        The dotted path of the field, such as ``student.hidden``; empty when the whole file is meant.
    message
        What is wrong and what would be right, in one sentence.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(ValueError):
    """An experiment that cannot be run as it is written.

    Attributes
    ----------
    problems
        Every problem found, each with its path.
    source
        The file or preset that was read, empty when there was none.
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
    return [ConfigProblem(_path(item), _words(item)) for item in error.errors(include_url=False)]


def _path(item: Any) -> str:
    parts = list(item["loc"])
    if item["type"].startswith("union_tag"):
        parts.append("kind")
    elif len(parts) > 1 and parts[0] in {"data", "teacher", "student", "flow"}:
        del parts[1]  # pydantic names the chosen member of a union (teacher.glow.hidden): no file has it there
    elif len(parts) > 2 and parts[0] == "assistants":
        del parts[2]  # likewise in assistants.0.glow.hidden
    return ".".join(str(part) for part in parts)


def _words(item: Any) -> str:  # noqa: PLR0911 - one line for each kind of problem
    kind, context = item["type"], item.get("ctx", {})
    match kind:
        case "extra_forbidden":
            return "there is no such field here"
        case "missing":
            return "is required"
        case "union_tag_invalid":
            return f"{plain(repr(context['tag']), _SHOWN)} is not known; choose one of {context['expected_tags']}"
        case "union_tag_not_found":
            return "needs a field 'kind'"
        case "tuple_type" | "list_type":
            return f"must be a list{_given(item)}"
        case "too_short":
            return f"needs at least {context['min_length']:,}, and has {context['actual_length']:,}"
        case "too_long":
            return f"takes at most {context['max_length']:,}{_counted(context)}"
        case "value_error":
            return str(context["error"])
        case "string_too_long":
            return f"may have at most {context['max_length']:,} characters"
        case _:
            message = str(item["msg"])
            return message[:1].lower() + message[1:] + _given(item)


def _counted(context: Any) -> str:
    """Return how many there are; an endless number is not counted."""
    count = context.get("actual_length")
    return f", and has {count:,}" if count is not None else ""


def _given(item: Any) -> str:
    given = item.get("input")
    return f" (given: {plain(repr(given), _SHOWN)})" if isinstance(given, (bool, int, float, str)) else ""
