"""Tables in polars frames: which columns hold numbers, also as text, and why others are left out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nfkd.config.tables import TableConfig
from nfkd.data.columns import AS_CODES, AS_DAYS, TRUE_FALSE, Column, Table, as_text, mark_index
from nfkd.data.files import list_names
from nfkd.data.numbers import (
    PLAIN,
    Reading,
    Style,
    allowed_styles,
    change_all,
    chosen_style,
    cleaned,
    first_wrong,
    fitting,
    holds_for_all,
    is_number,
    parsed,
    without_affixes,
)

_DETAILED = 200  # columns of text that are described in detail
_CATEGORIES = 20
_LONGEST = 30  # characters of a value in a message
_DATE = re.compile(r"\d{4}-\d\d?-\d\d?\b|\d\d?[./]\d\d?[./]\d{2,4}\b|\d{4}/\d\d?/\d\d?\b|\d\d?:\d\d")
_CORRECT = (
    "correct the file, name this text if it stands for a missing value (data.missing_texts), or "
    "choose columns of numbers"
)
_NOT_A_NUMBER = "has {value!r} in row {row} (the first is 1), which is not a number"


def frame_table(
    names: Sequence[str], frame: Any, config: TableConfig, *, separator: str = "", parts: Sequence[str] = ()
) -> Table:
    """Return the table of a polars frame.

    Parameters
    ----------
    names
        Of the columns; empty text where the file gives none.
    frame
        Its columns have any unique names.
    config
        Its settings say how text stands for numbers.
    separator
        Of a text file.
    parts
        What was found before, for `Table.reading`.
    """
    import polars as pl

    keys, schema = frame.columns, frame.schema  # each access takes time for every column
    text = cleaned(frame.select(key for key, kind in schema.items() if kind == pl.String), config)
    styles = TextStyles(text, frame, allowed_styles(config), separator)
    numbers = frame.with_columns(
        number(key, kind) for key, kind in schema.items() if kind not in (pl.Float64, pl.String)
    )
    numbers = numbers.with_columns(styles.numbers()) if text.width else numbers

    def rows(indices: Sequence[int]) -> np.ndarray:
        return numbers.select(keys[index] for index in indices).to_numpy()  # null becomes NaN

    def texts(index: int) -> list[str | None]:
        key = keys[index]
        series = text[key] if schema[key] == pl.String else frame[key]
        return [as_text(value) for value in series]

    columns = describe_columns(names, frame, styles)
    if columns and may_be_index(names):
        columns[0] = mark_index(columns[0], numbers[keys[0]].to_numpy())
    return Table(
        tuple(columns),
        frame.height,
        rows,
        texts,
        ", ".join([*parts, *styles.labels(dict(zip(keys, names, strict=True)))]),
    )


def describe_columns(names: Sequence[str], frame: Any, styles: TextStyles) -> list[Column]:
    """Return the columns of a frame; that of an index of pandas is marked."""
    import polars as pl

    found = []
    for index, (name, (key, kind)) in enumerate(zip(names, frame.schema.items(), strict=True)):
        named = name or str(index)
        found.append(mark_index(styles.describe(named, key) if kind == pl.String else _describe_type(named, kind)))
    return found


def may_be_index(names: Sequence[str]) -> bool:
    """Return whether the first column has no name, so that it may only count the rows."""
    return names[0] in ("", "Unnamed: 0")


def number(key: str, kind: Any) -> Any:
    """Return the expression of a column as Float64; null where it holds no numbers."""
    import polars as pl

    is_number = kind.is_numeric() or kind == pl.Boolean
    return pl.col(key).cast(pl.Float64) if is_number else pl.lit(None, pl.Float64).alias(key)


class TextStyles:
    """How the columns of text of a frame are numbers.

    Parameters
    ----------
    text
        The columns of text, cleaned.
    frame
        The whole frame.
    allowed
        The styles that the settings allow.
    separator
        Of a text file; otherwise empty.
    """

    def __init__(self, text: Any, frame: Any, allowed: Sequence[Style], separator: str) -> None:
        self._text, self._allowed, self._separator, self._detailed = text, allowed, separator, 0
        self._readings = fitting(text, allowed) if text.width else {}
        nulls = text.null_count().row(0) if text.width else ()
        self._empty = {name for name, count in zip(text.columns, nulls, strict=True) if count == text.height}
        self._affixes = self._strip_affixes()
        decimals = {reading.decimal for name, reading in self._readings.items() if name not in self._empty} - {""}
        if separator and any(len(reading.styles) > 1 and reading.signed for reading in self._readings.values()):
            decimals |= _decimals(frame)
        self._chosen = {name: chosen_style(reading, decimals, separator) for name, reading in self._readings.items()}
        first = dict(zip(text.columns, text.row(0) if text.height else (None,) * text.width, strict=True))
        others = [
            name
            for name, reading in self._readings.items()
            if not reading.styles and (first[name] or "true").lower() in ("true", "false")
        ]
        true = holds_for_all(text.select(others), lambda column: column.str.contains("(?i)^(?:true|false)$"))
        self._booleans = {name for name, holds in zip(others, true, strict=True) if holds}

    def _strip_affixes(self) -> dict[str, str]:
        """Strip what is beside all numbers of a column, and return it by the column's name."""
        others = [name for name, reading in self._readings.items() if not reading.styles][:_DETAILED]
        stripped = {name: without_affixes(self._text[name]) for name in others}
        bare = [series.alias(name) for name, (series, affix) in stripped.items() if affix]
        if not bare:
            return {}
        found = fitting(self._text.select(bare), self._allowed)
        fits = {name: reading for name, reading in found.items() if reading.styles}
        self._readings |= fits
        self._text = self._text.with_columns(series for series in bare if series.name in fits)
        return {name: stripped[name][1] for name in fits}

    def numbers(self) -> list[Any]:
        """Return all columns of text as series of Float64, null where they are no numbers."""
        import polars as pl

        groups: dict[Style | None, list[str]] = {}
        for name, style in self._chosen.items():
            groups.setdefault(style, []).append(name)
        found: list[Any] = []
        for style, names in groups.items():
            if style:
                read = change_all(self._text.select(names), lambda column, style=style: parsed(column, style))
                found += read.get_columns()
        nothing = pl.Series("", [None], pl.Float64).new_from_index(0, self._text.height)
        others = [name for name in groups.get(None, []) if name not in self._booleans]
        true = change_all(self._text.select(sorted(self._booleans)), _is_true).get_columns()
        return [*found, *true, *(nothing.alias(name) for name in others)]

    def read_more(self, key: str, series: Any, start: int) -> tuple[Any, Column | None]:
        """Return the numbers of later rows of a column, and, if they are none, the column with its problem.

        A column whose signs were not known until now is read in the style that fits these rows.

        Parameters
        ----------
        series
            Its cleaned text.
        start
            Index of its first row.
        """
        import polars as pl

        if key in self._booleans:
            wrong = (~series.str.contains("(?i)^(?:true|false)$")).fill_null(value=False)
            return (None, _not_a_number(key, series, start, wrong)) if wrong.any() else (_is_true(series), None)
        if self._affixes.get(key):
            bare, affix = without_affixes(series)
            series = bare if affix == self._affixes[key] else series
        style = self._chosen[key] or PLAIN
        wrong = (~series.str.contains(style.pattern)).fill_null(value=False)
        if wrong.any() and (key in self._empty or not self._readings[key].signed):
            reading = fitting(series.alias(key).to_frame(), self._allowed)[key]
            style = chosen_style(reading, set(), self._separator) or style
            wrong = (~series.str.contains(style.pattern)).fill_null(value=False)
        if wrong.any():
            return None, _not_a_number(key, series, start, wrong)
        self._remember(key, series, style)
        return series.to_frame(key).select(parsed(pl.col(key), style)).to_series(), None

    def _remember(self, key: str, series: Any, style: Style) -> None:
        """Keep what later rows of a column have shown."""
        self._chosen[key] = style
        if key in self._empty and series.null_count() < len(series):
            self._empty.remove(key)
        if not self._readings[key].signed and series.str.contains("[.,]").any():
            self._readings[key] = Reading((style,), signed=True)

    @property
    def numeric(self) -> list[str]:
        """The columns that are numbers as far as is known: also those that hold nothing yet."""
        return [key for key, style in self._chosen.items() if style or key in self._booleans or key in self._empty]

    def labels(self, names: Mapping[str, str]) -> list[str]:
        """Return what is not plain, such as ``decimal comma``; with names of columns where they differ."""
        used: dict[Style, list[str]] = {}
        for key, style in self._chosen.items():
            if style and style != PLAIN and key not in self._empty:
                used.setdefault(style, []).append(names[key] or key)
        if len(used) == 1:
            return [style.label for style in used]
        return [f"{style.label} in {list_names(columns[:3])}" for style, columns in used.items()]

    def describe(self, name: str, key: str) -> Column:
        """Return a column of text."""
        if key in self._empty:
            return Column(name, "holds nothing")
        if self._chosen[key] is not None:
            affix = self._affixes.get(key)
            return Column(name, optional=f"has {affix} beside each number; name it to use the numbers" if affix else "")
        if key in self._booleans:
            return Column(name, optional=TRUE_FALSE)
        if self._readings[key].styles:
            value = _shown(self._text[key].drop_nulls()[0])
            problem = f"has values such as {value!r}, whose sign may be a decimal or a thousands sign"
            advice = "give the decimal sign (data.decimal)"
            return Column(name, problem, mixed=True, advice=advice, field="data.decimal")
        self._detailed += 1
        if self._detailed > _DETAILED:
            return Column(name, "holds text")
        return self._describe_text(name, self._text[key])

    def _describe_text(self, name: str, series: Any) -> Column:
        row, value, mixed = first_wrong(series, self._allowed or [PLAIN])
        if mixed:
            return _mixed_column(name, row, value)
        problem = _NOT_A_NUMBER.format(value=_shown(value), row=row + 1)
        if _DATE.match(value):
            return Column(name, problem, advice=AS_DAYS)
        distinct = series.n_unique() - (series.null_count() > 0)
        if distinct == 1 or distinct > min(_CATEGORIES, len(series) / 2):
            return Column(name, problem)
        return Column(name, problem, advice=f"{distinct} different texts; {AS_CODES}")


def _mixed_column(name: str, row: int, value: str) -> Column:
    """Return a column of numbers with a value that is none."""
    problem = _NOT_A_NUMBER.format(value=_shown(value), row=row + 1)
    if is_number(value):
        signs = problem.replace("which is not a number", "whose decimal or thousands sign differs from the others")
        return Column(name, signs, mixed=True, advice="correct the file")
    return Column(name, problem, mixed=True, advice=_CORRECT)


def _not_a_number(name: str, series: Any, start: int, wrong: Any) -> Column:
    row = wrong.arg_max()
    return _mixed_column(name, start + row, series[row])


def _is_true(column: Any) -> Any:
    """Return the expression of *true* and *false* as 1 and 0."""
    import polars as pl

    return column.str.to_lowercase().replace_strict({"true": 1.0, "false": 0.0}, default=None, return_dtype=pl.Float64)


def _decimals(frame: Any) -> set[str]:
    """Return the decimal sign that plain columns of a text file show: a point, if some value has a fraction."""
    import polars as pl

    numbers = frame.select(pl.col(pl.Float64))
    return {"."} if numbers.width and any(numbers.select((pl.all().fill_nan(None) % 1 != 0).any()).row(0)) else set()


def _shown(value: str) -> str:
    return value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…"


def _describe_type(name: str, kind: Any) -> Column:
    """Return a column that is not text."""
    import polars as pl

    if kind == pl.Boolean:
        return Column(name, optional=TRUE_FALSE)
    if kind.is_numeric():
        return Column(name)
    if kind in (pl.Categorical, pl.Enum):
        return Column(name, "holds categories", advice=AS_CODES)
    if kind.is_temporal():
        return Column(name, "holds dates or times", advice=AS_DAYS)
    if kind == pl.Null:
        return Column(name, "holds nothing")
    return Column(name, "holds lists" if kind.is_nested() else "holds no numbers")
