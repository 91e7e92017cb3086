"""The connection to an engine in its own process, through a relay process."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Sequence

from nfkd import __version__
from nfkd.protocol.codec import PROTOCOL, from_engine, to_wire
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.frames import FrameDecoder, FrameError
from nfkd.protocol.requests import Answer, Call, FromClient, FromEngine, Hello, Notice, Refusal, Request
from nfkd_gui.link.engine_client import (
    EngineClient,
    EngineError,
    OnError,
    OnEvent,
    OnLost,
    OnReply,
    call_back,
    engine_lost,
    not_started,
)

_READ_SIZE = 1 << 20
_STDERR_LINES = 40


class RelayClient(EngineClient):
    """Speaks to the stdin and stdout of ``python -m nfkd.engine connect``, which finds or starts the engine.

    Parameters
    ----------
    on_event, on_lost
        As in `EngineClient`.
    command
        The relay's command line.
    patience
        Seconds to wait for the engine's greeting.
    """

    outlives_window = True
    preamble = 0
    """Bytes before the greeting that are skipped."""

    def __init__(
        self,
        on_event: OnEvent,
        on_lost: OnLost,
        command: Sequence[str] = (sys.executable, "-m", "nfkd.engine", "connect"),
        patience: float = 90.0,
    ) -> None:
        super().__init__(on_event, on_lost)
        self._command = list(command)
        self._patience = patience
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        self._calls: dict[int, tuple[OnReply, OnError]] = {}
        self._last_id = 0
        self._greeted: asyncio.Future[None] | None = None
        self._decoder = FrameDecoder(preamble=self.preamble)
        self._lost: ErrorInfo | None = None
        self._farewell = ""
        self._closing = False

    async def start(self) -> None:
        try:
            # Its own session: Ctrl-C in the studio's terminal must not end the relay before `close`.
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=_READ_SIZE,
                start_new_session=True,
            )
        except OSError as error:
            raise EngineError(self._explain_start(error)) from error
        self._greeted = asyncio.get_running_loop().create_future()
        self._tasks = [
            asyncio.create_task(self._read_stderr(self._process)),
            asyncio.create_task(self._read(self._process)),
        ]
        self._write(Hello(protocol=PROTOCOL, version=__version__))
        try:
            await asyncio.wait_for(self._greeted, self._patience)
        except TimeoutError as error:
            await self.close()
            raise EngineError(self._explain_silence()) from error

    # --- why it failed --------------------------------------------------------------------------------------------

    @property
    def _has_greeted(self) -> bool:
        return self._greeted is not None and self._greeted.done()

    def _explain_start(self, error: OSError) -> ErrorInfo:
        """Return why the relay's process could not be started."""
        return not_started(str(error))

    def _explain_silence(self) -> ErrorInfo:
        """Return the error of an engine that sends no greeting."""
        return not_started(f"it did not answer within {self._patience:g} s", self._stderr)

    def _explain_loss(self, cause: str, code: int) -> ErrorInfo:
        """Return why the relay ended: `cause` if that is known, else its exit code and its last line tell."""
        last_line = self._stderr[-1] if self._stderr else f"its process ended with code {code} and no message"
        cause = cause or last_line
        return engine_lost(cause, self._stderr) if self._has_greeted else not_started(cause, self._stderr)

    def _explain_version(self, hello: Hello) -> str:
        """Return the message about an engine with another protocol."""
        return (
            f"the engine is NFKD {hello.version} and speaks protocol {hello.protocol}; "
            f"this studio is NFKD {__version__} and speaks protocol {PROTOCOL}"
        )

    # --- messages -------------------------------------------------------------------------------------------------

    def send(self, request: Request, on_reply: OnReply, on_error: OnError) -> None:
        if self._lost is not None or self._process is None:
            error = self._lost or not_started("it has not been started")
            asyncio.get_running_loop().call_soon(call_back, on_error, error)
            return
        self._last_id += 1
        self._calls[self._last_id] = on_reply, on_error
        self._write(Call(id=self._last_id, request=request))

    async def close(self) -> None:
        self._closing = True
        self._calls.clear()
        if self._process is not None:
            await self._end_process(self._process)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _end_process(self, process: asyncio.subprocess.Process) -> None:
        """End the relay: close its input, then terminate it, then kill it."""
        if process.stdin is not None:
            process.stdin.close()
        for escalate in (process.terminate, process.kill, None):
            try:
                await asyncio.wait_for(process.wait(), 2.0)
            except TimeoutError:
                if escalate is not None and process.returncode is None:
                    escalate()
            else:
                return

    def _write(self, message: FromClient) -> None:
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(to_wire(message))

    async def _read_stderr(self, process: asyncio.subprocess.Process) -> None:
        rest = ""
        while process.stderr is not None and (data := await process.stderr.read(1 << 14)):
            *lines, rest = (rest + data.decode("utf-8", "replace")).split("\n")
            self._stderr.extend(line.rstrip() for line in lines if line.strip())
            rest = rest[-4096:]
        if rest.strip():
            self._stderr.append(rest.strip())

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        cause = ""
        try:
            while process.stdout is not None and (data := await process.stdout.read(_READ_SIZE)):
                for body in self._decoder.feed(data):
                    self._receive(from_engine(body))
                self._count(len(data))
                await asyncio.sleep(0)  # a read of buffered data does not yield, and would block the window
        except FrameError as error:
            cause = str(error)
        if not self._closing:
            await self._lose(process, cause)

    async def _lose(self, process: asyncio.subprocess.Process, cause: str) -> None:
        """Report the loss, with the relay's last line of stderr."""
        if cause and process.returncode is None:
            process.kill()
        code = await process.wait()
        await asyncio.wait([self._tasks[0]], timeout=1.0)
        if self._closing:
            return
        self.connected = False
        self._lost = self._explain_loss(cause or self._farewell, code)
        # Report the loss first: the studio then knows why the requests fail.
        if self._greeted is not None and not self._greeted.done():
            self._greeted.set_exception(EngineError(self._lost))
        else:
            call_back(self._on_lost, self._lost)
        calls, self._calls = self._calls, {}
        for _on_reply, on_error in calls.values():
            call_back(on_error, self._lost)

    def _count(self, size: int) -> None:
        """Count bytes of the engine's stream that were read."""
        self.received += size

    def _receive(self, message: FromEngine) -> None:
        match message:
            case Hello():
                self._receive_greeting(message)
            case Answer():
                on_reply, _ = self._calls.pop(message.id, (None, None))
                if on_reply is not None:
                    call_back(on_reply, message.reply)
            case Refusal(id=0):  # belongs to no request: the reason why the engine ends the connection
                self._farewell = f"{message.error.title}: {message.error.cause}"
            case Refusal():
                _, on_error = self._calls.pop(message.id, (None, None))
                if on_error is not None:
                    call_back(on_error, message.error)
            case Notice():
                call_back(self._on_event, message.event)

    def _receive_greeting(self, hello: Hello) -> None:
        if hello.protocol != PROTOCOL:
            cause = self._explain_version(hello)
            raise FrameError(cause)
        if self._greeted is not None and not self._greeted.done():
            self._greeted.set_result(None)
