"""Fuzzy search: how well a title fits the words that a user types."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORD = re.compile(r"\w+")
_START, _WORD_START, _INSIDE, _SCATTERED, _ELSEWHERE = 0.0, 1.0, 3.0, 5.0, 8.0
"""Costs of a word: at the start of the title, of one of its words, inside a word, as single letters, in other text."""
_WIDEST = 3
"""Letters of a word may be spread over this many times its length."""
_FEWEST = 3
"""Letters of a word that may be scattered; with fewer, almost every title would fit."""
_PER_LETTER = 0.01


@dataclass(frozen=True)
class Match:
    """How a title fits a query.

    Attributes
    ----------
    cost
        Lower is better.
    letters
        Indices of the title's letters that match, in order.
    """

    cost: float
    letters: tuple[int, ...]


def match(query: str, title: str, more: str = "") -> Match | None:
    """Return how a title fits a query, or None if a word of the query is neither in it nor in `more`.

    Every word of the query must be found: as the start of a word of the title, inside one, or as letters in the same
    order not far from each other. In `more`, such as a help text, it must be found as a whole.

    Examples
    --------
    >>> match("hid ch", "Hidden channels").letters
    (0, 1, 2, 7, 8)
    """
    folded, cost, letters = _fold(title), 0.0, set[int]()
    for word in _fold(query).split():
        found = _in_title(word, folded)
        if found is not None:
            cost += found[0]
            letters.update(found[1])
        elif word in _fold(more):
            cost += _ELSEWHERE
        else:
            return None
    return Match(cost + _PER_LETTER * len(title), tuple(sorted(letters)))


def _fold(text: str) -> str:
    """Return a text in lower case, with as many characters as before."""
    return "".join(lower if len(lower := letter.lower()) == 1 else letter for letter in text)


def _in_title(word: str, title: str) -> tuple[float, range | list[int]] | None:
    if title.startswith(word):
        return _START, range(len(word))
    for start in _WORD.finditer(title):
        if title.startswith(word, start.start()):
            return _WORD_START, range(start.start(), start.start() + len(word))
    inside = title.find(word)
    if inside >= 0:
        return _INSIDE, range(inside, inside + len(word))
    return _scattered(word, title)


def _scattered(word: str, title: str) -> tuple[float, list[int]] | None:
    """Find the letters of a word in order, from the first possible start."""
    if len(word) < _FEWEST:
        return None
    best: list[int] | None = None
    for first in (index for index, letter in enumerate(title) if letter == word[0]):
        letters = [first]
        for letter in word[1:]:
            index = title.find(letter, letters[-1] + 1)
            if index < 0:
                break
            letters.append(index)
        if len(letters) == len(word) and (best is None or letters[-1] - first < best[-1] - best[0]):
            best = letters
    if best is None or best[-1] - best[0] >= _WIDEST * len(word):
        return None
    return _SCATTERED + (best[-1] - best[0]) / (_WIDEST * len(word)), best
