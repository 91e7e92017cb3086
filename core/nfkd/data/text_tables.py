"""Tables in text files, compressed or not, in any dialect that `nfkd.data.dialect` finds."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from nfkd.config.tables import TableConfig
from nfkd.data.columns import MOST_COLUMNS, Table, polars_errors
from nfkd.data.dataset import reported_as
from nfkd.data.dialect import Dialect, detect
from nfkd.data.files import ConfigPath, is_kept_on_disk, refuse_large
from nfkd.data.frame_index import frame_index
from nfkd.data.frame_tables import frame_table
from nfkd.data.numbers import MISSING, allowed_styles
from nfkd.data.unpacking import PACKED, inner_suffix, unpack
from nfkd.files import open_regular

ON_DISK = 'keep it on disk (data.storage = "disk")'
"""What to do with a table that is too large for memory."""
_HEAD, _LONGEST_HEAD, _HEAD_LINES = 1 << 18, 1 << 23, 8  # bytes that the dialect is detected from
_SAMPLED = 1 << 20  # bytes at three positions of a file, from which the number of values is estimated
_BOM = b"\xef\xbb\xbf"
_START = 64  # bytes
_CONTENTS = (
    (rb"PK\x03\x04", "an Excel file or an archive: name it .xlsx or .zip"),
    (rb"\xd0\xcf\x11\xe0", "an old Excel file: save it as .xlsx or .csv"),
    (rb"\x1f\x8b", "compressed data: add .gz to its name"),
    (rb"PAR1", "a Parquet file: name it .parquet"),
    (rb"ARROW1", "a Feather file: name it .feather"),
    (rb"\x89HDF", "an HDF5 file: name it .h5"),
    (rb"%PDF", "a PDF document, not a table: save the table as .csv"),
    (rb"<(?:!doctype|html|\?xml|table)", "a web page or XML, not a table: get the file itself, or save it as .csv"),
    (rb"(?:\{|\[\s*[\[{])\s*[\"{\[\d]", "JSON, not a table: save it as .csv or .parquet"),
)
"""How other files begin, and what is said of them."""


def read_text(file: ConfigPath, config: TableConfig) -> Table:
    """Read a text file as a table.

    Raises
    ------
    DataError
        If it is no table, or its dialect cannot be told: the message names the setting to give.
    """
    if not allowed_styles(config):
        replace(file, field="data.thousands").refuse(
            "is read with the same sign for decimals and thousands: change one"
        )
    content: bytes | Path = unpack(file) if file.path.suffix.lower() in PACKED else file.path
    if not content:
        file.refuse("is empty")
    with _open(content) as stream:
        head = _head(stream)
        whole = not stream.read(1)
    dialect = detect(file, head, config, inner_suffix(file), whole=whole)
    _refuse_other_content(file, head, dialect)
    with reported_as(", ".join(dialect.parts)):
        if len(dialect.names) > MOST_COLUMNS:
            file.refuse(f"has more than {MOST_COLUMNS:,} columns: give a file with fewer")
        size = _size(content, dialect)
        on_disk = is_kept_on_disk(config.storage, size)
        if not on_disk:
            refuse_large(file, size, ON_DISK)
        content = _as_utf8(content, dialect, head)
        names = [name if dialect.named else str(index) for index, name in enumerate(dialect.names)]
        separator = dialect.separator if len(dialect.names) > 1 else ""
        if on_disk:
            scans = _scans(content, dialect, config)
            with polars_errors(lambda: file.refuse(_describe_problem(content, dialect))):
                return frame_index(file, names, scans, config, size, separator=separator, parts=dialect.parts)
        frame = _read(file, content, dialect, config)
    return frame_table(names, frame, config, separator=separator, parts=dialect.parts)


def _open(content: bytes | Path) -> BinaryIO:
    return io.BytesIO(content) if isinstance(content, bytes) else open_regular(content)


def _refuse_other_content(file: ConfigPath, head: bytes, dialect: Dialect) -> None:
    """Refuse files that are no tables of text, whatever their names say."""
    start = head.removeprefix(_BOM).lstrip()[:_START]
    for sign, what in _CONTENTS:
        if re.match(sign, start, re.IGNORECASE):
            file.refuse(f"holds {what}")
    if b"\0" in head and not dialect.encoding.startswith("utf-16"):
        file.refuse("holds binary data, not text: give a table as text, or the right suffix to its name")


def _head(stream: BinaryIO) -> bytes:
    """Return the first bytes of a file: more where the lines are long."""
    head = stream.read(_HEAD)
    while len(head) < _LONGEST_HEAD and head.count(b"\n") < _HEAD_LINES and (more := stream.read(len(head))):
        head += more
    return head


def _size(content: bytes | Path, dialect: Dialect) -> int:
    """Estimate the bytes that the values take as numbers: 8 each, at least the file's own size."""
    separator = dialect.separator.encode()
    with _open(content) as stream:
        size = len(content) if isinstance(content, bytes) else os.fstat(stream.fileno()).st_size
        samples = [stream.read(_SAMPLED)]
        for start in (size // 2, size - _SAMPLED):
            if start >= _SAMPLED:
                stream.seek(start)
                samples.append(stream.read(_SAMPLED))
    ends = sum(sample.count(separator) + sample.count(b"\n") for sample in samples)
    return max(size, 8 * ends * size // max(1, sum(map(len, samples))))


def _as_utf8(content: bytes | Path, dialect: Dialect, head: bytes) -> bytes | Path:
    """Return text in UTF-8 with single blanks between values and a line feed after each line.

    A file that has this form is not read here.
    """
    old_ends = b"\r" in head and b"\n" not in head and not dialect.encoding.startswith("utf-16")
    as_it_is = dialect.encoding == "utf-8" and dialect.separator != " " and not old_ends
    if as_it_is and not head.startswith(_BOM):
        return content
    with _open(content) as stream:
        data = stream.read()
    if dialect.encoding != "utf-8":
        data = data.decode(dialect.encoding, "replace").encode()
    data = data.removeprefix(_BOM)
    if b"\r" in data and b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    return _single_blanks(data) if dialect.separator == " " else data


def _single_blanks(data: bytes) -> bytes:
    data = data.replace(b"\r\n", b"\n").replace(b"\t", b" ")
    while b"  " in data:
        data = data.replace(b"  ", b" ")
    return data.replace(b"\n ", b"\n").replace(b" \n", b"\n").removeprefix(b" ").removesuffix(b" ")


def _read(file: ConfigPath, content: bytes | Path, dialect: Dialect, config: TableConfig) -> Any:
    """Return the frame of a text file: columns that are plain in the head as numbers, others as text.

    polars slows down by half when it looks for many markers of missing values. So it is first given those of the head,
    then all; if a column turns out to hold other text, all are read as text.
    """
    import polars as pl

    *plain, text = _scans(content, dialect, config)
    with polars_errors(lambda: file.refuse(_describe_problem(content, dialect))):
        try:
            for scan in plain:
                with suppress(pl.exceptions.ComputeError):
                    return _without_empty_end(scan().collect())
            return _without_empty_end(text().collect())
        except pl.exceptions.NoDataError:
            return pl.DataFrame(schema={str(index): pl.Float64 for index in range(len(dialect.names))})


def _scans(content: bytes | Path, dialect: Dialect, config: TableConfig) -> list[Callable[[], Any]]:
    """Return ways of reading the frame of a text file, each as a LazyFrame; the last reads all columns as text."""
    import polars as pl

    keys = [str(index) for index in range(len(dialect.names))]

    def scan(plain: tuple[bool, ...], missing: tuple[str, ...]) -> Any:
        return pl.scan_csv(
            content,
            has_header=False,
            skip_lines=dialect.skip,
            schema={key: pl.Float64 if is_plain else pl.String for key, is_plain in zip(keys, plain, strict=True)},
            null_values=list(missing) or None,
            separator=dialect.separator,
            comment_prefix=dialect.comment or None,
            encoding="utf8-lossy",
            glob=False,
        )

    every = config.missing_texts or MISSING
    attempts = [(dialect.plain, dialect.missing), (dialect.plain, every)] if any(dialect.plain) else []
    return [partial(scan, *attempt) for attempt in (*attempts, ((False,) * len(keys), ()))]


def _without_empty_end(frame: Any) -> Any:
    """Return a frame without the rows of empty lines at its end."""
    import polars as pl

    if not frame.height or any(value is not None for value in frame.row(-1)):
        return frame
    filled = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series().arg_true()
    return frame.head(filled[-1] + 1 if len(filled) else 0)


def _describe_problem(content: bytes | Path, dialect: Dialect) -> str:
    """Return what is wrong with a text file: the first line that is too long, if there is one."""
    width = len(dialect.names)
    try:
        with io.TextIOWrapper(_open(content), encoding="utf-8", errors="replace", newline="") as stream:
            lines = (line for line in stream if not dialect.comment or not line.startswith(dialect.comment))
            for row in (rows := csv.reader(lines, delimiter=dialect.separator)):
                if len(row) > width:
                    found = ", ".join(dialect.parts)
                    read = f" (read as {found}; another separator: data.separator)" if found else ""
                    return f"has {len(row)} values in line {rows.line_num}, but {width} in its first{read}"
    except (OSError, csv.Error):
        pass
    return "cannot be read as a table: it needs lines of values, with every quote closed"
