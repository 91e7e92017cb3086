"""Errors of runs on disk."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from nfkd.files import FileError
from nfkd.protocol.events import ErrorInfo

FULL = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})
"""Error numbers of a full disk and of an exhausted quota."""
_SYSTEM = re.compile(r"errno = (\d+), error message = '([^']*)'")
_FIELD = re.compile(r"`\$\.([\w.]+)`")
_SAFETENSORS = re.compile(r"os error (\d+)")


class RunError(Exception):
    """A run cannot be created, read, written or changed.

    Attributes
    ----------
    title, cause, action
        What happened, why, and what the user can do.
    """

    def __init__(self, title: str, cause: str, action: str = "") -> None:
        self.title, self.cause, self.action = title, cause, action
        super().__init__(f"{title}: {cause} {action}".rstrip())

    def info(self) -> ErrorInfo:
        """Return the error as a message."""
        return ErrorInfo(title=self.title, cause=self.cause, action=self.action)


def moved_away(directory: Path) -> RunError:
    """Return the error for a directory that was moved or deleted while a run wrote to it."""
    cause = f"{directory} was moved or deleted while the run was writing to it."
    action = "If it was moved, resume the run in its new place or move it back; otherwise start the experiment again."
    return RunError("The run's directory is gone", cause, action)


def describe_error(error: BaseException) -> str:
    """Return an error's message in one line, without the times and addresses that HDF5 adds."""
    match = _SYSTEM.search(str(error))
    if match:
        return match[2]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.partition("\n")[0]
    return str(error).partition("\n")[0] or type(error).__name__


def describe_read_error(path: Path, error: Exception) -> str:
    """Return in one sentence why a file of a run cannot be read."""
    if isinstance(error, FileError):
        return f"{error}."
    if isinstance(error, OSError):
        return f"{path}: {describe_error(error)}."
    field = _FIELD.search(str(error))
    return f"{path} is damaged or was not written by NFKD{f' at {field[1]}' if field else ''}."


def system_error(error: BaseException, path: Path) -> OSError:
    """Return the OSError behind an error of the safetensors library, which has its number only in the text."""
    match = _SAFETENSORS.search(str(error))
    return OSError(int(match[1]), os.strerror(int(match[1])), str(path)) if match else OSError(f"{path}: {error}")


def errno_of(error: BaseException) -> int | None:
    """Return the errno of an error; HDF5's own errors have it only in their text."""
    match = _SYSTEM.search(str(error))
    return int(match[1]) if match else getattr(error, "errno", None)
