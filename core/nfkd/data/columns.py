"""Columns of tables: which hold numbers, and why others are left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nfkd.data.examples import Examples
from nfkd.data.files import ConfigPath, list_names

MOST_COLUMNS = 65_536
_DETAILED = 200  # columns whose names are compared with one that does not exist
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")
AS_CODES = "to use it as context, give a column of 0 and 1 for each value (one-hot)"
AS_DAYS = "give numbers instead, such as days or seconds since the first"
TRUE_FALSE = "holds true and false; name it to use it as 1 and 0"
PANDAS_INDEX = "is the index of a pandas table; name it to use it"


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    name
        From the file; its index if it has none.
    problem
        Why it cannot be read as numbers, such as ``holds dates``; empty if it can.
    mixed
        Whether it holds some numbers in spite of a problem, and may be meant as a column of numbers.
    optional
        Why it is used only if the config names it, such as ``counts the rows``; otherwise empty.
    advice
        What can be done about a problem, such as ``choose columns of numbers``.
    field
        The setting that solves the problem; empty if none does.
    """

    name: str
    problem: str = ""
    mixed: bool = False
    optional: str = ""
    advice: str = ""
    field: str = ""


@dataclass(frozen=True)
class Table:
    """A table in a file.

    Attributes
    ----------
    columns
        All columns, in the order of the file.
    count
        Number of rows.
    rows
        Returns the columns with these indices, which must hold numbers, as (rows, columns) float64 with NaN for
        missing values. If the file is not read whole, their values are read on access.
    texts
        Returns the values of a column as text, None for missing ones.
    reading
        How the file was read, such as ``separated by ;, decimal comma``; may be empty.
    folder
        Of the index, if the rows stay on disk; None if they are to be read into memory.
    """

    columns: tuple[Column, ...]
    count: int
    rows: Callable[[Sequence[int]], Examples]
    texts: Callable[[int], list[str | None]]
    reading: str = ""
    folder: Path | None = None


def refuse_wide(file: ConfigPath, columns: int) -> None:
    """Refuse a file with too many columns."""
    if columns > MOST_COLUMNS:
        file.refuse(f"has more than {MOST_COLUMNS:,} columns: give a file with fewer")


def refuse_repeated(file: ConfigPath, table: Table) -> None:
    """Refuse a table with two columns of one name."""
    twice = [name for name, count in Counter(column.name for column in table.columns).items() if count > 1]
    if twice:
        file.refuse(f"has several columns of the name {min(twice)!r}: give each its own")


@contextmanager
def polars_errors(refuse: Callable[[], Any]) -> Iterator[None]:
    """Call `refuse` for an error of polars; a panic of it is no `Exception`."""
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        refuse()


def suggest_columns(name: str, columns: Sequence[Column]) -> str:
    """Return the columns with names similar to one that does not exist, or else the first few, for a message."""
    from difflib import get_close_matches

    names = [column.name for column in columns]
    similar = get_close_matches(name, names[:_DETAILED], 3, 0.5)
    return f"did you mean {' or '.join(similar)}?" if similar else f"there are {list_names(names)}"


def as_text(value: Any) -> str | None:
    """Return a value as text, whole numbers without a point; None for None."""
    return None if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def mark_index(column: Column, numbers: np.ndarray | None = None) -> Column:
    """Return a column, marked as optional if it is an index: of a name of pandas, or without a name and counting rows.

    Parameters
    ----------
    numbers
        The values of a first column without a name.
    """
    if _PANDAS_INDEX.fullmatch(column.name):
        return replace(column, optional=PANDAS_INDEX)
    if numbers is not None and not column.problem and _counts(numbers):
        return replace(column, optional="counts the rows; name it to use it")
    return column


def _counts(numbers: np.ndarray) -> bool:
    return any(np.array_equal(numbers, np.arange(first, first + len(numbers))) for first in (0, 1))
