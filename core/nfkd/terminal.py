"""Printing to the terminal, for any text and any encoding, without markup."""

from __future__ import annotations

import argparse
import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TextIO

from rich.console import Console
from rich.text import Text

from nfkd.text import plain_lines

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended: 128 and the number of SIGINT, as shells have it."""
_PIPED_WIDTH = 132
_ERRORS = "nfkd"  # the name of our error handler for encodings
_ASCII = {"×": "x", "−": "-", "–": "-", "±": "+/-", "…": "...", "→": "->", "↔": "<->", "·": "-", "“": '"', "”": '"',
          "’": "'", "━": "-", "╸": "-", "╺": "-", "\xa0": " "}  # fmt: skip


def _replace(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if character not in _ASCII:
        error.end = error.start + 1
        return codecs.backslashreplace_errors(error)
    return _ASCII[character], error.start + 1


codecs.register_error(_ERRORS, _replace)


@contextmanager
def standard_streams() -> Iterator[None]:
    """Make the standard streams accept any text, and ignore a closed pipe.

    Characters that the encoding lacks are replaced. When the reader closes the pipe, as ``head`` does, the block ends
    without an error.

    Raises
    ------
    OSError
        When the output cannot be written for another reason, such as a full disk.
    """
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
    for stream in streams:
        stream.reconfigure(errors=_ERRORS)
    try:
        yield
        for stream in streams:
            if not stream.closed:
                stream.flush()
    except BrokenPipeError:
        pass
    finally:
        for stream in streams:
            if not stream.closed:
                _flush_or_silence(stream)


def _flush_or_silence(stream: TextIO) -> None:
    """Flush a stream; redirect it to the null device if that fails, or Python would report the error at its exit."""
    try:
        stream.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def say(text: object = "", *, stderr: bool = False) -> None:
    """Print a text to standard output or standard error, with control characters escaped."""
    print(plain_lines(str(text)), file=sys.stderr if stderr else sys.stdout)


class _Terminal(Console):
    """A console without markup in `str`: styles come from `rich.text.Text` only."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(plain_lines(text), **options)

    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError


def terminal(*, stderr: bool = False) -> Console:
    """Return a console for tables and progress bars; wide enough for a table in a file or pipe."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream is not None and stream.isatty() else _PIPED_WIDTH
    return _Terminal(stderr=stderr, width=width, markup=False, emoji=False)


class Parser(argparse.ArgumentParser):
    """A parser whose messages have control characters escaped."""

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Print a message to standard error and exit."""
        super().exit(status, plain_lines(message) if message else message)
