"""The relay, ``python -m nfkd.engine connect``: finds or starts the engine and copies bytes in both directions.

Like ``docker system dial-stdio``: a client talks to the standard streams of this small process, locally or over ssh.
File descriptor 1 carries the protocol only; printed text goes to standard error.
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

from nfkd.engine.endpoint import (
    LOG,
    Connection,
    EngineDirectoryError,
    EngineSilentError,
    connect,
    describe_kill,
    describe_silence,
    engine_directory,
    read_process,
)
from nfkd.files import open_for_update, read_tail
from nfkd.terminal import say

READY = b"ready"
ALREADY_RUNNING = 3
"""Exit code of an engine that finds another one running."""
_TAIL = 4000
_MAX_RECONNECTS = 5


@dataclass(frozen=True)
class Patience:
    """How long a relay waits for an engine, in seconds.

    Attributes
    ----------
    listening
        Until a started engine listens: it loads torch later.
    greeting
        Until a listening engine sends its greeting.
    failing
        While started engines end at once.
    ending
        While another engine is running and accepts no clients.
    """

    listening: float = 60.0
    greeting: float = 20.0
    failing: float = 20.0
    ending: float = 80.0


PATIENCE = Patience()


class EngineStartError(RuntimeError):
    """The engine did not start; the message contains the end of its log."""


def log_tail() -> str:
    """Return the last lines of the engine's log."""
    try:
        return read_tail(engine_directory() / LOG, _TAIL)[0].decode(errors="replace").strip()
    except OSError:
        return ""


def find_or_start(patience: Patience = PATIENCE) -> Connection:
    """Connect to the engine; start it if none is running.

    Raises
    ------
    EngineStartError
        When it does not start.
    EngineSilentError
        When an engine listens but accepts no connection.
    EngineDirectoryError
        When its directory cannot be used.
    """
    start = time.monotonic()
    while True:
        try:
            return connect()
        except (EngineDirectoryError, EngineSilentError):
            raise
        except OSError:
            code = _start(patience.listening)
        waited = time.monotonic() - start
        if code == ALREADY_RUNNING and waited > patience.ending:
            process = read_process()
            msg = "the previous engine is still ending its run; try again in a minute"
            msg += f". If this does not change: {describe_kill(process)}" if process else ""
            raise EngineStartError(msg)
        if code not in (None, ALREADY_RUNNING) and waited > patience.failing:
            msg = f"the engine ended at its start with code {code}\n{log_tail()}"
            raise EngineStartError(msg)
        if code is not None:
            time.sleep(0.1)  # another client is starting an engine, or an old engine is ending


def _start(limit: float) -> int | None:
    """Start an engine and wait until it listens; return its exit code if it ended instead."""
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
    """Return the first line of a process's output; None when there is none in time."""
    lines: list[bytes] = []

    def read() -> None:
        with process.stdout as output:  # type: ignore[union-attr]
            lines.append(output.readline().strip())

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(limit)
    return lines[0] if lines else None


class _EngineLink:
    """A connection to the engine that can move to a new engine until the first byte arrives.

    An ending engine closes new connections without reading them. Until then the bytes sent are kept, and sent again
    to the next engine.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._lock = threading.Lock()
        self._sent = bytearray()
        self._greeted = False
        self.ended = False
        self._connection = find_or_start(self._patience)

    def send(self, data: bytes) -> None:
        """Send bytes; raises OSError when the engine has ended."""
        with self._lock:
            if not self._greeted:
                self._sent += data
            try:
                self._connection.write(data)
            except OSError:
                if self._greeted:
                    raise

    def end(self) -> None:
        """Close the sending direction: the client sends no more."""
        with self._lock:
            self.ended = True
            self._connection.end()

    def read(self) -> bytes:
        """Return bytes from the engine, none after its end. Reconnects while no engine has sent anything."""
        data = self._read_once()
        for _ in range(_MAX_RECONNECTS):
            if data or self._greeted or self.ended:
                break
            self._reconnect()
            data = self._read_once()
        self._greeted = True
        self._sent.clear()
        return data

    def _read_once(self) -> bytes:
        try:
            return self._connection.read(None if self._greeted else self._patience.greeting)
        except TimeoutError as error:
            raise EngineSilentError(describe_silence(self._patience.greeting, self._connection.process)) from error
        except OSError:
            return b""

    def _reconnect(self) -> None:
        with self._lock:
            self._connection = find_or_start(self._patience)
            with contextlib.suppress(OSError):  # the next read finds out
                self._connection.write(bytes(self._sent))


def main(patience: Patience = PATIENCE) -> int:
    """Run the relay until either side ends; returns the exit code."""
    protocol = os.dup(1)
    os.dup2(2, 1)  # a stray print must not break a frame
    try:
        link = _EngineLink(patience)
        threading.Thread(target=_copy_to_engine, args=(link,), daemon=True).start()
        return _copy_to_client(link, protocol)
    except (EngineStartError, OSError) as error:
        say(f"The engine cannot be reached: {error}", stderr=True)
        return 1


def _copy_to_engine(link: _EngineLink) -> None:
    try:
        while data := os.read(0, 1 << 18):
            link.send(data)
        link.end()
    except OSError:
        return  # the other direction notices and reports it


def _copy_to_client(link: _EngineLink, protocol: int) -> int:
    while data := link.read():
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(protocol, view) :]
        except BrokenPipeError:
            return 0  # the client has left
    if link.ended:
        return 0  # the client left in order; the engine may continue
    say(f"The engine has ended.\n{log_tail()}", stderr=True)
    return 1
