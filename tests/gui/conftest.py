"""A loop shared by Qt and asyncio, and a studio with a scripted engine."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
from qasync import QEventLoop

from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import Request
from nfkd_gui.link.engine_client import EngineClient, OnError, OnEvent, OnLost, OnReply
from nfkd_gui.model.preferences import Preferences
from nfkd_gui.model.studio import Studio
from nfkd_gui.theme import apply_theme, is_dark, scaled
from tests.gui import scripted_engine

Result = TypeVar("Result")


@pytest.fixture(autouse=True)
def older_objects_are_frozen() -> None:
    """Let the garbage collector, and the search for leftover Qt objects, look only at what the test itself makes.

    `nothing_left_behind` has collected the objects of the test before.
    """
    gc.freeze()


@pytest.fixture(autouse=True)
def light_theme_without_shapes() -> None:
    """Take away the theme of an earlier test: its colours, its scale, and the style sheet, which is slow to apply."""
    app = QApplication.instance()
    if isinstance(app, QApplication) and (app.styleSheet() or is_dark() or scaled(100) != 100):
        apply_theme(app, "light", shapes=False)


class ScriptedClient(EngineClient):
    """Talks to a script in memory; replies and events come in order, on the loop."""

    outlives_window = True

    def __init__(self, on_event: OnEvent, on_lost: OnLost, script: Any) -> None:
        super().__init__(on_event, on_lost)
        self.script = script
        self.held: list[Callable[[], None]] | None = None
        self.slow: tuple[type, ...] = ()
        self.waiting: list[tuple[Callable[[], None], OnError]] = []
        self.lost: ErrorInfo | None = None
        self._unanswered = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        script._on_event = on_event

    async def start(self) -> None:
        """Connect; the script is always there."""

    def send(self, request: Request, on_reply: OnReply, on_error: OnError) -> None:
        def act() -> None:
            if self.lost is not None:
                on_error(self.lost)
                return
            try:
                reply = self.script.answer(request)
            except scripted_engine.ScriptRefusal as refusal:
                on_error(refusal.error)
            else:
                on_reply(reply)

        def act_and_count() -> None:
            try:
                act()
            finally:
                self._unanswered -= 1
                if not self._unanswered:
                    self._quiet.set()

        if self.held is not None:
            self.held.append(act)
        elif isinstance(request, self.slow):
            self.waiting.append((act, on_error))
        else:
            self._unanswered += 1
            self._quiet.clear()
            loop = asyncio.get_event_loop_policy().get_event_loop()  # it need not be running
            loop.call_soon(act_and_count)

    async def settled(self) -> None:
        """Wait until all requests are answered, also those that replies led to, and Qt has no events left."""
        while True:
            await self._quiet.wait()
            posted = asyncio.Event()
            QTimer.singleShot(0, posted.set)
            await posted.wait()
            if self._quiet.is_set():
                return

    def release(self) -> None:
        """Answer all requests in `held` and those of the types in `slow`."""
        held, self.held = self.held or [], None
        waiting, self.waiting = self.waiting, []
        for act in [*held, *(act for act, _ in waiting)]:
            act()

    def lose(self, error: ErrorInfo) -> None:
        """Lose the engine: report the loss first, then fail the open requests."""
        self.lost = error
        self._on_lost(error)
        waiting, self.waiting = self.waiting, []
        for _, on_error in waiting:
            on_error(error)

    async def close(self) -> None:
        self.script._on_event = lambda _event: None


@pytest.fixture
def loop(qapp: QApplication) -> Iterator[QEventLoop]:
    """A loop shared by Qt and asyncio."""
    qapp.setQuitOnLastWindowClosed(False)
    loop = QEventLoop(qapp)
    asyncio.set_event_loop(loop)
    yield loop
    loop.close()
    asyncio.set_event_loop(None)


@pytest.fixture
def do(loop: QEventLoop) -> Callable[[Coroutine[Any, Any, Result]], Result]:
    """Run a coroutine to its end, with a time limit."""
    return lambda coroutine: loop.run_until_complete(asyncio.wait_for(coroutine, 60))


@pytest.fixture
def script() -> Any:
    """The scripted engine: its state, replies and events."""
    return scripted_engine.Script(lambda _event: None)


@pytest.fixture
def until(loop: QEventLoop) -> Callable[[Any], Any]:
    """Wait for a Qt signal: ``await until(signal)``."""

    async def wait(signal: Any, seconds: float = 30.0) -> tuple[Any, ...]:
        future: asyncio.Future[tuple[Any, ...]] = loop.create_future()

        def received(*values: Any) -> None:
            if not future.done():
                future.set_result(values)

        signal.connect(received)
        try:
            return await asyncio.wait_for(future, seconds)
        finally:
            signal.disconnect(received)

    return wait


@pytest.fixture
def studio(
    do: Callable[[Coroutine[Any, Any, Any]], Any], script: Any, tmp_path: Path, until: Callable[[Any], Any]
) -> Iterator[Studio]:
    """A studio whose engine is the script; `studio.clients` lists the clients that it made."""
    clients: list[ScriptedClient] = []

    def make(on_event: OnEvent, on_lost: OnLost) -> EngineClient:
        clients.append(ScriptedClient(on_event, on_lost, script))
        return clients[-1]

    preferences = Preferences(runs_folder="/runs", theme="light", told=["closing"])
    studio = Studio(preferences, tmp_path / "studio.json", make)
    studio.clients = clients  # type: ignore[attr-defined]
    yield studio
    do(studio.close())
    studio.deleteLater()


@pytest.fixture
def ready(do: Callable[[Coroutine[Any, Any, Any]], Any], studio: Studio, until: Callable[[Any], Any]) -> Studio:
    """The studio with its engine connected and the runs listed."""

    async def start() -> None:
        studio.start()
        await until(studio.rows_changed)

    do(start())
    return studio
