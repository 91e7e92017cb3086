"""What can be wrong with a run on disk."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from nfkd.protocol.events import ErrorInfo

FULL = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})
"""The system's numbers of a disk without room, or of a user who may have no more of it."""
_SYSTEM = re.compile(r"errno = (\d+), error message = '([^']*)'")


class RunError(Exception):
    """A run that cannot be made, read, written or changed.

    Attributes
    ----------
    title, cause, action
        What happened, why, and what the user can do.
    """

    def __init__(self, title: str, cause: str, action: str = "") -> None:
        self.title, self.cause, self.action = title, cause, action
        super().__init__(f"{title}: {cause} {action}".rstrip())

    def info(self) -> ErrorInfo:
        """Return the same for the wire."""
        return ErrorInfo(title=self.title, cause=self.cause, action=self.action)


def moved_away(directory: Path) -> RunError:
    """Return the error of a directory that was moved or deleted while a run wrote to it."""
    cause = f"{directory} was moved or deleted while the run was writing to it."
    action = "If it was moved, resume the run in its new place or move it back; otherwise start the experiment again."
    return RunError("The run's directory is gone", cause, action)


def describe_error(error: BaseException) -> str:
    """Return what an error says, in one line: HDF5 adds times, addresses and offsets."""
    found = _SYSTEM.search(str(error))
    if found:
        return found[2]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.partition("\n")[0]
    return str(error).partition("\n")[0] or type(error).__name__


_SAFETENSORS = re.compile(r"os error (\d+)")


def system_error(error: BaseException, path: Path) -> OSError:
    """Return the system's error behind one of the safetensors library, which keeps its number in its words alone."""
    found = _SAFETENSORS.search(str(error))
    return OSError(int(found[1]), os.strerror(int(found[1])), str(path)) if found else OSError(f"{path}: {error}")


def errno_of(error: BaseException) -> int | None:
    """Return the system's number of an error; that of HDF5's own errors is only in their words."""
    found = _SYSTEM.search(str(error))
    return int(found[1]) if found else getattr(error, "errno", None)
