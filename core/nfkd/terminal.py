"""The terminal: streams that take any text, and one way to print, with no markup in what is printed."""

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

_PIPED_WIDTH = 132
_ERRORS = "nfkd"
"""Name of our way to write what an encoding lacks."""
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
    """Let the standard streams take any text, and end quietly where nobody reads them any more.

    Inside, no text fails to print: what the encoding lacks is replaced. A reader that goes, as ``head`` does, ends the
    block without an error.

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
    """Empty a stream; one that cannot be written leads nowhere then, or Python would report it when it ends."""
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def say(text: object = "", *, stderr: bool = False) -> None:
    """Print a text, of one line or several, to standard output or standard error, with every control visible."""
    print(plain_lines(str(text)), file=sys.stderr if stderr else sys.stdout)


class _Terminal(Console):
    """A console that takes every `str` as it is: styles come from `rich.text.Text` alone."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(plain_lines(text), **options)

    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError


def terminal(*, stderr: bool = False) -> Console:
    """Return what to print tables and bars on: as wide as the terminal, or with room for a table in a file or pipe."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream is not None and stream.isatty() else _PIPED_WIDTH
    return _Terminal(stderr=stderr, width=width, markup=False, emoji=False)


class Parser(argparse.ArgumentParser):
    """A parser whose messages show what was typed with every control visible."""

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """End the program, after a message to standard error."""
        super().exit(status, plain_lines(message) if message else message)
