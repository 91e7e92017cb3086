"""How the studio speaks to the engine: one interface, over a relay process or in this process."""

from __future__ import annotations

import asyncio
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

from nfkd import __version__
from nfkd.protocol.codec import PROTOCOL, from_engine, to_wire
from nfkd.protocol.events import ErrorInfo, Event
from nfkd.protocol.frames import FrameDecoder, FrameError
from nfkd.protocol.requests import (
    Answer,
    Call,
    ConfigProblem,
    FromEngine,
    Hello,
    Notice,
    Refusal,
    Reply,
    Request,
)
from nfkd_gui.gc_policy import LoopCollector

if TYPE_CHECKING:
    from types import ModuleType

OnEvent = Callable[[Event], None]
OnLost = Callable[[ErrorInfo], None]
OnReply = Callable[[Reply], None]

_READ_SIZE = 1 << 20
_STDERR_LINES = 40
_RESTART = "Restart the engine. Runs that it was training can be resumed from their last checkpoint."


class EngineError(Exception):
    """A request that got no reply; `error` says why, in a person's words."""

    def __init__(self, error: ErrorInfo) -> None:
        self.error = error
        super().__init__(f"{error.title}: {error.cause}")


class RequestRefused(EngineError):  # noqa: N818 - what happened, as the engine says it
    """The engine lives and refused the request; `problems` says where, when it was the experiment's problem."""

    def __init__(self, error: ErrorInfo, problems: Sequence[ConfigProblem] = ()) -> None:
        self.problems = list(problems)
        super().__init__(error)


class EngineLost(EngineError):  # noqa: N818 - as above
    """There is no engine (any more)."""


OnError = Callable[[EngineError], None]


class EngineClient(ABC):
    """A connection to an engine. Lives on one asyncio loop and calls back on it only.

    Parameters
    ----------
    on_event
        Called with every event, in order. A reply's callback is called in the same order: what `OpenRun` answers
        is followed by exactly the events that continue it.
    on_lost
        Called once when the engine is lost without `close`.
    """

    name: ClassVar[str]
    """The client's name in Preferences."""
    outlives_window: ClassVar[bool]
    """Whether an active run goes on after `close`."""

    def __init__(self, on_event: OnEvent, on_lost: OnLost) -> None:
        self._on_event = on_event
        self._on_lost = on_lost

    @abstractmethod
    async def start(self) -> None:
        """Connect, starting the engine where there is none.

        Raises
        ------
        EngineLost
            When there is no engine to be had, with the cause.
        """

    @abstractmethod
    def send(self, request: Request, on_reply: OnReply, on_error: OnError) -> None:
        """Ask; exactly one of the two is called later, unless the client is closed first."""

    @abstractmethod
    async def close(self) -> None:
        """Disconnect, in order; nothing is called back afterwards."""

    async def request(self, request: Request) -> Reply:
        """Ask and wait.

        Raises
        ------
        RequestRefused
            When the engine refuses.
        EngineLost
            When the engine is lost before it answers.
        """
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def answered(reply: Reply) -> None:
            if not future.done():
                future.set_result(reply)

        def failed(error: EngineError) -> None:
            if not future.done():
                future.set_exception(error)

        self.send(request, answered, failed)
        return await future


def _call_back(callback: Callable[..., None], *args: Any) -> None:
    """Call a listener; its failure is reported and never ends the connection."""
    try:
        callback(*args)
    except Exception as error:  # noqa: BLE001 - whatever a listener does, the stream must go on
        asyncio.get_running_loop().call_exception_handler({"message": "a listener failed", "exception": error})


class RelayClient(EngineClient):
    """Speaks to the stdin and stdout of ``python -m nfkd.engine connect``, which finds or starts the engine.

    Parameters
    ----------
    on_event, on_lost
        As in `EngineClient`.
    command
        The relay's command line.
    patience
        Seconds that the engine may take to greet.
    """

    name = "relay"
    outlives_window = True

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
        self._lost: ErrorInfo | None = None
        self._parting = ""
        self._closing = False

    async def start(self) -> None:
        try:
            # A session of its own: Ctrl-C in the studio's terminal must not cut the connection before an orderly end.
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=_READ_SIZE,
                start_new_session=True,
            )
        except OSError as error:
            raise EngineLost(_no_engine(str(error))) from error
        self._greeted = asyncio.get_running_loop().create_future()
        self._tasks = [
            asyncio.create_task(self._read_stderr(self._process)),
            asyncio.create_task(self._read(self._process)),
        ]
        self._write(Hello(protocol=PROTOCOL, version=__version__))
        try:
            await asyncio.wait_for(self._greeted, self._patience)
        except asyncio.TimeoutError as error:  # noqa: UP041 - on 3.10 and before they differ, and pyright follows
            await self.close()
            raise EngineLost(_no_engine(f"it said nothing for {self._patience:.0f} seconds", self._stderr)) from error

    def send(self, request: Request, on_reply: OnReply, on_error: OnError) -> None:
        if self._lost is not None or self._process is None:
            error = EngineLost(self._lost or _no_engine("it has not been started"))
            asyncio.get_running_loop().call_soon(_call_back, on_error, error)
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
        """End the relay: by the end of its input, then by a signal, then by force."""
        if process.stdin is not None:
            process.stdin.close()
        for escalate in (process.terminate, process.kill, None):
            try:
                await asyncio.wait_for(process.wait(), 2.0)
            except asyncio.TimeoutError:  # noqa: UP041 - as above
                if escalate is not None and process.returncode is None:
                    escalate()
            else:
                return

    def _write(self, message: Hello | Call) -> None:
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
        decoder = FrameDecoder()
        cause = ""
        try:
            while process.stdout is not None and (data := await process.stdout.read(_READ_SIZE)):
                for body in decoder.feed(data):
                    self._take(from_engine(body))
                await asyncio.sleep(0)  # reading what is buffered does not yield: the window must have its turn
        except FrameError as error:
            cause = str(error)
        if not self._closing:
            await self._lose(process, cause)

    async def _lose(self, process: asyncio.subprocess.Process, cause: str) -> None:
        """Report the loss, with what the relay said last."""
        if cause and process.returncode is None:
            process.kill()
        code = await process.wait()
        await asyncio.wait([self._tasks[0]], timeout=1.0)
        if self._closing:
            return
        said = self._stderr[-1] if self._stderr else ""
        cause = cause or self._parting or said or f"its process ended with code {code} and said nothing"
        self._lost = _gone(cause, self._stderr)
        self._fail(EngineLost(self._lost))

    def _fail(self, error: EngineLost) -> None:
        # The loss comes first: the studio then knows that what fails after it fails because of it.
        if self._greeted is not None and not self._greeted.done():
            self._greeted.set_exception(EngineLost(_no_engine(error.error.cause, self._stderr)))
        else:
            _call_back(self._on_lost, error.error)
        calls, self._calls = self._calls, {}
        for _on_reply, on_error in calls.values():
            _call_back(on_error, error)

    def _take(self, message: FromEngine) -> None:
        match message:
            case Hello():
                self._take_greeting(message)
            case Answer():
                on_reply, _ = self._calls.pop(message.id, (None, None))
                if on_reply is not None:
                    _call_back(on_reply, message.reply)
            case Refusal(id=0):  # of no call: the engine says why it ends the connection
                self._parting = f"{message.error.title}: {message.error.cause}"
            case Refusal():
                _, on_error = self._calls.pop(message.id, (None, None))
                if on_error is not None:
                    _call_back(on_error, RequestRefused(message.error, message.problems))
            case Notice():
                _call_back(self._on_event, message.event)

    def _take_greeting(self, hello: Hello) -> None:
        if hello.protocol != PROTOCOL:
            cause = (
                f"the engine is NFKD {hello.version} and speaks protocol {hello.protocol}; "
                f"this studio is NFKD {__version__} and speaks protocol {PROTOCOL}"
            )
            raise FrameError(cause)
        if self._greeted is not None and not self._greeted.done():
            self._greeted.set_result(None)


class InProcessClient(EngineClient):
    """The engine inside the studio's own process: for tests, debugging and machines that allow no second process."""

    name = "in_process"
    outlives_window = False

    def __init__(self, on_event: OnEvent, on_lost: OnLost) -> None:
        super().__init__(on_event, on_lost)
        self._engine: Any = None
        self._unsubscribe: Callable[[], None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._refused: type[Exception] = Exception
        self._collector = LoopCollector()

    async def start(self) -> None:
        self._collector.start()
        try:
            with ThreadPoolExecutor(1) as thread:  # importing torch takes seconds, and the window must stay alive
                core = await asyncio.wrap_future(thread.submit(_engine_core))
            self._engine = core.Engine()
        except (ImportError, OSError, RuntimeError) as error:
            raise EngineLost(_no_engine(str(error))) from error
        self._refused = core.Refused
        self._unsubscribe = self._engine.subscribe(lambda event: _call_back(self._on_event, event))

    def send(self, request: Request, on_reply: OnReply, on_error: OnError) -> None:
        if self._engine is None:
            error = EngineLost(_no_engine("it has not been started"))
            asyncio.get_running_loop().call_soon(_call_back, on_error, error)
            return
        task = asyncio.create_task(self._answer(request, on_reply, on_error))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: Request, on_reply: OnReply, on_error: OnError) -> None:
        try:
            reply = await self._engine.answer(request)
        except self._refused as refused:
            _call_back(on_error, RequestRefused(refused.error, refused.problems))  # type: ignore[attr-defined]
        except Exception as error:  # noqa: BLE001 - as a crash would be, it is told and not thrown
            _call_back(on_error, EngineLost(_gone(f"{type(error).__name__}: {error}", ())))
        else:
            _call_back(on_reply, reply)

    async def close(self) -> None:
        unsubscribe, self._unsubscribe = self._unsubscribe, None
        if unsubscribe is not None:
            unsubscribe()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.close()
        self._collector.stop()


CLIENTS: dict[str, Callable[[OnEvent, OnLost], EngineClient]] = {
    RelayClient.name: RelayClient,
    InProcessClient.name: InProcessClient,
}
"""By the name that Preferences keeps."""


def _engine_core() -> ModuleType:
    import nfkd.engine.core  # the one line that may reach the engine; it loads torch

    return nfkd.engine.core


def _no_engine(cause: str, said: Sequence[str] | deque[str] = ()) -> ErrorInfo:
    return ErrorInfo(
        title="The engine could not be started",
        cause=cause,
        action="Try again; when it stays so, `python -m nfkd.engine serve` in a terminal shows more.",
        traceback="\n".join(said),
    )


def _gone(cause: str, said: Sequence[str] | deque[str]) -> ErrorInfo:
    return ErrorInfo(title="The engine has gone", cause=cause, action=_RESTART, traceback="\n".join(said))
