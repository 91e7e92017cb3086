"""``python -m nfkd.engine connect``: finds or starts the engine and copies bytes both ways.

The way that ``docker system dial-stdio`` works: a client speaks to the standard streams of this little process,
here or over ssh. File descriptor 1 is kept for the protocol; whatever prints goes to standard error.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from nfkd.engine.place import Connection, PlaceError, connect, engine_directory
from nfkd.files import open_for_update, read_tail

LOG = "engine.log"
READY = b"ready"
ALREADY_RUNNING = 3
"""The exit code of an engine that found another in its place."""
_PATIENCE = 20.0
_ENDING_PATIENCE = 80.0
_TAIL = 4000
_ENGINES = 5
"""How many may go without a greeting before that counts as a failure."""


class EngineStartError(RuntimeError):
    """The engine did not start; the message holds the end of its log."""


def log_tail() -> str:
    """Return the last lines of the engine's log."""
    path = engine_directory() / LOG
    try:
        return read_tail(path, _TAIL)[0].decode(errors="replace").strip()
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
    begun = time.monotonic()
    while True:
        try:
            return connect()
        except PlaceError:
            raise
        except OSError:
            code = _start()
        waited = time.monotonic() - begun
        if code == ALREADY_RUNNING and waited > _ENDING_PATIENCE:
            msg = "the engine that was told to end is still ending its run; try again in a minute"
            raise EngineStartError(msg)
        if code not in (None, ALREADY_RUNNING) and waited > _PATIENCE:
            msg = f"the engine ended at its start with code {code}\n{log_tail()}"
            raise EngineStartError(msg)
        if code is not None:
            time.sleep(0.1)  # another client starts one at this moment, or an old one is just leaving


def _start() -> int | None:
    """Start an engine and wait until it listens; returns its exit code where it ended instead."""
    directory = engine_directory()
    with open_for_update(directory / LOG, append=True) as log:
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


class _Link:
    """The way to the engine. Until the engine has greeted, another may take its place.

    An engine that ends takes no more clients, but a connection that was on its way is there already: it closes
    without a word, and what was sent to it was read by nobody.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unread = bytearray()
        self._greeted = False
        self.left = False
        self._connection = find_or_start()

    def send(self, data: bytes) -> None:
        """Send bytes; raises OSError when the engine has gone."""
        with self._lock:
            if not self._greeted:
                self._unread += data
            try:
                self._connection.write(data)
            except OSError:
                if self._greeted:
                    raise

    def end(self) -> None:
        """Say that the client sends no more."""
        with self._lock:
            self.left = True
            self._connection.end()

    def read(self) -> bytes:
        """Return what the engine says; nothing when it has gone. Looks for another where the first says nothing."""
        data = self._read_once()
        for _ in range(_ENGINES):
            if data or self._greeted or self.left:
                break
            self._replace()
            data = self._read_once()
        self._greeted = True
        self._unread.clear()
        return data

    def _read_once(self) -> bytes:
        try:
            return self._connection.read()
        except OSError:
            return b""

    def _replace(self) -> None:
        with self._lock:
            self._connection = find_or_start()
            with contextlib.suppress(OSError):  # that one has gone too: the next read tells
                self._connection.write(bytes(self._unread))


def main() -> int:
    """Be the relay until either side ends; returns the exit code."""
    protocol = os.dup(1)
    os.dup2(2, 1)  # a stray print never breaks a frame
    try:
        link = _Link()
        upward = threading.Thread(target=_upward, args=(link,), daemon=True)
        upward.start()
        return _downward(link, protocol)
    except (EngineStartError, OSError) as error:
        print(f"The engine cannot be reached: {error}", file=sys.stderr)
        return 1


def _upward(link: _Link) -> None:
    try:
        while data := os.read(0, 1 << 18):
            link.send(data)
        link.end()
    except OSError:
        return  # the other direction notices it too, and reports it


def _downward(link: _Link, protocol: int) -> int:
    while data := link.read():
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(protocol, view) :]
        except BrokenPipeError:
            return 0  # the client has gone
    if link.left:
        return 0  # the client said that it goes; the engine may live on
    print(f"The engine has ended.\n{log_tail()}", file=sys.stderr, flush=True)
    return 1
