"""Numbers written as text: decimal signs, thousands signs and markers of missing values.

A column is read with the signs that fit all its values. Where several fit, such as in ``1,234``, the other columns
decide; where these do not either, the column has a problem that names the setting.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nfkd.config.tables import TableConfig

MISSING = (
    "NA", "N/A", "n/a", "na", "#N/A", "#NA", "<NA>", "NaN", "nan", "NAN", "null", "NULL", "Null", "None", "none",
    "-", "--", ".", "?",
)  # fmt: skip
"""Texts that stand for a missing value, besides empty text."""
_DECIMALS = {"point": ".", "comma": ","}
_THOUSANDS = {"none": "", "comma": ",", "point": ".", "space": " ", "apostrophe": "'"}
_CLASSES = {",": ",", ".": r"\.", " ": "[ \u00a0\u202f\u2009]", "'": "['\u2019]"}
_LABELS = {",": "comma", ".": "point", " ": "blank", "'": "apostrophe"}
_MINUS = "\u2212"  # the typographic one
_SIGNS = rf"+\-{_MINUS}"
_BEFORE = r"[$€£¥₹<>~≈]|USD|EUR|GBP|CHF|JPY"
_AFFIXES = re.compile(
    rf"[{_SIGNS}]?\s*(?P<before>{_BEFORE})?\s*[{_SIGNS}]?[\d.,'\s]*\d\s*(?P<after>[^\d\s.,]\D{{0,7}})?"
)
_EXPONENT = r"(?:[eE][+-]?\d+)?"
_WORDS = r"(?i:inf|infinity|nan)"
_MANY = 100  # columns: more are joined for an operation
_SAMPLE = 1000  # values that decide which signs are tried on the whole column


@dataclass(frozen=True)
class Style:
    """A decimal sign, and the sign between groups of three digits (empty if there is none)."""

    decimal: str
    thousands: str

    @property
    def pattern(self) -> str:
        """A regular expression of all numbers in this style."""
        decimal, digits = _CLASSES[self.decimal], r"\d+"
        if self.thousands:
            digits = rf"(?:\d+|[1-9]\d{{0,2}}(?:{_CLASSES[self.thousands]}\d{{3}})+)"
        return rf"^[{_SIGNS}]?(?:(?:{digits}(?:{decimal}\d*)?|{decimal}\d+){_EXPONENT}|{_WORDS})$"

    @property
    def label(self) -> str:
        """Such as ``decimal comma, thousands point``; empty for plain numbers."""
        found = ["decimal comma"] if self.decimal == "," else []
        return ", ".join([*found, f"thousands {_LABELS[self.thousands]}"] if self.thousands else found)


PLAIN = Style(".", "")
_STYLES = (
    PLAIN,
    Style(",", ""),
    *(Style(decimal, thousands) for thousands in (",", ".", " ", "'") for decimal in ".," if decimal != thousands),
)
_PLAIN = re.compile(PLAIN.pattern)
_ANY = re.compile("|".join(style.pattern for style in _STYLES))
_START = re.compile(rf"[{_SIGNS}.,\dinIN]")


def is_plain(text: str) -> bool:
    """Return whether text is a number with a point and without thousands signs."""
    return _PLAIN.match(text) is not None and _MINUS not in text


def is_number(text: str) -> bool:
    """Return whether text is a number in any style, or stands for a missing value; blanks around it do not count."""
    text = text.strip().strip('"').strip()
    return not text or text in MISSING or (_START.match(text) is not None and _ANY.match(text) is not None)


def is_comma_number(text: str) -> bool:
    """Return whether text may be a number with a decimal comma."""
    return "," in text and _ANY.match(text) is not None


def allowed_styles(config: TableConfig) -> list[Style]:
    """Return the styles that the settings allow."""
    return [
        style
        for style in _STYLES
        if config.decimal in ("auto", "point" if style.decimal == "." else "comma")
        and (config.thousands == "auto" or _THOUSANDS[config.thousands] in (style.thousands, ""))
        and not (config.thousands == "none" and style.thousands)
    ]


def change_all(frame: Any, change: Callable[[Any], Any]) -> Any:
    """Return a frame with an expression applied to every column; to many at once, since each takes its time."""
    import polars as pl

    if frame.width <= _MANY:
        return frame.select(change(pl.all()))
    height, changed = frame.height, _joined(frame, change)
    return pl.DataFrame([changed.slice(index * height, height).alias(name) for index, name in enumerate(frame.columns)])


def holds_for_all(frame: Any, test: Callable[[Any], Any]) -> list[bool]:
    """Return for each column whether a test holds for all its values; missing ones do not count."""
    import polars as pl

    if not frame.width:
        return []
    if frame.width <= _MANY or not frame.height:
        return list(frame.select(test(pl.all()).all()).row(0))
    marks = _joined(frame, test).fill_null(value=True).to_numpy()
    return marks.reshape(frame.width, frame.height).all(axis=1).tolist()


def _joined(frame: Any, change: Callable[[Any], Any]) -> Any:
    """Return the changed values of all columns, one column after the other."""
    import polars as pl

    values = pl.concat(frame.get_columns(), rechunk=True).alias("values")  # a slice of many chunks takes long
    return values.to_frame().select(change(pl.col("values"))).to_series()


def cleaned(frame: Any, config: TableConfig) -> Any:
    """Return columns of text without blanks and quotes around their values, and with null for missing ones."""
    import polars as pl

    missing = ["", *(config.missing_texts or MISSING)]

    def clean(column: Any) -> Any:
        text = column.str.strip_chars().str.strip_chars('"').str.strip_chars()
        return pl.when(text.is_in(missing).not_()).then(text).name.keep()

    return change_all(frame, clean)


@dataclass(frozen=True)
class Reading:
    """The styles that fit a column of text.

    Attributes
    ----------
    styles
        At most one for each decimal sign, the plainest.
    signed
        Whether some value has a comma or a point, so that the decimal sign matters.
    """

    styles: tuple[Style, ...]
    signed: bool

    @property
    def decimal(self) -> str:
        """The decimal sign, if only one fits and the values show it; otherwise empty."""
        return self.styles[0].decimal if len(self.styles) == 1 and self.signed else ""


def fitting(frame: Any, styles: Sequence[Style]) -> dict[str, Reading]:
    """Return the styles that fit all values of each column of a frame of `cleaned` text, by the column's name."""
    found: dict[str, dict[str, Style]] = {name: {} for name in frame.columns}
    first = frame.row(0) if frame.height else (None,) * frame.width
    possible = [name for name, value in zip(frame.columns, first, strict=True) if value is None or _ANY.match(value)]
    for style in styles:
        names = [name for name in possible if style.decimal not in found[name]]
        for rows in (frame.head(_SAMPLE), frame) if frame.height > _SAMPLE else (frame,):
            fits = holds_for_all(rows.select(names), lambda column, style=style: column.str.contains(style.pattern))
            names = [name for name, fit in zip(names, fits, strict=True) if fit]
        for name in names:
            found[name][style.decimal] = style
    numbers = [name for name in possible if found[name]]
    plain = holds_for_all(frame.select(numbers), lambda column: ~column.str.contains("[.,]"))
    signed = {name for name, unsigned in zip(numbers, plain, strict=True) if not unsigned}
    return {name: Reading(tuple(known.values()), name in signed) for name, known in found.items()}


def first_wrong(series: Any, styles: Sequence[Style]) -> tuple[int, str, bool]:
    """Return index and text of the first value that is not a number in the style that fits most, and if any fit."""
    marks = [series.str.contains(style.pattern).fill_null(value=True) for style in styles]
    best = max(marks, key=lambda mark: mark.sum())
    row = (~best).arg_max()
    return row, series[row], best.sum() > series.null_count()


def parsed(column: Any, style: Style) -> Any:
    """Return the expression of a column of text in a style as Float64; nulls stay."""
    import polars as pl

    column = column.str.replace(_MINUS, "-", literal=True)
    if style.thousands:
        column = column.str.replace_all(_CLASSES[style.thousands], "")
    if style.decimal == ",":
        column = column.str.replace(",", ".", literal=True)
    return column.cast(pl.Float64, strict=False)


def without_affixes(series: Any) -> tuple[Any, str]:
    """Return a column of text without what is before or after each number, such as ``%``, ``€`` or ``kg``, and that.

    The text is empty, and the column unchanged, if it is not the same beside all numbers.
    """
    values = series.drop_nulls()
    found = _AFFIXES.fullmatch(values[0].strip()) if len(values) else None
    before, after = (found["before"] or "", (found["after"] or "").strip()) if found else ("", "")
    if not (before or after):
        return series, ""
    beside = values.str.ends_with(after) & values.str.contains(before, literal=True)
    if not beside.all():
        return series, ""
    bare = series.str.strip_suffix(after)
    bare = bare.str.replace(before, "", literal=True) if before else bare
    bare = bare.str.replace(rf"^([{_SIGNS}])\s+", "$1")
    return bare.str.strip_chars(), " and ".join(part for part in (before, after) if part)


def chosen_style(reading: Reading, decimals: set[str], separator: str) -> Style | None:
    """Return the style of a column, decided by the decimal signs of the other columns; None if nothing decides.

    Parameters
    ----------
    reading
        Of the column.
    decimals
        Decimal signs that other columns show.
    separator
        Of the file; empty if it is no text file. Between commas, a point is a decimal sign.
    """
    if len(reading.styles) < 2 or not reading.signed:
        return reading.styles[0] if reading.styles else None
    by_decimal = {style.decimal: style for style in reading.styles}
    plain = by_decimal["."] == PLAIN
    if plain and (separator == "," or decimals <= {"."}):
        return PLAIN
    return by_decimal[next(iter(decimals))] if len(decimals) == 1 else None
