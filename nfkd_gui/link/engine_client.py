"""The interface of a connection to an engine, and the error of a request without a reply."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from nfkd.protocol.events import ErrorInfo, Event
from nfkd.protocol.requests import Reply, Request


class EngineError(Exception):
    """The engine refused a request, was lost before it replied, or could not be started; `error` says why."""

    def __init__(self, error: ErrorInfo) -> None:
        self.error = error
        super().__init__(f"{error.title}: {error.cause}")


OnEvent = Callable[[Event], None]
OnLost = Callable[[ErrorInfo], None]
OnReply = Callable[[Reply], None]
OnError = Callable[[ErrorInfo], None]


class EngineClient(ABC):
    """A connection to an engine. Lives on one asyncio loop and calls back only there.

    Parameters
    ----------
    on_event
        Called with every event, in order. Replies come in the same sequence: the events after the reply to `OpenRun`
        are exactly those that its snapshot lacks.
    on_lost
        Called once when the connection ends without `close`.
    """

    outlives_window: ClassVar[bool]
    """Whether an active run continues after `close`."""
    remote: ClassVar[bool] = False
    """Whether the engine is on another machine."""
    reconnects = False
    """Whether a lost connection is worth another try without the user: the engine may still train behind it."""
    connected = True
    """Whether the connection has not ended: an error of a request is then a refusal."""
    received = 0
    """Bytes received so far; 0 where nothing is sent over a line."""

    def __init__(self, on_event: OnEvent, on_lost: OnLost) -> None:
        self._on_event = on_event
        self._on_lost = on_lost

    @abstractmethod
    async def start(self) -> None:
        """Connect; start the engine if none runs.

        Raises
        ------
        EngineError
            When no engine can be reached or started.
        """

    @abstractmethod
    def send(self, request: Request, on_reply: OnReply, on_error: OnError) -> None:
        """Send a request; exactly one of the two is called later, unless the client is closed first."""

    @abstractmethod
    async def close(self) -> None:
        """Disconnect; no callback is called afterwards."""

    async def request(self, request: Request) -> Reply:
        """Send a request and wait for its reply.

        Raises
        ------
        EngineError
            When the engine refuses the request or is lost before it answers.
        """
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def on_reply(reply: Reply) -> None:
            if not future.done():
                future.set_result(reply)

        def on_error(error: ErrorInfo) -> None:
            if not future.done():
                future.set_exception(EngineError(error))

        self.send(request, on_reply, on_error)
        return await future


def call_back(callback: Callable[..., None], *args: Any) -> None:
    """Call a listener; report its exception, so that it cannot end the connection."""
    try:
        callback(*args)
    except Exception as error:  # noqa: BLE001 - no listener may stop the stream
        asyncio.get_running_loop().call_exception_handler({"message": "a listener failed", "exception": error})


def not_started(cause: str, output: Iterable[str] = ()) -> ErrorInfo:
    """Return the error of an engine that could not be started; `output` are the last lines of its stderr."""
    return ErrorInfo(
        title="The engine could not be started",
        cause=cause,
        action="Try again. If it fails again, run `python -m nfkd.engine serve` in a terminal to see more.",
        traceback="\n".join(output),
    )


def engine_lost(cause: str, output: Iterable[str] = ()) -> ErrorInfo:
    """Return the error of an engine that ended; `output` are the last lines of its stderr."""
    action = "Restart the engine. Runs that it was training can be resumed from their last checkpoint."
    return ErrorInfo(title="The engine has stopped", cause=cause, action=action, traceback="\n".join(output))
