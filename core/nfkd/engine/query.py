"""One request to a running engine, for commands: every outcome comes within seconds."""

from __future__ import annotations

import time

from filelock import FileLock, Timeout

import nfkd
from nfkd.engine.endpoint import (
    LOCK,
    Connection,
    EngineBusyError,
    EngineDirectoryError,
    EngineNotListeningError,
    EngineSilentError,
    NoEngineError,
    address,
    connect,
    describe_kill,
    describe_process,
    describe_silence,
    engine_directory,
    read_process,
)
from nfkd.protocol.codec import PROTOCOL, from_engine, to_wire
from nfkd.protocol.frames import FrameDecoder, FrameError
from nfkd.protocol.requests import Answer, Call, Hello, Notice, Refusal, Reply, Request

_MAX_REPLY = 1 << 20  # bytes


def query_engine(request: Request, *, greeting: float, patience: float) -> tuple[Reply | Refusal, int | None]:
    """Send a request to the running engine; return its reply and its process.

    Parameters
    ----------
    request
        The request.
    greeting
        Seconds to wait for its greeting.
    patience
        Seconds to wait for the reply after the greeting.

    Raises
    ------
    EngineDirectoryError
        When the engine's directory cannot be used.
    NoEngineError
        When no engine is running.
    EngineNotListeningError
        When the engine is starting or ending.
    EngineSilentError
        When the listening process sends no greeting, or is not NFKD's engine.
    EngineBusyError
        When there is no reply after the greeting.
    """
    try:
        connection = connect(greeting)
    except (EngineDirectoryError, EngineSilentError):
        raise
    except OSError as error:
        raise _no_listener() from error
    try:
        return _Query(connection).run(request, greeting, patience), connection.process or read_process()
    finally:
        connection.close()


class _Query:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._decoder = FrameDecoder(_MAX_REPLY)
        self._bodies: list[bytes] = []

    def run(self, request: Request, greeting: float, patience: float) -> Reply | Refusal:
        end = time.monotonic() + greeting
        try:
            self._send(to_wire(Hello(protocol=PROTOCOL, version=nfkd.__version__)))
            if not isinstance(message := self._next(end), Hello):
                return self._require_refusal(message)
            self._send(to_wire(Call(id=1, request=request)))
        except TimeoutError as error:
            raise EngineSilentError(describe_silence(greeting, self._connection.process)) from error
        end = time.monotonic() + patience
        try:
            while isinstance(message := self._next(end), Notice):
                pass
        except TimeoutError as error:
            process = self._connection.process or read_process()
            msg = (
                f"The engine{describe_process(process)} is running but has not answered within {patience:g} s: "
                "it loads torch, or is busy. Try again in a minute."
            )
            raise EngineBusyError(msg, process) from error
        return message.reply if isinstance(message, Answer) else self._require_refusal(message)

    def _require_refusal(self, message: object) -> Refusal:
        if isinstance(message, Refusal):
            return message
        raise self._other_program()

    def _send(self, data: bytes) -> None:
        try:
            self._connection.write(data)
        except OSError:
            return  # the engine closed the connection: its last message can still be read

    def _next(self, end: float) -> object:
        """Return the next message; raises TimeoutError at `end`, also while bytes keep coming."""
        while not self._bodies:
            try:
                data = self._connection.read(end - time.monotonic())
            except ConnectionError:
                data = b""
            if not data:
                raise _no_listener()
            if time.monotonic() > end:
                raise TimeoutError
            try:
                self._bodies += self._decoder.feed(data)
            except FrameError as error:
                raise self._other_program() from error
        try:
            return from_engine(self._bodies.pop(0))
        except FrameError as error:
            raise self._other_program() from error

    def _other_program(self) -> EngineSilentError:
        return EngineSilentError(
            f"The program that listens on {address()}{describe_process(self._connection.process)} is not an engine of "
            "this version of NFKD. End it, or set NFKD_ENGINE_DIR to another directory."
        )


def _no_listener() -> NoEngineError | EngineNotListeningError:
    if not _is_locked():
        return NoEngineError("No engine is running.")
    process = read_process()
    advice = f" If this does not change: {describe_kill(process)}" if process else ""
    return EngineNotListeningError(
        f"The engine{describe_process(process)} is starting or ending and accepts no requests. Try again soon.{advice}"
    )


def _is_locked() -> bool:
    """Return whether a process holds the engine's lock."""
    path = engine_directory() / LOCK
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False
