"""The rows above the values of a table: titles, the header, and rows of units below it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from nfkd.data.numbers import is_number

Row = Sequence[str]
_MOST_TITLES, _MOST_UNITS = 50, 3  # rows
_FEWEST = 3  # rows of values below
_COUNT = re.compile(r"\d+")
_MOSTLY = 0.9  # share of the values of a column that are numbers


def count_titles(rows: Sequence[Row]) -> int:
    """Return the number of rows above the table, such as a title, which have fewer values than most rows.

    A row of fewer values may also be the header that R writes, or belong to values that are missing. So rows are
    titles only if a header with values below follows, or if they hold one text each and numbers follow.
    """
    filled = [_filled(row) for row in rows]
    width = Counter(filled).most_common(1)[0][0] if filled else 0
    count = next((index for index, found in enumerate(filled) if found >= width), 0)
    if width < 2 or not 0 < count <= min(_MOST_TITLES, len(rows) - _FEWEST):
        return 0
    if any(_is_value(cell) for row in rows[:count] for cell in row[1:]):
        return 0
    following, below = rows[count], rows[count + 1 :]
    if any(_is_text(cell) and _holds_numbers(below, index) for index, cell in enumerate(following)):
        return count
    alone = all(len(row) == 1 and _is_text(row[0]) for row in rows[:count])
    r_header = count == 1 and width == 2
    return count if alone and not r_header and all(_is_value(cell) for cell in following) else 0


def is_header(rows: Sequence[Row]) -> bool:
    """Return whether the first row has names.

    It has if a text is above a column of numbers. Where texts are only above texts, it is a row of values if one of
    its texts occurs again below, or one of its numbers has a sign or a fraction.
    """
    first, below = [cell.strip() for cell in rows[0]], rows[1:]
    texts = [index for index, cell in enumerate(first) if _is_text(cell)]
    if not texts:  # pandas' index, and its names of columns without any
        return len(first) > 1 and not first[0] and all(_COUNT.fullmatch(cell) for cell in first[1:])
    if not below or any(_holds_numbers(below, index) for index in texts):
        return True
    numbers = [cell for index, cell in enumerate(first) if _is_value(cell) and _holds_numbers(below, index)]
    if not numbers:
        return True
    again = any(row[index].strip() == first[index] for index in texts for row in below if index < len(row))
    return not again and all(_COUNT.fullmatch(cell) for cell in numbers)


def count_units(body: Sequence[Row]) -> int:
    """Return the number of rows below the header that have text where all others have numbers, such as units."""
    for count in range(_MOST_UNITS + 1):
        row, below = body[count] if count < len(body) else (), body[count + 1 :]
        over = [cell for index, cell in enumerate(row) if _holds_numbers(below, index)]
        if len(below) < _FEWEST or any(_is_value(cell) for cell in over) or not any(map(_is_text, over)):
            return count
    return 0


def has_row_names(body: Sequence[Row]) -> bool:
    """Return whether the first value of each row is its name or its number, as R writes them."""
    first = [row[0].strip().strip('"') for row in body]
    return all(_is_text(cell) for cell in first) or all(_COUNT.fullmatch(cell) for cell in first)


def skipped_rows(titles: int, units: int) -> list[str]:
    """Return what is said of rows that are skipped, such as ``2 rows above the header skipped``."""
    both = ((titles, "above the table"), (units, "of units below the header"))
    return [f"{count} {'row' if count == 1 else 'rows'} {where} skipped" for count, where in both if count]


def _filled(row: Row) -> int:
    """Return the number of values up to the last that is not empty."""
    return next((count for count in range(len(row), 0, -1) if row[count - 1].strip()), 0)


def _is_text(cell: str) -> bool:
    return not is_number(cell)


def _is_value(cell: str) -> bool:
    """Return whether a cell is a number; a missing value is none."""
    return any(map(str.isdigit, cell)) and is_number(cell)


def _holds_numbers(rows: Sequence[Row], index: int) -> bool:
    """Return whether most values of a column are numbers, and some are not missing."""
    cells = [row[index] for row in rows if index < len(row)]
    most = (1 - _MOSTLY) * len(cells)
    wrong = 0
    for cell in cells:
        wrong += not is_number(cell)
        if wrong > most:
            return False
    return any(map(_is_value, cells))
