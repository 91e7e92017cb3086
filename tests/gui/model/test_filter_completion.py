"""What is proposed while a filter is typed."""

from __future__ import annotations

import pytest

from nfkd.config.run_filter import RunFilter, Value
from nfkd_gui.model.filter_completion import OPERATORS, complete

VALUES: dict[str, list[Value]] = {
    "verdict": ["better", "worse"], "student.hidden": [32.0, 64.0], "student.steps": [2.0], "data": ['a "b"'],
    "distillation.pool.on": [False, True], "monitor.pictures_every": [10.0],
}  # fmt: skip


def options(text: str) -> list[str]:
    return list(complete(text, VALUES, lambda name: VALUES[name]).options)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("s", []),  # one letter is the beginning of too many words
        ("stu", ["student.steps", "student.hidden"]),
        ("hid", ["student.hidden"]),
        ("every", ["monitor.pictures_every"]),
        ("ver", ["verdict"]),  # not every
        ("verdict == ", ['"better"', '"worse"']),
        ("verdict == wo", ['"worse"']),
        ('verdict == "be', ['"better"']),
        ("student.hidden < ", ["32", "64"]),
        ("student.hidden < 6", ["64"]),
        ("data == ", ["'a \"b\"'"]),
        ("distillation.pool.on == ", ["false", "true"]),
        ('verdict == "better"', []),  # a join needs a space before it
        ("student.hidden < 64 ", ["and", "or"]),
        ("student.hidden < 64 a", ["and"]),
        ("student.hidden < 64 and (ver", ["verdict"]),
        ("not ver", ["verdict"]),
        ("unknown == ", []),
    ],
)
def test_names_then_values_then_joins(text: str, found: list[str]) -> None:
    assert options(text) == found


def test_operators_follow_a_name() -> None:
    assert options("verdict ") == list(OPERATORS)


def test_a_filter_can_be_made_of_proposals() -> None:
    text = ""
    for typed in ("hid", "< 6", "an", "verd", "== wor"):
        text += typed
        completion = complete(text, VALUES, lambda name: VALUES[name])
        text = f"{text[: len(text) - completion.length]}{completion.options[0]} "
    assert text == 'student.hidden < 64 and verdict == "worse" '
    assert RunFilter.parse(text).matches({"student.hidden": 32.0, "verdict": "worse"})
