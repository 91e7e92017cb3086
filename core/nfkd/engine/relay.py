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
from dataclasses import dataclass
from pathlib import Path

from nfkd.engine.place import (
    LOG,
    Connection,
    EngineSilentError,
    PlaceError,
    connect,
    describe_kill,
    describe_silence,
    engine_directory,
    noted_process,
)
from nfkd.files import open_for_update, read_tail
from nfkd.terminal import say

READY = b"ready"
ALREADY_RUNNING = 3
"""The exit code of an engine that found another in its place."""
_TAIL = 4000
_ENGINES = 5
"""How many may go without a greeting before that counts as a failure."""


@dataclass(frozen=True)
class Patience:
    """How long a relay waits for an engine, in seconds.

    Attributes
    ----------
    listening
        Until an engine that was started listens: it loads torch later.
    greeting
        Until one that listens greets.
    failing
        While engines end at their start.
    ending
        While another engine holds the place and takes no clients.
    """

    listening: float = 60.0
    greeting: float = 20.0
    failing: float = 20.0
    ending: float = 80.0


PATIENCE = Patience()


class EngineStartError(RuntimeError):
    """The engine did not start; the message holds the end of its log."""


def log_tail() -> str:
    """Return the last lines of the engine's log."""
    try:
        return read_tail(engine_directory() / LOG, _TAIL)[0].decode(errors="replace").strip()
    except OSError:
        return ""


def find_or_start(patience: Patience = PATIENCE) -> Connection:
    """Connect to the engine, starting it where none listens.

    Raises
    ------
    EngineStartError
        When it does not start.
    EngineSilentError
        When one listens and accepts no connection.
    PlaceError
        When its directory cannot be used.
    """
    begun = time.monotonic()
    while True:
        try:
            return connect()
        except (PlaceError, EngineSilentError):
            raise
        except OSError:
            code = _start(patience.listening)
        waited = time.monotonic() - begun
        if code == ALREADY_RUNNING and waited > patience.ending:
            process = noted_process()
            msg = "the engine that was told to end is still ending its run; try again in a minute"
            msg += f". If it stays so: {describe_kill(process)}" if process else ""
            raise EngineStartError(msg)
        if code not in (None, ALREADY_RUNNING) and waited > patience.failing:
            msg = f"the engine ended at its start with code {code}\n{log_tail()}"
            raise EngineStartError(msg)
        if code is not None:
            time.sleep(0.1)  # another client starts one at this moment, or an old one is just leaving


def _start(limit: float) -> int | None:
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
    ready = _first_line(process, limit)
    if ready == READY:
        return None
    try:
        return process.wait(0 if ready is None else limit)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        msg = f"the engine did not listen within {limit:g} s and was ended\n{log_tail()}"
        raise EngineStartError(msg) from None


def _first_line(process: subprocess.Popen[bytes], limit: float) -> bytes | None:
    """Return what a process says first; None when it says nothing in time."""
    lines: list[bytes] = []

    def read() -> None:
        with process.stdout as output:  # type: ignore[union-attr]
            lines.append(output.readline().strip())

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(limit)
    return lines[0] if lines else None


class _Link:
    """The way to the engine. Until the engine has greeted, another may take its place.

    An engine that ends takes no more clients, but a connection that was on its way is there already: it closes
    without a word, and what was sent to it was read by nobody.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._lock = threading.Lock()
        self._unread = bytearray()
        self._greeted = False
        self.left = False
        self._connection = find_or_start(self._patience)

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
            return self._connection.read(None if self._greeted else self._patience.greeting)
        except TimeoutError as error:
            raise EngineSilentError(describe_silence(self._patience.greeting, self._connection.process)) from error
        except OSError:
            return b""

    def _replace(self) -> None:
        with self._lock:
            self._connection = find_or_start(self._patience)
            with contextlib.suppress(OSError):  # that one has gone too: the next read tells
                self._connection.write(bytes(self._unread))


def main(patience: Patience = PATIENCE) -> int:
    """Be the relay until either side ends; returns the exit code."""
    protocol = os.dup(1)
    os.dup2(2, 1)  # a stray print never breaks a frame
    try:
        link = _Link(patience)
        upward = threading.Thread(target=_upward, args=(link,), daemon=True)
        upward.start()
        return _downward(link, protocol)
    except (EngineStartError, OSError) as error:
        say(f"The engine cannot be reached: {error}", stderr=True)
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
    say(f"The engine has ended.\n{log_tail()}", stderr=True)
    return 1
