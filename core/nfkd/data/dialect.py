"""The dialect of a text table: encoding, comments, separator and header, detected from the head of the file."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from nfkd.config.tables import TableConfig
from nfkd.data.files import ConfigPath
from nfkd.data.header import count_titles, count_units, has_row_names, is_header, skipped_rows
from nfkd.data.numbers import MISSING, is_comma_number, is_number, is_plain

_SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "space": " "}
_LABELS = {"\t": "tabs", " ": "blanks", ",": "commas"}
_BY_SUFFIX = {".csv": ",", ".tsv": "\t"}
_ENCODINGS = {"utf-8": "UTF-8", "utf-16": "UTF-16", "windows-1252": "Windows-1252", "latin-1": "Latin-1"}
_COMMENTS = ("#", "%")
_ROWS, _CELLS = 500, 200_000  # most of the head that is looked at
_TRIED, _SCORED = 100, 20_000  # rows and cells, for each separator
_EVEN = 0.9  # share of rows with the same number of values, for a separator to be taken
_BLANKS = re.compile(r"[ \t]+")
_STATED = re.compile(r"sep=(.)", re.IGNORECASE)  # the first line of files for Excel


@dataclass(frozen=True)
class Dialect:
    """How a text file is read.

    Attributes
    ----------
    encoding
        A name of Python's codecs.
    separator
        One character; a blank stands for any number of blanks and tabs.
    comment
        What lines that are skipped begin with; may be empty.
    names
        Of the columns; empty text where the file gives none.
    named
        Whether a row or a comment of the file names the columns.
    skip
        Number of lines before the first row of values.
    missing
        Texts that stand for missing values in the head.
    plain
        Whether each column's values in the head are numbers that need no conversion, such as ``-1.5e3``.
    titles, units
        Numbers of rows above the header, and of units below it, that are skipped.
    """

    encoding: str
    separator: str
    comment: str
    names: tuple[str, ...]
    named: bool
    skip: int
    missing: tuple[str, ...]
    plain: tuple[bool, ...]
    titles: int = 0
    units: int = 0

    @property
    def parts(self) -> list[str]:
        """What was found, for a message, such as ``separated by ;`` and ``Windows-1252``."""
        found = [f"separated by {_LABELS.get(self.separator, self.separator)}"] if len(self.names) > 1 else []
        if self.encoding != "utf-8":
            found.append(_ENCODINGS.get(self.encoding, "UTF-16"))
        if self.comment:
            found.append(f"comments after {self.comment}")
        if not self.named:
            found.append("no header")
        found += skipped_rows(self.titles, self.units)
        return [*found, f"missing values as {' or '.join(self.missing)}"] if self.missing else found


def detect(file: ConfigPath, head: bytes, config: TableConfig, suffix: str, *, whole: bool) -> Dialect:
    """Return the dialect of a text file.

    Parameters
    ----------
    file
        Named in problems.
    head
        The first bytes of the file.
    config
        Its settings replace what would be detected.
    suffix
        Of the file without that of a compression: ``.csv`` prefers commas and ``.tsv`` tabs.
    whole
        Whether the head is the whole file.

    Raises
    ------
    DataError
        If the head does not decide between two separators, or holds no rows.
    """
    encoding = detect_encoding(head) if config.encoding == "auto" else config.encoding
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head, final=whole).lstrip("\ufeff")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if not whole and len(lines) > 1:
        lines.pop()  # it may be cut
    stated = _STATED.fullmatch(lines[0]) if config.separator == "auto" else None
    if stated:
        lines[0] = ""
    comment = config.comment or _find_comment(lines)
    kept = [(index, line) for index, line in enumerate(lines) if line.strip() and not _is_comment(line, comment)]
    if not kept and not config.comment:
        comment, kept = "", [(index, line) for index, line in enumerate(lines) if line.strip()]
    texts = [line for _, line in kept]
    separator = _find_separator(file, texts, suffix) if config.separator == "auto" else _SEPARATORS[config.separator]
    rows, ends = _rows(texts, separator)
    if not rows:
        file.refuse("cannot be read as a table: it needs lines of values, with every quote closed")
    titles = count_titles(rows)
    rows, first = rows[titles:], ends[titles - 1] if titles else 0
    commented = _names_in_comment(lines, comment, separator, rows) if comment else ()
    header = not commented and (is_header(rows) if config.header == "auto" else config.header == "yes")
    body = rows[1:] if header else rows
    units = count_units(body) if header else 0
    body, above = body[units:], titles + header + units
    first = ends[above - 1] if above else 0
    names = commented or (rows[0] if header else ("",) * len(rows[0]))
    if header and body and all(len(row) == len(names) + 1 for row in body):
        ends_empty = not any(row[-1].strip() for row in body)
        names = (*names, "") if ends_empty else ("", *names) if has_row_names(body) else names
    return Dialect(
        encoding,
        separator,
        comment,
        tuple(name.strip().strip('"').strip() for name in names),
        bool(commented) or header,
        kept[first][0] if first < len(kept) else (kept[-1][0] + 1),
        _missing_texts(body, config),
        _plain_columns(body, len(names), separator, config),
        titles,
        units,
    )


def detect_encoding(head: bytes) -> str:
    """Return the encoding of text by its byte order mark, its zero bytes, or whether it is UTF-8."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for start, name in ((1, "utf-16-le"), (0, "utf-16-be")):  # without a byte order mark
        if len(head) > 3 and head[start::2].count(0) > len(head) / 4 > 4 * head[1 - start :: 2].count(0):
            return name
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "windows-1252"
    return "utf-8"


def _find_comment(lines: Sequence[str]) -> str:
    first = next((line.lstrip() for line in lines if line.strip()), "")
    return next((sign for sign in _COMMENTS if first.startswith(sign)), "")


def _is_comment(line: str, comment: str) -> bool:
    return bool(comment) and line.startswith(comment)


def _names_in_comment(
    lines: Sequence[str], comment: str, separator: str, rows: Sequence[tuple[str, ...]]
) -> tuple[str, ...]:
    """Return the names in the last comment before the rows, as `numpy.savetxt` writes them; empty if it has none."""
    above: list[str] = []
    for line in lines:
        if line.strip() and not line.startswith(comment):
            break
        if line.strip():
            above.append(line.removeprefix(comment))
    if not above or not all(is_number(cell) for cell in rows[0]):
        return ()
    found, _ = _rows([above[-1]], separator)
    names = [cell.strip() for cell in found[0]] if found else list[str]()
    if len(names) != len(rows[0]) or all(map(is_number, names)):
        return ()
    return (names[0] or comment, *names[1:])


def _missing_texts(body: Sequence[tuple[str, ...]], config: TableConfig) -> tuple[str, ...]:
    known = set(config.missing_texts or MISSING)
    return tuple(dict.fromkeys(text for row in body for cell in row if (text := cell.strip()) in known))


def _plain_columns(
    body: Sequence[tuple[str, ...]], width: int, separator: str, config: TableConfig
) -> tuple[bool, ...]:
    """Return which columns hold numbers with a point and without thousands signs, or missing values."""
    by_comma = separator != "," and any(is_comma_number(cell.strip()) for row in body for cell in row)
    if by_comma or config.decimal == "comma" or config.thousands == "point":
        return (False,) * width
    missing = {"", *(config.missing_texts or MISSING)}
    found, wrong = [False] * width, [False] * width
    for row in body:
        for index, cell in enumerate(row[:width]):
            if cell not in missing:
                found[index] = True
                wrong[index] = wrong[index] or not is_plain(cell)
    return tuple(any_found and not any_wrong for any_found, any_wrong in zip(found, wrong, strict=True))


# --- the separator ----------------------------------------------------------------------------------------------------


def _rows(lines: Iterable[str], separator: str) -> tuple[list[tuple[str, ...]], list[int]]:
    """Return the cells of the first rows, and the number of lines up to the end of each."""
    if separator == " ":
        lines = [_BLANKS.sub(" ", line.strip()) for line in lines]
    reader = csv.reader([f"{line}\n" for line in lines], delimiter=separator)
    rows: list[tuple[str, ...]] = []
    ends: list[int] = []
    cells = 0
    try:
        for row in reader:
            rows.append(tuple(row))
            ends.append(reader.line_num)
            cells += len(row)
            if len(rows) >= _ROWS or cells >= _CELLS:
                break
    except csv.Error:  # a field longer than its limit
        pass
    return rows, ends


def _find_separator(file: ConfigPath, lines: Sequence[str], suffix: str) -> str:
    """Return the separator that gives rows of equal length with the most numbers."""
    usual, lines = _BY_SUFFIX.get(suffix, ","), lines[:_TRIED]
    order = dict.fromkeys((usual, *_SEPARATORS.values()))
    scores: dict[str, float] = {}
    headed: list[str] = []
    for separator in order:
        rows, _ = _rows(lines, separator)
        rows = rows[count_titles(rows) :]
        widths = Counter(map(len, rows))
        if rows and len(rows[0]) > 1 and sum(len(row) > 1 for row in rows) > len(rows) / 2:
            headed.append(separator)
        width, count = widths.most_common(1)[0] if widths else (0, 0)
        shortest = width - 1 if width > 2 or separator != "," else width  # R names the rows, but not their column
        if width > 1 and count >= _EVEN * len(rows) and shortest <= len(rows[0]) <= width:
            scores[separator] = _share_of_numbers(rows[1:] or rows)
    if not scores:
        return headed[0] if headed and usual not in headed else _unused(usual, lines, headed)
    if scores.get(" ", 1) < _EVEN and len(scores) > 1:
        del scores[" "]  # blanks are more often part of a text
    best = max(scores.values())
    leading = [separator for separator, score in scores.items() if score > best - 1e-9]
    if "\t" in leading and " " in leading:
        leading.remove(" ")  # which stands for tabs, too
    if len(leading) > 1 and usual not in leading and best > 0:
        names = " and ".join(_LABELS.get(separator, separator) for separator in leading)
        setting = replace(file, field="data.separator")
        setting.refuse(f"its values may be separated by {names}: give the separator (data.separator)")
    return leading[0]


def _unused(usual: str, lines: Sequence[str], headed: Sequence[str]) -> str:
    """Return a separator for a file of one column: one that no line has; the usual one for uneven rows."""
    if headed:
        return usual
    return next((sign for sign in (usual, ";", "|", "\t") if not any(sign in line for line in lines)), usual)


def _share_of_numbers(rows: Sequence[tuple[str, ...]]) -> float:
    cells = [cell.strip() for row in rows for cell in row][:_SCORED]
    numbers = [cell for cell in cells if is_number(cell)]
    spaced = sum(" " in cell for cell in numbers)  # 1 234: rather two values
    return (len(numbers) - 0.5 * spaced) / max(1, len(cells))
