"""Text from outside: names, columns, paths and messages from files and users.

Such text may contain control characters, terminal sequences or characters that change the text direction. Every output
passes it through `plain` and disables markup: the terminal in `nfkd.terminal`, the studio in `nfkd_gui.widgets.labels`.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Iterable, Sequence

LARGE = 1e6
"""Figures from here on have an exponent."""
NAME_LENGTH = 80
"""Maximum number of characters of a name."""
_NAME_BYTES = 240  # file systems allow 255, and a number and a suffix may follow
_DIRECTIONS = "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
_UNSAFE = re.compile(f"[\\x00-\\x1f\\x7f-\\x9f{_DIRECTIONS}\\ud800-\\udfff]")
_UNSAFE_IN_LINES = re.compile(f"[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f{_DIRECTIONS}\\ud800-\\udfff]")
_SEPARATORS = re.compile(r'[/\\:*?"<>|]')
_MINUTE = 60
_BYTES = range(0xDC80, 0xDD00)
"""The characters that Python uses for bytes that are not UTF-8, such as in a file name."""


def plain(text: str, most: int = 0) -> str:
    r"""Return a text in one line, with escapes such as ``\x1b`` and ``\u202e`` for unsafe characters.

    These are control characters, direction marks, line separators, and bytes that are not UTF-8.

    Parameters
    ----------
    text
        Any text.
    most
        Maximum length; a longer text is cut and ends in an ellipsis. 0 for no limit.

    Examples
    --------
    >>> plain("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    shown = _UNSAFE.sub(_escape, text)
    return f"{shown[: most - 1]}…" if 0 < most < len(shown) else shown


def plain_lines(text: str) -> str:
    """Return a text with escapes as in `plain`, but with its line breaks and tabs."""
    return _UNSAFE_IN_LINES.sub(_escape, text.replace("\r\n", "\n"))


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code in _BYTES:
        code -= 0xDC00
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"


def is_unicode(text: str) -> bool:
    """Return whether a text can be encoded as UTF-8; a file name may contain other bytes."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def is_utf8_name(name: str) -> bool:
    """Return whether a file name is UTF-8 on the disk, independent of the locale."""
    try:
        os.fsencode(name).decode("utf-8")
    except UnicodeError:
        return False
    return True


def name_problem(name: str) -> str:
    """Return what is wrong with the name of an experiment or a run, such as ``may not be empty``; empty if valid.

    The name is used for a folder, so it follows the rules of all file systems.
    """
    if not name.strip():
        return "may not be empty"
    if name.startswith("."):
        return "may not begin with a dot"
    if _SEPARATORS.search(name):
        return 'may not contain any of / \\ : * ? " < > |'
    if _UNSAFE.search(name):
        return "may not contain control characters or direction marks"
    if len(name) > NAME_LENGTH or len(name.encode()) > _NAME_BYTES:
        return f"may have at most {NAME_LENGTH} characters and {_NAME_BYTES} bytes in UTF-8"
    return ""


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV; text that a spreadsheet would read as a formula gets a leading quote."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([_cell(value) for value in header])
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def markdown_text(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""

    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    return "\n".join([line(header), line("---" for _ in header), *map(line, rows)])


_NEGATIVE = re.compile(r"(?<![\w.)])-(?=\d)|(?<=\de)-(?=\d)")
_LATEX = str.maketrans({**{letter: f"\\{letter}" for letter in "&%$#_{}"}, "\\": r"\textbackslash{}",
                        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "±": r"$\pm$",
                        "−": "$-$", "→": r"$\to$", "‖": r"$\Vert$", "χ": r"$\chi$", "²": "$^2$"})  # fmt: skip


def _latex_cell(text: str) -> str:
    indent = r"\quad " if text.startswith("  ") else ""
    return indent + _NEGATIVE.sub("−", text.strip()).translate(_LATEX)


def latex_text(header: Sequence[str], rows: Iterable[Sequence[str]], numeric: Sequence[bool]) -> str:
    """Return a table in LaTeX for the package booktabs; columns that are `numeric` are aligned right."""

    def line(cells: Iterable[str]) -> str:
        return " & ".join(map(_latex_cell, cells)) + r" \\"

    head = rf"\begin{{tabular}}{{{''.join('r' if number else 'l' for number in numeric)}}}"
    return "\n".join([head, r"\toprule", line(header), r"\midrule", *map(line, rows), r"\bottomrule",
                      r"\end{tabular}"])  # fmt: skip


def format_span(seconds: float) -> str:
    """Return an expected time in two units at most: 160 → ``2 min 40 s``; empty if it is not finite."""
    if not math.isfinite(seconds) or seconds < 0:
        return ""
    if seconds < _MINUTE:
        return f"{max(1, round(seconds))} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    if minutes < _MINUTE:
        return f"{minutes} min {rest} s" if minutes < _MINUTE / 6 and rest else f"{minutes} min"
    hours, minutes = divmod(minutes, _MINUTE)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def subscript(number: int) -> str:
    """Return a number in subscript digits."""
    return str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def format_number(value: float, form: str = ".4f") -> str:
    """Return a figure by a format specification; from a million on with an exponent, unless without decimals.

    Examples
    --------
    >>> format_number(3.25), format_number(-146881695037.2823), format_number(2e9, "+.3f")
    ('3.2500', '-1.4688e+11', '+2.0000e+09')
    """
    if abs(value) < LARGE or not math.isfinite(value) or form.endswith(".0f"):
        return f"{value:{form}}"
    return f"{value:{'+' if form.startswith('+') else ''}.4e}"


def feature_names(count: int, columns: Sequence[str] = ()) -> list[str]:
    """Return the names of a vector's features: `columns`, or x₁, x₂ … if their number differs."""
    if len(columns) == count:
        return list(columns)
    return [f"x{subscript(number)}" for number in range(1, count + 1)]


def sentence(text: str) -> str:
    """Return a message with a capital first letter, unless it starts with a name such as ``data.csv``."""
    first = text.partition(" ")[0].rstrip(":,;.")
    return f"{text[:1].upper()}{text[1:]}" if first.isalpha() else text
