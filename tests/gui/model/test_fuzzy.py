"""Fuzzy search: which titles fit, which letters, and what comes first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfkd_gui.model.fuzzy import match


def ranked(query: str, *titles: str) -> list[str]:
    found = [(item.cost, title) for title in titles if (item := match(query, title)) is not None]
    return [title for _, title in sorted(found)]


@pytest.mark.parametrize(
    ("query", "title", "letters"),
    [
        ("hid", "Student › Hidden channels", "Hid"),
        ("stu hid", "Student › Hidden channels", "StuHid"),
        ("HIDDEN", "Student › Hidden channels", "Hidden"),
        ("annel", "Hidden channels", "annel"),
        ("lrng", "Learning rate", "Lrng"),
        ("", "Learning rate", ""),
        ("straße", "Die STRASSE und die Straße", "Straße"),
    ],
)
def test_the_letters_that_match(query: str, title: str, letters: str) -> None:
    found = match(query, title)
    assert found is not None
    assert "".join(title[index] for index in found.letters) == letters


@pytest.mark.parametrize(("query", "title"), [("xyz", "Hidden"), ("hid xyz", "Hidden"), ("hs", "Hidden channels")])
def test_what_does_not_fit(query: str, title: str) -> None:
    assert match(query, title) is None


def test_better_places_come_first() -> None:
    assert ranked("seed", "Reseeding", "First seed", "Seeds", "s-e-e-d") == [
        "Seeds",
        "First seed",
        "Reseeding",
        "s-e-e-d",
    ]
    assert ranked("run", "Run all", "Run") == ["Run", "Run all"]


def test_other_text_is_found_after_titles() -> None:
    found = match("patience", "Early stop", "Teacher's patience")
    titled = match("patience", "Teacher's patience")
    assert found is not None
    assert titled is not None
    assert (found.letters, found.cost > titled.cost) == ((), True)


@given(st.text(max_size=12), st.text(max_size=40))
def test_any_text_can_be_searched(query: str, title: str) -> None:
    found = match(query, title)
    assert found is None or all(0 <= index < len(title) for index in found.letters)
    assert match(title, title) is not None
