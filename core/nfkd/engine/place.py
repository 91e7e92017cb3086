"""Where the engine listens: a directory of the user's own, and the socket in it."""

from __future__ import annotations

import getpass
import os
import socket
import stat
import sys
from pathlib import Path
from typing import BinaryIO, Protocol

from platformdirs import user_runtime_path

ENVIRONMENT = "NFKD_ENGINE_DIR"
"""Names another directory: several engines of one user, or tests."""
_LONGEST = 100  # a Unix socket's path may have 103 to 107 bytes


class PlaceError(OSError):
    """The engine's directory cannot be used; the message says why and what to do."""


def engine_directory() -> Path:
    """Return the engine's directory, made with access for this user alone.

    Raises
    ------
    PlaceError
        When it cannot be made, belongs to somebody else, or its name is too long for a socket.
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
    return directory


def address() -> str:
    """Return the socket's path (on Windows the pipe's name; untested there).

    Raises
    ------
    PlaceError
        As `engine_directory`.
    """
    if sys.platform == "win32":
        return rf"\\.\pipe\nfkd-{getpass.getuser()}"
    path = str(engine_directory() / "engine.sock")
    if len(path.encode()) > _LONGEST:
        msg = f"{path} is too long for a socket; set {ENVIRONMENT} to a shorter directory"
        raise PlaceError(msg)
    return path


class Connection(Protocol):
    """A blocking byte stream to the engine."""

    def read(self) -> bytes:
        """Return some bytes; none at the end."""
        ...

    def write(self, data: bytes) -> None:
        """Send all bytes."""
        ...

    def end(self) -> None:
        """Say that no more will be sent."""
        ...


class _SocketConnection:
    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    def read(self) -> bytes:
        return self._socket.recv(1 << 18)

    def write(self, data: bytes) -> None:
        self._socket.sendall(data)

    def end(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)


class _PipeConnection:  # pragma: no cover - Windows, untested
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self) -> bytes:
        return self._file.read(1 << 18) or b""

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def end(self) -> None:
        self._file.close()


def connect() -> Connection:
    """Connect to the engine that listens.

    Raises
    ------
    OSError
        When none does.
    """
    if sys.platform == "win32":  # pragma: no cover - untested
        return _PipeConnection(open(address(), "r+b", buffering=0))  # noqa: PTH123
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.connect(address())
    except OSError:
        connected.close()
        raise
    return _SocketConnection(connected)
