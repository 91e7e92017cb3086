"""The connection to an engine behind a line that can be cut."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from PySide6.QtCore import Qt

from nfkd.protocol.events import DataProgress, ErrorInfo, Event
from nfkd.protocol.requests import Reply, Request, Status
from nfkd_gui.link.connection import Connection
from nfkd_gui.link.engine_client import EngineClient, EngineError, OnError, OnEvent, OnLost
from tests.gui.scripted_engine import Script

CUT = ErrorInfo(title="The connection to gpu was lost", cause="The network was interrupted.")
REFUSED = ErrorInfo(title="gpu refused the login", cause="It accepted none of your keys.")
Do = Callable[[Any], Any]


class Line:
    """A line to a scripted engine, which can be interrupted.

    Attributes
    ----------
    failures
        Why the next tries fail, in order; each with whether it may pass by itself.
    clients
        The clients that were made.
    """

    def __init__(self) -> None:
        self.failures: list[tuple[ErrorInfo, bool]] = []
        self.clients: list[LineClient] = []

    def make(self, on_event: OnEvent, on_lost: OnLost) -> EngineClient:
        self.clients.append(LineClient(on_event, on_lost, self))
        return self.clients[-1]


class LineClient(EngineClient):
    """A client that may be cut off."""

    outlives_window = True
    remote = True

    def __init__(self, on_event: OnEvent, on_lost: OnLost, line: Line) -> None:
        super().__init__(on_event, on_lost)
        self._line = line
        self.reconnects = True
        self._script = Script(on_event)
        self.closed = False

    async def start(self) -> None:
        if self._line.failures:
            error, self.reconnects = self._line.failures.pop(0)
            raise EngineError(error)

    def send(self, request: Request, on_reply: Callable[[Reply], None], on_error: OnError) -> None:
        asyncio.get_running_loop().call_soon(on_reply, self._script.answer(request))

    async def close(self) -> None:
        self.closed = True

    def cut(self) -> None:
        self._on_lost(CUT)

    def emit(self, event: Event) -> None:
        self._on_event(event)


class Watch:
    """A connection over a line, and what it reported."""

    def __init__(self, line: Line, second: float = 0.0) -> None:
        self.events: list[Event] = []
        self.connection = Connection(line.make, self.events.append, second=second)
        self.phases: list[str] = []
        self.pauses: list[int] = []
        self.failed: list[ErrorInfo] = []
        self._changed = asyncio.Event()
        self.connection.changed.connect(self._note)
        self.connection.counted.connect(self._count)
        self.connection.failed.connect(self.failed.append)

    def _note(self) -> None:
        self.phases.append(self.connection.state.phase)
        self._changed.set()

    def _count(self, seconds: int) -> None:
        if self.connection.state.phase == "waiting" and (not self.pauses or self.phases[-1] == "waiting"):
            self.pauses.append(seconds)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), 20)

    async def ready(self) -> None:
        await self.until(lambda: self.connection.state.phase == "ready")


def test_a_cut_connection_is_restored_after_growing_pauses(do: Do, qapp: object) -> None:
    async def scenario() -> None:
        line = Line()
        watch = Watch(line)
        watch.connection.start()
        await watch.ready()
        line.failures = [(CUT, True)] * 7
        line.clients[0].cut()
        assert watch.connection.state.phase == "waiting"
        assert watch.connection.state.error is CUT
        assert watch.connection.state.reconnecting
        await watch.ready()
        firsts = [left for before, left in zip([0, *watch.pauses], watch.pauses, strict=False) if left != before - 1]
        assert firsts == [1, 2, 4, 8, 16, 32, 60, 60]
        assert watch.failed == []
        assert len(line.clients) == 9
        await watch.connection.close()
        assert all(client.closed for client in line.clients)

    do(scenario())


def test_the_pause_can_be_ended(do: Do, qapp: object) -> None:
    async def scenario() -> None:
        line = Line()
        watch = Watch(line, second=1000.0)
        watch.connection.start()
        await watch.ready()
        line.clients[0].cut()
        await watch.until(lambda: watch.pauses == [1])
        watch.connection.try_now()
        await watch.ready()
        assert watch.phases == ["starting", "ready", "waiting", "waiting", "starting", "ready"]
        await watch.connection.close()

    do(scenario())


def test_a_refused_key_ends_the_tries(do: Do, qapp: object) -> None:
    async def scenario() -> None:
        line = Line()
        watch = Watch(line)
        watch.connection.start()
        await watch.ready()
        line.failures = [(CUT, True), (REFUSED, False)]
        line.clients[0].cut()
        await watch.until(lambda: watch.connection.state.phase == "lost")
        assert watch.failed == [REFUSED]
        assert len(line.clients) == 3
        await watch.connection.close()

    do(scenario())


def test_an_engine_that_was_never_reached_is_not_tried_again(do: Do, qapp: object) -> None:
    async def scenario() -> None:
        line = Line()
        line.failures = [(CUT, True)]
        watch = Watch(line)
        watch.connection.start()
        await watch.until(lambda: bool(watch.failed))
        assert watch.connection.state.phase == "lost"
        assert len(line.clients) == 1
        watch.connection.start()
        await watch.ready()
        await watch.connection.close()

    do(scenario())


def test_requests_fail_while_it_reconnects(do: Do, qapp: object) -> None:
    async def scenario() -> None:
        line = Line()
        watch = Watch(line, second=1000.0)
        watch.connection.start()
        await watch.ready()
        line.clients[0].cut()
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        watch.connection.ask(Status(), answer.set_result, answer.set_result)
        assert await asyncio.wait_for(answer, 20) is CUT
        again: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        ask = lambda: watch.connection.ask(Status(), again.set_result, again.set_result)  # noqa: E731
        watch.connection.changed.connect(ask, Qt.ConnectionType.SingleShotConnection)  # the next try begins
        watch.connection.try_now()
        assert await asyncio.wait_for(again, 20) is CUT
        await watch.connection.close()

    do(scenario())


def test_after_a_switch_the_old_engine_is_not_heard(do: Do, qapp: object) -> None:
    async def scenario() -> None:
        line = Line()
        watch = Watch(line)
        watch.connection.start()
        await watch.ready()
        event = DataProgress(data="mnist", file="x", done=1, total=2)
        line.clients[0].emit(event)
        watch.connection.switch()
        line.clients[0].emit(event)
        line.clients[0].cut()
        assert watch.connection.state.phase == "starting"
        await watch.ready()
        assert len(watch.events) == 1
        assert len(line.clients) == 2
        line.clients[1].emit(event)
        assert len(watch.events) == 2
        await watch.connection.close()

    do(scenario())


@pytest.mark.parametrize("reconnects", [True, False])
def test_only_some_clients_reconnect(do: Do, qapp: object, reconnects: bool) -> None:
    async def scenario() -> None:
        line = Line()
        watch = Watch(line, second=1000.0)
        watch.connection.start()
        await watch.ready()
        line.clients[0].reconnects = reconnects
        line.clients[0].cut()
        assert watch.connection.state.phase == ("waiting" if reconnects else "lost")
        assert watch.failed == ([] if reconnects else [CUT])
        await watch.connection.close()

    do(scenario())
