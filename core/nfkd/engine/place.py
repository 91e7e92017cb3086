"""Where the engine listens: a directory of the user's own, and the socket in it."""

from __future__ import annotations

import getpass
import os
import select
import socket
import stat
import struct
import sys
import time
from pathlib import Path
from typing import BinaryIO, Protocol

import psutil
from platformdirs import user_runtime_path

from nfkd.files import read_limited, replace_file

ENVIRONMENT = "NFKD_ENGINE_DIR"
"""Names another directory: several engines of one user, or tests."""
SOCKET, LOCK, LOG, PID = "engine.sock", "engine.lock", "engine.log", "engine.pid"
"""The files in the engine's directory."""
CONNECT_SECONDS = 5.0
_AGAIN = 0.05
_LONGEST = 100  # a Unix socket's path may have 103 to 107 bytes


class PlaceError(OSError):
    """The engine's directory cannot be used; the message says why and what to do."""


class EngineSilentError(OSError):
    """What listens on the engine's socket does not answer; the message names the process and says what to do."""


def engine_directory() -> Path:
    """Return the engine's directory, made with access for this user alone.

    Raises
    ------
    PlaceError
        When it cannot be made, belongs to somebody else, or one of the engine's files in it is of another kind.
    """
    directory = Path(os.environ.get(ENVIRONMENT) or user_runtime_path("nfkd"))
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.stat()
    except OSError as error:
        msg = f"the engine's directory {directory} cannot be made: {error.strerror}; set {ENVIRONMENT} to another"
        raise PlaceError(msg) from error
    if sys.platform != "win32":
        if status.st_uid != os.getuid():
            msg = f"the engine's directory {directory} belongs to another user; set {ENVIRONMENT} to another"
            raise PlaceError(msg)
        if stat.S_IMODE(status.st_mode) != 0o700:
            directory.chmod(0o700)
        _check_kinds(directory)
    return directory


def _check_kinds(directory: Path) -> None:
    """Refuse a FIFO in the place of the log, and the like: to open it would take for ever."""
    for name, is_right, kind in (
        (SOCKET, stat.S_ISSOCK, "a socket"),
        (LOCK, stat.S_ISREG, "a regular file"),
        (LOG, stat.S_ISREG, "a regular file"),
        (PID, stat.S_ISREG, "a regular file"),
    ):
        try:
            mode = (directory / name).stat().st_mode
        except OSError:
            continue  # not there yet; what else is wrong shows when it is opened
        if not is_right(mode):
            msg = f"{directory / name} is not {kind}: remove it, or set {ENVIRONMENT} to another directory"
            raise PlaceError(msg)


def address() -> str:
    """Return the socket's path (on Windows the pipe's name; untested there).

    Raises
    ------
    PlaceError
        As `engine_directory`.
    """
    if sys.platform == "win32":
        return rf"\\.\pipe\nfkd-{getpass.getuser()}"
    path = str(engine_directory() / SOCKET)
    if len(path.encode()) > _LONGEST:
        msg = f"{path} is too long for a socket; set {ENVIRONMENT} to a shorter directory"
        raise PlaceError(msg)
    return path


class Connection(Protocol):
    """A blocking byte stream to the engine."""

    process: int | None
    """The process that listens; None where the system does not tell."""

    def read(self, limit: float | None = None) -> bytes:
        """Return some bytes; none at the end. Raises `TimeoutError` when none come within the limit in seconds."""
        ...

    def write(self, data: bytes) -> None:
        """Send all bytes."""
        ...

    def end(self) -> None:
        """Say that no more will be sent."""
        ...

    def close(self) -> None:
        """Let the connection go."""
        ...


class _SocketConnection:
    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self.process = _listener(connected)

    def read(self, limit: float | None = None) -> bytes:
        if limit is not None and not select.select([self._socket], [], [], max(0.0, limit))[0]:
            raise TimeoutError
        return self._socket.recv(1 << 18)

    def write(self, data: bytes) -> None:
        self._socket.sendall(data)

    def end(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()


class _PipeConnection:  # pragma: no cover - Windows, untested
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.process = None

    def read(self, limit: float | None = None) -> bytes:
        return self._file.read(1 << 18) or b""  # a pipe cannot be waited for with a limit

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def end(self) -> None:
        self._file.close()

    def close(self) -> None:
        self._file.close()


def connect(limit: float = CONNECT_SECONDS) -> Connection:
    """Connect to the engine that listens.

    Parameters
    ----------
    limit
        Seconds to wait where it accepts no connection.

    Raises
    ------
    EngineSilentError
        When it accepts none within the limit.
    OSError
        When none listens.
    """
    if sys.platform == "win32":  # pragma: no cover - untested
        return _PipeConnection(open(address(), "r+b", buffering=0))  # noqa: PTH123
    path, end = address(), time.monotonic() + limit
    while True:
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connected.settimeout(max(0.01, end - time.monotonic()))
        try:
            connected.connect(path)
        except OSError as error:
            connected.close()
            full = isinstance(error, (BlockingIOError, TimeoutError))  # many connections wait already
            if not full:
                raise
            if time.monotonic() >= end:
                raise EngineSilentError(describe_silence(limit, None)) from error
            time.sleep(_AGAIN)
        else:
            connected.settimeout(None)
            return _SocketConnection(connected)


def _listener(connected: socket.socket) -> int | None:
    """Return the process at the other end of a socket."""
    try:
        if sys.platform == "linux":
            return struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        if sys.platform == "darwin":  # pragma: no cover - SOL_LOCAL, LOCAL_PEERPID
            return connected.getsockopt(0, 2)
    except OSError:
        pass
    return None


def note_process() -> None:
    """Write down that this process is the engine; called by the one that has the lock."""
    replace_file(engine_directory() / PID, str(os.getpid()).encode())


def noted_process() -> int | None:
    """Return the process that was the last to be the engine here; None when it has ended."""
    try:
        process = int(read_limited(engine_directory() / PID, 32))
    except (OSError, ValueError):
        return None
    return process if psutil.pid_exists(process) else None


def describe_silence(limit: float, process: int | None) -> str:
    """Return in words that the engine does not answer, and what to do."""
    process = process or noted_process()
    if process is None:
        return f"The engine does not answer within {limit:g} s. End its process, then try again."
    return f"The engine does not answer within {limit:g} s (process {process}). {describe_kill(process)}"


def describe_kill(process: int) -> str:
    """Return how a user ends a process that does not answer."""
    command = f"taskkill /F /PID {process}" if sys.platform == "win32" else f"kill -KILL {process}"
    return f"End it with `{command}`; a run that it was training can be resumed from its last checkpoint."
