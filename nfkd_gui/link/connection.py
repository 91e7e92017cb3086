"""The studio's connection to its engine: state, restart, requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QObject, Signal

from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import EngineStatus, Request, Shutdown, Status
from nfkd_gui.link.engine_client import EngineClient, EngineError, OnError, OnEvent, OnLost, OnReply
from nfkd_gui.link.mailbox import Mailbox

ClientFactory = Callable[[OnEvent, OnLost], EngineClient]


@dataclass(frozen=True)
class EngineState:
    """The state of the connection.

    Attributes
    ----------
    status
        The engine's description of itself, while it is ready.
    error
        Why the engine was lost.
    """

    phase: Literal["starting", "ready", "lost", "closed"]
    status: EngineStatus | None = None
    error: ErrorInfo | None = None


class Connection(QObject):
    """Connects to an engine, and reconnects on request.

    Parameters
    ----------
    factory
        Makes a client of the engine.
    on_event
        Called with every event of the engine.
    patience
        Seconds to wait for the status of a connected engine, which loads torch first.

    Attributes
    ----------
    state
        The current state.
    """

    changed = Signal()
    """`state` changed."""
    connected = Signal(object)
    """An engine is ready; carries its `EngineStatus`."""
    dropped = Signal()
    """The old connection was closed; its open requests get no reply."""
    failed = Signal(object)
    """An `ErrorInfo` to show to the user."""

    def __init__(
        self, factory: ClientFactory, on_event: OnEvent, parent: QObject | None = None, *, patience: float = 180.0
    ) -> None:
        super().__init__(parent)
        self._factory = factory
        self._on_event = on_event
        self._patience = patience
        self._client: EngineClient | None = None
        self._starting: asyncio.Future[None] | None = None
        self._mailbox = Mailbox(self._send)
        self._ending = False
        self.state = EngineState("starting")

    @property
    def outlives_window(self) -> bool:
        """Whether an active run continues when the window closes."""
        return self._client is None or self._client.outlives_window

    def start(self) -> None:
        """Close the old connection, if any, and connect; `changed` reports the result."""
        if self._starting is not None:
            self._starting.cancel()
        self._starting = asyncio.ensure_future(self._start())

    async def _start(self) -> None:
        await self._disconnect()
        self._set_state(EngineState("starting"))
        client = self._client = self._factory(self._on_event, self._lost)
        try:
            await client.start()
            status = await asyncio.wait_for(client.request(Status()), self._patience)
        except EngineError as error:
            self._lost(error.error)
            return
        except TimeoutError:
            self._lost(_no_status(self._patience))
            return
        if isinstance(status, EngineStatus):
            self._set_state(EngineState("ready", status))
            self.connected.emit(status)

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

    def _lost(self, error: ErrorInfo) -> None:
        if self._ending:
            self._ending = False
            self._set_state(EngineState("lost", error=_ENDED))
            return
        self._set_state(EngineState("lost", error=error))
        self.failed.emit(error)

    def _set_state(self, state: EngineState) -> None:
        self.state = state
        self.changed.emit()

    def ask(self, request: Request, on_reply: OnReply, on_error: OnError, *, key: str = "") -> None:
        """Send a request; one of the two is called later. `key` is as in `Mailbox.ask`."""
        self._mailbox.ask(request, on_reply, on_error, key=key)

    def _send(self, request: Request, on_reply: OnReply, on_error: OnError) -> None:
        if self._client is None:
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
    action="Press Restart engine in the status bar to start it again.",
)
_NOT_READY = ErrorInfo(
    title="The engine is not ready",
    cause="The studio is not connected to the engine yet.",
    action="Wait for the green dot in the status bar, or press Restart engine.",
)


def _no_status(patience: float) -> ErrorInfo:
    return ErrorInfo(
        title="The engine does not answer",
        cause=f"It started, but sent no status within {patience:g} s.",
        action="End it with `nfkd engine stop` in a terminal, then press Restart engine in the status bar.",
    )
