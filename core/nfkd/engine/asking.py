"""Asking an engine that runs, from a command: every outcome within seconds, each with its words."""

from __future__ import annotations

import time

from filelock import FileLock, Timeout

import nfkd
from nfkd.engine.place import (
    LOCK,
    Connection,
    EngineSilentError,
    PlaceError,
    address,
    connect,
    describe_kill,
    describe_silence,
    engine_directory,
    noted_process,
)
from nfkd.protocol.codec import PROTOCOL, from_engine, to_wire
from nfkd.protocol.frames import FrameDecoder, FrameError
from nfkd.protocol.requests import Answer, Call, Hello, Notice, Refusal, Reply, Request

_LARGEST = 1 << 20  # of a reply to a command


class EngineBusyError(OSError):
    """An engine is there and takes requests, but has not answered this one within the limit.

    Attributes
    ----------
    process
        The engine's; None where it is not known.
    """

    def __init__(self, message: str, process: int | None) -> None:
        self.process = process
        super().__init__(message)


class NoEngineError(OSError):
    """No engine runs."""


class EngineAwayError(OSError):
    """An engine runs and does not listen: it is starting or ending."""


def ask_engine(request: Request, *, greeting: float, patience: float) -> tuple[Reply | Refusal, int | None]:
    """Ask an engine that runs, and return its reply and its process.

    Parameters
    ----------
    request
        What is asked.
    greeting
        Seconds in which it must greet.
    patience
        Seconds in which it must then answer.

    Raises
    ------
    PlaceError
        When the engine's directory cannot be used.
    NoEngineError
        When none runs.
    EngineAwayError
        When one runs, but is starting or ending.
    EngineSilentError
        When what listens does not greet, or is not NFKD's engine.
    EngineBusyError
        When it greets and does not answer.
    """
    try:
        connection = connect(greeting)
    except (PlaceError, EngineSilentError):
        raise
    except OSError as error:
        raise _nobody_listens() from error
    try:
        return _Conversation(connection).ask(request, greeting, patience), connection.process or noted_process()
    finally:
        connection.close()


class _Conversation:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._decoder = FrameDecoder(_LARGEST)
        self._waiting: list[bytes] = []

    def ask(self, request: Request, greeting: float, patience: float) -> Reply | Refusal:
        end = time.monotonic() + greeting
        try:
            self._send(to_wire(Hello(protocol=PROTOCOL, version=nfkd.__version__)))
            if not isinstance(message := self._next(end), Hello):
                return self._refusal(message)
            self._send(to_wire(Call(id=1, request=request)))
        except TimeoutError as error:
            raise EngineSilentError(describe_silence(greeting, self._connection.process)) from error
        end = time.monotonic() + patience
        try:
            while isinstance(message := self._next(end), Notice):
                pass  # events are not for a command
        except TimeoutError as error:
            process = self._connection.process or noted_process()
            what = f" (process {process})" if process else ""
            msg = (
                f"The engine{what} is there but has not answered within {patience:g} s: it loads torch, or is busy. "
                "Try again in a minute."
            )
            raise EngineBusyError(msg, process) from error
        return message.reply if isinstance(message, Answer) else self._refusal(message)

    def _refusal(self, message: object) -> Refusal:
        if isinstance(message, Refusal):
            return message
        raise self._other_program()

    def _send(self, data: bytes) -> None:
        try:
            self._connection.write(data)
        except OSError:
            return  # it has closed the connection: reading tells what it said before

    def _next(self, end: float) -> object:
        """Return the next message; a program that sends without end is given up at the end of the time."""
        while not self._waiting:
            try:
                data = self._connection.read(end - time.monotonic())
            except ConnectionError:
                data = b""
            if not data:
                raise _nobody_listens()
            if time.monotonic() > end:
                raise TimeoutError
            try:
                self._waiting += self._decoder.feed(data)
            except FrameError as error:
                raise self._other_program() from error
        try:
            return from_engine(self._waiting.pop(0))
        except FrameError as error:
            raise self._other_program() from error

    def _other_program(self) -> EngineSilentError:
        process = self._connection.process
        who = f" (process {process})" if process else ""
        return EngineSilentError(
            f"What listens on {address()}{who} is not an engine of this version of NFKD. "
            "End it, or set NFKD_ENGINE_DIR to another directory."
        )


def _nobody_listens() -> NoEngineError | EngineAwayError:
    if not engine_runs():
        return NoEngineError("No engine is running.")
    process = noted_process()
    who = f" (process {process})" if process else ""
    advice = f" If it stays so: {describe_kill(process)}" if process else ""
    return EngineAwayError(f"The engine{who} is starting or ending and takes no requests. Try again soon.{advice}")


def engine_runs() -> bool:
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
