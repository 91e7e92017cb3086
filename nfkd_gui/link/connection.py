"""The studio's connection to its engine: state, restart, reconnection, requests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from PySide6.QtCore import QObject, Signal

from nfkd.protocol.events import ErrorInfo, Event
from nfkd.protocol.requests import EngineStatus, Request, Shutdown, Status
from nfkd.remote.ssh import reconnect_pauses
from nfkd_gui.link.engine_client import EngineClient, EngineError, OnError, OnEvent, OnLost, OnReply
from nfkd_gui.link.mailbox import Mailbox

ClientFactory = Callable[[OnEvent, OnLost], EngineClient]


@dataclass(frozen=True)
class EngineState:
    """The state of the connection.

    Attributes
    ----------
    phase
        ``waiting`` is the pause before the next try to reconnect.
    status
        The engine's description of itself, while it is ready.
    error
        Why the engine was lost; kept while the studio tries to reconnect.
    """

    phase: Literal["starting", "ready", "waiting", "lost", "closed"]
    status: EngineStatus | None = None
    error: ErrorInfo | None = None

    @property
    def connecting(self) -> bool:
        """Whether the engine is expected to be ready soon, without the user."""
        return self.phase in {"starting", "waiting"}

    @property
    def reconnecting(self) -> bool:
        """Whether a connection was cut, and the studio tries to restore it."""
        return self.phase == "waiting" or (self.phase == "starting" and self.error is not None)


class Connection(QObject):
    """Connects to an engine. A connection that is cut is restored if its client `reconnects`.

    The pauses between the tries are 1, 2, 4, … 60 s. An engine that was never reached is not tried again without the
    user.

    Parameters
    ----------
    factory
        Makes a client of the engine.
    on_event
        Called with every event of the engine.
    patience
        Seconds to wait for the status of a connected engine, which loads torch first.
    second
        Length of a second of the pauses; shorter in tests.

    Attributes
    ----------
    state
        The current state.
    """

    changed = Signal()
    """`state` changed."""
    counted = Signal(int)
    """Seconds until the next try, while the state is ``waiting``."""
    connected = Signal(object)
    """An engine is ready; carries its `EngineStatus`."""
    dropped = Signal()
    """The old connection was closed; its open requests get no reply."""
    failed = Signal(object)
    """An `ErrorInfo` to show to the user."""

    def __init__(
        self,
        factory: ClientFactory,
        on_event: OnEvent,
        parent: QObject | None = None,
        *,
        patience: float = 180.0,
        second: float = 1.0,
    ) -> None:
        super().__init__(parent)
        self._factory = factory
        self._on_event = on_event
        self._patience, self._second = patience, second
        self._client: EngineClient | None = None
        self._starting: asyncio.Future[None] | None = None
        self._mailbox = Mailbox(self._send)
        self._ending = self._reached = False
        self._number = 0  # of the present client
        self._now = asyncio.Event()
        self.state = EngineState("starting")

    @property
    def outlives_window(self) -> bool:
        """Whether an active run continues when the window closes."""
        return self._client is None or self._client.outlives_window

    @property
    def started(self) -> bool:
        """Whether `start` was called."""
        return self._starting is not None

    @property
    def remote(self) -> bool:
        """Whether the engine is on another machine."""
        return self._client is not None and self._client.remote

    @property
    def received(self) -> int:
        """Bytes received over the present connection."""
        return self._client.received if self._client is not None else 0

    def start(self) -> None:
        """Close the old connection, if any, and connect; `changed` reports the result."""
        self._begin(self._connect())

    def switch(self) -> None:
        """Connect to another engine: the next client of the factory. The old one is no longer heard from now on."""
        self._reached = False
        self._number += 1
        self._set_state(EngineState("starting"))
        self.start()

    def try_now(self) -> None:
        """End the pause before the next try."""
        self._now.set()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        if self._starting is not None:
            self._starting.cancel()
        self._starting = asyncio.ensure_future(work)

    async def _connect(self, lost: ErrorInfo | None = None) -> None:
        """Connect; after a cut (`lost` is its reason) and after each failed try, wait first."""
        pauses = reconnect_pauses()
        while True:
            if lost is not None:
                await self._wait(lost, round(next(pauses)))
            lost = await self._try(lost)
            if lost is None:
                return
            if not (self._reached and self._reconnects):
                self._report(lost)
                return

    async def _wait(self, lost: ErrorInfo, pause: int) -> None:
        self._now.clear()
        self._set_state(EngineState("waiting", error=lost))
        for left in range(pause, 0, -1):
            self.counted.emit(left)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._now.wait(), self._second)
                return

    async def _try(self, before: ErrorInfo | None) -> ErrorInfo | None:
        """Connect once; return why it failed. `before` is why the last try failed."""
        await self._disconnect()
        self._set_state(EngineState("starting", error=before))
        self._number += 1
        client = self._factory(partial(self._take, self._number), partial(self._lose, self._number))
        self._client = client
        try:
            await client.start()
            status = await asyncio.wait_for(client.request(Status()), self._patience)
        except EngineError as error:
            return error.error
        except TimeoutError:
            return _no_status(self._patience)
        if isinstance(status, EngineStatus):
            self._reached = True
            self._set_state(EngineState("ready", status))
            self.connected.emit(status)
        return None

    async def close(self) -> None:
        """Disconnect."""
        self.state = EngineState("closed")
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        await self._disconnect()

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        self._mailbox.clear()
        self.dropped.emit()
        if client is not None:
            await client.close()

    @property
    def _reconnects(self) -> bool:
        return self._client is not None and self._client.reconnects

    def _take(self, number: int, event: Event) -> None:
        if number == self._number:
            self._on_event(event)

    def _lose(self, number: int, error: ErrorInfo) -> None:
        if number != self._number or self.state.phase != "ready":
            return  # an old client, or a try that is under way and fails with the same reason
        if self._ending:
            self._ending = False
            self._set_state(EngineState("lost", error=_ENDED))
        elif self._reconnects:
            self._set_state(EngineState("waiting", error=error))  # open requests fail next
            self._begin(self._connect(error))
        else:
            self._report(error)

    def _report(self, error: ErrorInfo) -> None:
        self._set_state(EngineState("lost", error=error))
        self.failed.emit(error)

    def _set_state(self, state: EngineState) -> None:
        self.state = state
        self.changed.emit()

    def ask(self, request: Request, on_reply: OnReply, on_error: OnError, *, key: str = "") -> None:
        """Send a request; one of the two is called later. `key` is as in `Mailbox.ask`."""
        self._mailbox.ask(request, on_reply, on_error, key=key)

    def _send(self, request: Request, on_reply: OnReply, on_error: OnError) -> None:
        if self._client is None or self.state.reconnecting:  # panels ask again once it is ready
            asyncio.get_running_loop().call_soon(on_error, self.state.error or _NOT_READY)
        else:
            self._client.send(request, on_reply, on_error)

    def stop_engine(self) -> None:
        """End the engine's process."""
        self._ending = True
        self.ask(Shutdown(), lambda _reply: None, self.failed.emit)


_ENDED = ErrorInfo(
    title="The engine was stopped",
    cause="You stopped it.",
    action="The button in the status bar starts it again.",
)
_NOT_READY = ErrorInfo(
    title="The engine is not ready",
    cause="The studio is not connected to the engine yet.",
    action="Wait for the green dot in the status bar, or press the button there.",
)


def _no_status(patience: float) -> ErrorInfo:
    return ErrorInfo(
        title="The engine does not answer",
        cause=f"It started, but sent no status within {patience:g} s.",
        action="End it with `nfkd engine stop` in a terminal of its machine, then press the button in the status bar.",
    )
