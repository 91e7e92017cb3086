"""The engine's directory with its socket, lock, log and process number, and connections to the socket."""

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
"""Environment variable with another directory, for several engines of one user and for tests."""
SOCKET, LOCK, LOG, PID = "engine.sock", "engine.lock", "engine.log", "engine.pid"
"""The files in the engine's directory."""
CONNECT_SECONDS = 5.0
_RETRY_SECONDS = 0.05
_MAX_PATH = 100  # a Unix socket's path may have 103 to 107 bytes


class EngineDirectoryError(OSError):
    """The engine's directory cannot be used; the message says why and what to do."""


class EngineSilentError(OSError):
    """The process that listens on the engine's socket does not answer; the message names it and says what to do."""


class EngineBusyError(OSError):
    """The engine accepted the request, but did not reply within the limit.

    Attributes
    ----------
    process
        Its process; None if unknown.
    """

    def __init__(self, message: str, process: int | None) -> None:
        self.process = process
        super().__init__(message)


class NoEngineError(OSError):
    """No engine is running."""


class EngineNotListeningError(OSError):
    """An engine is running, but does not listen: it is starting or ending."""


def engine_directory() -> Path:
    """Return the engine's directory; create it with access for this user only.

    Raises
    ------
    EngineDirectoryError
        When it cannot be created, belongs to another user, or contains an engine file of the wrong kind.
    """
    directory = Path(os.environ.get(ENVIRONMENT) or user_runtime_path("nfkd"))
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.stat()
    except OSError as error:
        msg = f"the engine's directory {directory} cannot be created: {error.strerror}; set {ENVIRONMENT} to another"
        raise EngineDirectoryError(msg) from error
    if sys.platform != "win32":
        if status.st_uid != os.getuid():
            msg = f"the engine's directory {directory} belongs to another user; set {ENVIRONMENT} to another"
            raise EngineDirectoryError(msg)
        if stat.S_IMODE(status.st_mode) != 0o700:
            directory.chmod(0o700)
        _check_kinds(directory)
    return directory


def _check_kinds(directory: Path) -> None:
    """Refuse a FIFO as the log, for example, because opening it would block."""
    for name, is_right, kind in (
        (SOCKET, stat.S_ISSOCK, "a socket"),
        (LOCK, stat.S_ISREG, "a regular file"),
        (LOG, stat.S_ISREG, "a regular file"),
        (PID, stat.S_ISREG, "a regular file"),
    ):
        try:
            mode = (directory / name).stat().st_mode
        except OSError:
            continue  # missing, or the error shows when it is opened
        if not is_right(mode):
            msg = f"{directory / name} is not {kind}: remove it, or set {ENVIRONMENT} to another directory"
            raise EngineDirectoryError(msg)


def address() -> str:
    """Return the socket's path (on Windows the pipe's name; untested).

    Raises
    ------
    EngineDirectoryError
        As `engine_directory`; also when the path is too long.
    """
    if sys.platform == "win32":
        return rf"\\.\pipe\nfkd-{getpass.getuser()}"
    path = str(engine_directory() / SOCKET)
    if len(path.encode()) > _MAX_PATH:
        msg = f"{path} is too long for a socket; set {ENVIRONMENT} to a shorter directory"
        raise EngineDirectoryError(msg)
    return path


class Connection(Protocol):
    """A blocking byte stream to the engine."""

    process: int | None
    """The process at the other end; None if unknown."""

    def read(self, limit: float | None = None) -> bytes:
        """Return some bytes, none at the end; raises `TimeoutError` after `limit` seconds without any."""
        ...

    def write(self, data: bytes) -> None:
        """Send all bytes."""
        ...

    def end(self) -> None:
        """Close the sending direction."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class _SocketConnection:
    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self.process = _peer_process(connected)

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
        return self._file.read(1 << 18) or b""  # reading a pipe has no time limit

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def end(self) -> None:
        self._file.close()

    def close(self) -> None:
        self._file.close()


def connect(limit: float = CONNECT_SECONDS) -> Connection:
    """Connect to the engine.

    Parameters
    ----------
    limit
        Seconds to wait until it accepts the connection.

    Raises
    ------
    EngineSilentError
        When it does not accept the connection in time.
    OSError
        When no process listens.
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
            queue_is_full = isinstance(error, (BlockingIOError, TimeoutError))
            if not queue_is_full:
                raise
            if time.monotonic() >= end:
                raise EngineSilentError(describe_silence(limit, None)) from error
            time.sleep(_RETRY_SECONDS)
        else:
            connected.settimeout(None)
            return _SocketConnection(connected)


def _peer_process(connected: socket.socket) -> int | None:
    try:
        if sys.platform == "linux":
            return struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        if sys.platform == "darwin":  # pragma: no cover - SOL_LOCAL, LOCAL_PEERPID
            return connected.getsockopt(0, 2)
    except OSError:
        pass
    return None


def write_process() -> None:
    """Save this process's number as the engine's; the caller holds the engine's lock."""
    replace_file(engine_directory() / PID, str(os.getpid()).encode())


def read_process() -> int | None:
    """Return the process of the last engine in this directory; None when it has ended."""
    try:
        process = int(read_limited(engine_directory() / PID, 32))
    except (OSError, ValueError):
        return None
    return process if psutil.pid_exists(process) else None


def describe_silence(limit: float, process: int | None) -> str:
    """Return a message that the engine does not answer, with what to do."""
    process = process or read_process()
    advice = describe_kill(process) if process else "End its process, then try again."
    return f"The engine does not answer within {limit:g} s{describe_process(process)}. {advice}"


def describe_process(process: int | None) -> str:
    """Return `` (process 123)`` for messages; empty for None."""
    return f" (process {process})" if process else ""


def describe_kill(process: int) -> str:
    """Return how to end a process that does not answer."""
    command = f"taskkill /F /PID {process}" if sys.platform == "win32" else f"kill -KILL {process}"
    return f"End it with `{command}`; its run can be resumed from the last checkpoint."
