"""A blocking client of an engine on another machine, for the terminal."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from queue import Empty, Full, Queue
from types import TracebackType
from typing import IO, Self, TypeVar

import nfkd
from nfkd.protocol.codec import PROTOCOL, from_engine, to_wire
from nfkd.protocol.events import Event
from nfkd.protocol.frames import FrameDecoder, FrameError
from nfkd.protocol.requests import Answer, Call, FromClient, FromEngine, Hello, Notice, Refusal, Reply, Request
from nfkd.remote.errors import RemoteError, RequestRefusedError
from nfkd.remote.failures import (
    SshFailure,
    explain_damage,
    explain_failure,
    explain_silence,
    explain_start,
    explain_version,
)
from nfkd.remote.hosts import EngineHost
from nfkd.remote.received import ReceivedBytes
from nfkd.remote.ssh import PREAMBLE, ssh_command

_READ_SIZE = 1 << 18
_STDERR_LINES = 40
_END_SECONDS, _LOOK_SECONDS = 2.0, 0.2
_MOST_UNREAD = 1000
"""Messages that wait to be used; ssh is not read meanwhile, and the engine drops its older pictures."""
_Result = TypeVar("_Result")


class EngineConnection:
    """A connection to an engine; a context manager, whose end disconnects. A run continues there without it.

    Parameters
    ----------
    host
        The engine.
    command
        The command whose standard streams lead to it; by default that of `ssh_command`.
    patience
        Seconds to wait for its greeting.

    Attributes
    ----------
    received
        Counts what has arrived.

    Raises
    ------
    RemoteError
        When it cannot be reached.
    """

    def __init__(self, host: EngineHost, command: Sequence[str] | None = None, *, patience: float = 90.0) -> None:
        self._host = host
        try:
            # Its own session: Ctrl-C in the terminal must reach only this process.
            self._process = subprocess.Popen(
                command or ssh_command(host),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=sys.platform != "win32",
            )
        except OSError as error:
            raise _remote_error(explain_start(host, error)) from error
        self._decoder = FrameDecoder(preamble=PREAMBLE)
        self._received: Queue[FromEngine | FrameError | None] = Queue(_MOST_UNREAD)
        self._events: deque[Event] = deque()
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        self._greeted = self._closed = False
        self._last_id = 0
        self._writing = threading.Lock()
        self.received = ReceivedBytes()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._read_stderr)]
        for thread in self._threads:
            thread.start()
        try:
            self._greet(patience)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def request(self, request: Request, *, keep_events: bool = False) -> Reply:
        """Send a request and wait for its reply.

        Parameters
        ----------
        keep_events
            Whether events that arrive before the reply are kept for `next_event`. They are not needed before a
            snapshot, and would fill the memory during a long copy.

        Raises
        ------
        RequestRefusedError
            When the engine refuses it.
        RemoteError
            When the connection is lost.
        """
        self._last_id += 1
        self._write(Call(id=self._last_id, request=request))
        while True:
            match self._next(None):
                case Answer(id=self._last_id, reply=reply):
                    if not keep_events:
                        self._events.clear()
                    return reply
                case Refusal(id=self._last_id, error=error, problems=problems):
                    raise RequestRefusedError(error, problems)
                case Notice(event=event) if keep_events:
                    self._events.append(event)
                case _:
                    pass

    def perform(self, steps: Generator[Request, Reply, _Result]) -> _Result:
        """Send the requests that a generator yields, and send it their replies; return its result.

        Raises as `request`; a refusal is raised inside the generator.
        """
        try:
            request = next(steps)
            while True:
                try:
                    reply = self.request(request)
                except RequestRefusedError as error:
                    request = steps.throw(error)
                else:
                    request = steps.send(reply)
        except StopIteration as end:
            return end.value
        finally:
            steps.close()

    def next_event(self, limit: float | None = None) -> Event | None:
        """Return the next event; None if there is none within `limit` seconds.

        Raises
        ------
        RemoteError
            When the connection is lost.
        """
        if self._events:
            return self._events.popleft()
        end = None if limit is None else time.monotonic() + limit
        try:
            while True:
                message = self._next(end)
                if isinstance(message, Notice):
                    return message.event
        except TimeoutError:
            return None

    def close(self) -> None:
        """Disconnect, and end the ssh process."""
        process = self._process
        self._closed = True
        with suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        for escalate in (process.terminate, process.kill, None):
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)
                break
            if escalate is not None:
                escalate()
        for thread in self._threads:
            thread.join(_END_SECONDS)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()

    # -- the threads -------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        stream = self._process.stdout
        try:
            while stream is not None and (data := _read_some(stream)):
                for body in self._decoder.feed(data):
                    self._put(from_engine(body))
                if message := self.received.add(len(data), len(self._decoder.skipped)):
                    self._write(message)
        except FrameError as error:
            self._put(error)
        except (OSError, ValueError):  # ValueError: closed
            pass
        self._put(None)

    def _put(self, message: FromEngine | FrameError | None) -> None:
        """Wait until there is space for a message, or until the connection is closed."""
        while not self._closed:
            with suppress(Full):
                self._received.put(message, timeout=_LOOK_SECONDS)
                return

    def _read_stderr(self) -> None:
        with suppress(OSError, ValueError):
            for line in self._process.stderr or ():
                self._stderr.append(line.decode(errors="replace").rstrip())

    # -- messages ----------------------------------------------------------------------------------------------------

    def _write(self, message: FromClient) -> None:
        stream = self._process.stdin
        with self._writing, suppress(OSError, ValueError):  # the reader notices the end and knows the reason
            if stream is not None:
                stream.write(to_wire(message))
                stream.flush()

    def _greet(self, patience: float) -> None:
        self._write(Hello(protocol=PROTOCOL, version=nfkd.__version__))
        try:
            message = self._next(time.monotonic() + patience)
        except TimeoutError as error:
            failure = explain_silence(self._host, patience, self._stderr, self._decoder.skipped)
            raise _remote_error(failure) from error
        if isinstance(message, Hello) and message.protocol != PROTOCOL:
            here, there = (nfkd.__version__, PROTOCOL), (message.version, message.protocol)
            raise _remote_error(explain_version(self._host, here, there))
        self._greeted = True

    def _next(self, end: float | None) -> FromEngine:
        """Return the next message; raises TimeoutError at `end`."""
        try:
            message = self._received.get(timeout=None if end is None else max(0.0, end - time.monotonic()))
        except Empty as error:
            raise TimeoutError from error
        match message:
            case None:
                raise self._lost()
            case FrameError():
                self._process.kill()
                raise self._unreadable(message)
            case Refusal(id=0, error=error):  # the reason why the engine ends the connection
                raise RemoteError(error, transient=self._greeted)
            case _:
                return message

    def _lost(self) -> RemoteError:
        with suppress(Full):
            self._received.put_nowait(None)  # for the next call
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        self._threads[1].join(_END_SECONDS)
        code, skipped = self._process.returncode, self._decoder.skipped
        return _remote_error(explain_failure(self._host, code, self._stderr, greeted=self._greeted, output=skipped))

    def _unreadable(self, error: FrameError) -> RemoteError:
        if not self._greeted:
            output = self._decoder.skipped
            return _remote_error(explain_failure(self._host, None, self._stderr, output=output))
        return _remote_error(explain_damage(self._host, str(error)))


def _read_some(stream: IO[bytes]) -> bytes:
    """Return the bytes that have arrived; `Popen` opens its streams with a buffer, whose `read` waits for more."""
    return stream.read1(_READ_SIZE)  # type: ignore[attr-defined]


def _remote_error(failure: SshFailure) -> RemoteError:
    return RemoteError(failure.error, transient=failure.transient)
