"""Numbers written as text: decimal signs, thousands signs and markers of missing values.

A column is read with the signs that fit all its values. Where several fit, such as in ``1,234``, the other columns
decide; where these do not either, the column has a problem that names the setting.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
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
_EXPONENT = r"(?:[eE][+-]?\d+)?"
_WORDS = r"(?i:inf|infinity|nan)"
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
        return rf"^[+-]?(?:(?:{digits}(?:{decimal}\d*)?|{decimal}\d+){_EXPONENT}|{_WORDS})$"

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
_START = re.compile(r"[+\-.,\dinIN]")


def is_plain(text: str) -> bool:
    """Return whether text is a number with a point and without thousands signs."""
    return _PLAIN.match(text) is not None


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


def cleaned(frame: Any, config: TableConfig) -> Any:
    """Return columns of text without blanks and quotes around their values, and with null for missing ones."""
    import polars as pl

    missing = ["", *(config.missing_texts or MISSING)]
    stripped = frame.select(pl.all().str.strip_chars().str.strip_chars('"').str.strip_chars())
    return stripped.select(pl.when(pl.all().is_in(missing).not_()).then(pl.all()).name.keep())


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
    import polars as pl

    found: dict[str, dict[str, Style]] = {name: {} for name in frame.columns}
    for style in styles:
        names = [name for name, known in found.items() if style.decimal not in known]
        for rows in (frame.head(_SAMPLE), frame):
            fits = rows.select(pl.col(names).str.contains(style.pattern).all()).row(0) if names else ()
            names = [name for name, fit in zip(names, fits, strict=True) if fit]
        for name in names:
            found[name][style.decimal] = style
    signs = frame.select(pl.all().str.contains("[.,]").any()).row(0)
    return {
        name: Reading(tuple(found[name].values()), bool(signed) and bool(found[name]))
        for name, signed in zip(frame.columns, signs, strict=True)
    }


def first_wrong(series: Any, styles: Sequence[Style]) -> tuple[int, str, bool]:
    """Return index and text of the first value that is no number in the style that fits most, and if any fit."""
    marks = [series.str.contains(style.pattern).fill_null(value=True) for style in styles]
    best = max(marks, key=lambda mark: mark.sum())
    row = (~best).arg_max()
    return row, series[row], best.sum() > series.null_count()


def parsed(column: Any, style: Style) -> Any:
    """Return the expression of a column of text in a style as Float64; nulls stay."""
    import polars as pl

    if style.thousands:
        column = column.str.replace_all(_CLASSES[style.thousands], "")
    if style.decimal == ",":
        column = column.str.replace(",", ".", literal=True)
    return column.cast(pl.Float64, strict=False)


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
