"""Files that a panel exports: replaced whole, cancellable, and one clear message when the disk refuses."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nfkd.files import FileError, replacing
from nfkd.protocol.events import ErrorInfo

_LONGEST = 120
"""Characters of a proposed file name."""


class ExportError(Exception):
    """A file was not written.

    Attributes
    ----------
    info
        The error, for the user.
    """

    def __init__(self, cause: str, action: str) -> None:
        self.info = ErrorInfo(title="The file was not saved", cause=cause, action=action)
        super().__init__(f"{self.info.title}: {cause} {action}")


class CancelledError(Exception):
    """The user has cancelled a file while it was being written."""


class Progress:
    """Connects a writer in another thread with the one who waits for it.

    Parameters
    ----------
    on_fraction
        Called in the writer's thread with the fraction that is done.
    """

    def __init__(self, on_fraction: Callable[[float], None] | None = None) -> None:
        self._on_fraction = on_fraction
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Let the writer end at its next call of `advance`."""
        self._cancelled.set()

    def advance(self, fraction: float | None = None) -> None:
        """Report how much is done, if that is known.

        Raises
        ------
        CancelledError
            When the user has cancelled.
        """
        if self._cancelled.is_set():
            raise CancelledError
        if self._on_fraction is not None and fraction is not None:
            self._on_fraction(fraction)


Writer = Callable[[Path, Progress], None]
"""Writes a file; raises `ExportError` or `CancelledError`, and then leaves no part of it."""
Animation = Callable[[Callable[[Writer], None], Callable[[ErrorInfo], None]], None]
"""Prepares a moving picture, and calls the first function with its writer or the second with an error."""


@contextmanager
def exporting(path: Path) -> Iterator[Path]:
    """Write a file: yields a temporary one, which replaces `path` at the end.

    Raises
    ------
    ExportError
        When it cannot be written; an existing file stays as it is.
    """
    try:
        with replacing(path) as temporary:
            yield temporary
    except OSError as error:
        cause = f"{error}." if isinstance(error, FileError) else f"{path}: {error.strerror or error}."
        action = "Choose a folder that you may write to, on a disk with enough space."
        raise ExportError(cause, action) from error


def file_stem(*parts: str) -> str:
    """Return a file name without its ending from a run, a panel and a step.

    Examples
    --------
    >>> file_stem("two moons", "samples", "step 900")
    'two-moons-samples-step-900'
    """
    words = re.findall(r"[\w.+]+", " ".join(parts))
    return "-".join(words).strip(".-")[:_LONGEST] or "panel"
