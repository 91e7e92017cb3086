"""``python -m nfkd.engine connect``: finds or starts the engine and copies bytes both ways.

The way that ``docker system dial-stdio`` works: a client speaks to the standard streams of this little process,
here or over ssh. File descriptor 1 is kept for the protocol; whatever prints goes to standard error.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from nfkd.engine.place import Connection, PlaceError, connect, engine_directory

LOG = "engine.log"
READY = b"ready"
_PATIENCE = 20.0
_TAIL = 4000


class EngineStartError(RuntimeError):
    """The engine did not start; the message holds the end of its log."""


def log_tail() -> str:
    """Return the last lines of the engine's log."""
    path = engine_directory() / LOG
    try:
        return path.read_bytes()[-_TAIL:].decode(errors="replace").strip()
    except OSError:
        return ""


def find_or_start() -> Connection:
    """Connect to the engine, starting it where none listens.

    Raises
    ------
    EngineStartError
        When it does not start.
    PlaceError
        When its directory cannot be used.
    """
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return connect()
        except PlaceError:
            raise
        except OSError:
            code = _start()
        if code is not None and time.monotonic() > until:
            msg = f"the engine ended at its start with code {code}\n{log_tail()}"
            raise EngineStartError(msg)
        if code is not None:
            time.sleep(0.1)  # another client starts one at this moment, or an old one is just leaving


def _start() -> int | None:
    """Start an engine and wait until it listens; returns its exit code where it ended instead."""
    directory = engine_directory()
    with (directory / LOG).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "nfkd.engine", "serve"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            cwd=Path.home(),
        )
    with process.stdout as output:  # type: ignore[union-attr]
        ready = output.readline().strip()
    return None if ready == READY else process.wait()


def main() -> int:
    """Be the relay until either side ends; returns the exit code."""
    protocol = os.dup(1)
    os.dup2(2, 1)  # a stray print never breaks a frame
    try:
        connection = find_or_start()
    except (EngineStartError, OSError) as error:
        print(f"The engine cannot be reached: {error}", file=sys.stderr)
        return 1
    left = threading.Event()
    upward = threading.Thread(target=_upward, args=(connection, left), daemon=True)
    upward.start()
    return _downward(connection, protocol, left)


def _upward(connection: Connection, left: threading.Event) -> None:
    try:
        while data := os.read(0, 1 << 18):
            connection.write(data)
        left.set()
        connection.end()
    except OSError:
        return  # the other direction notices it too, and reports it


def _downward(connection: Connection, protocol: int, left: threading.Event) -> int:
    while True:
        try:
            data = connection.read()
        except OSError:
            data = b""
        if not data:
            break
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(protocol, view) :]
        except BrokenPipeError:
            return 0  # the client has gone
    if left.is_set():
        return 0  # the client said that it goes; the engine may live on
    print(f"The engine has ended.\n{log_tail()}", file=sys.stderr, flush=True)
    return 1
