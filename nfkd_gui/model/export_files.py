"""Files that a panel exports: replaced whole, and one clear message when the disk refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nfkd.files import FileError, replacing
from nfkd.protocol.events import ErrorInfo


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
