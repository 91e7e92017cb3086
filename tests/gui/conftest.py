"""A loop that Qt and asyncio share, an engine by script, and a studio upon it."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pytest
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from qasync import QEventLoop

from nfkd.protocol.events import Event
from nfkd.protocol.requests import Request
from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.link.engine_client import EngineClient, EngineLost, OnError, OnEvent, OnLost, OnReply, RequestRefused
from nfkd_gui.model.preferences import Preferences
from nfkd_gui.model.studio import Studio

Result = TypeVar("Result")


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"nfkd_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


scripted = _load("scripted_engine")


class ScriptedClient(EngineClient):
    """Speaks to a script in memory; replies and events come in order, on the loop."""

    name = "scripted"
    outlives_window = True

    def __init__(self, on_event: OnEvent, on_lost: OnLost, script: Any) -> None:
        super().__init__(on_event, on_lost)
        self.script = script
        self.held: list[Callable[[], None]] | None = None
        self.slow: tuple[type, ...] = ()
        self.waiting: list[tuple[Callable[[], None], OnError]] = []
        self.broken: EngineLost | None = None
        self.gone: EngineLost | None = None
        self._unanswered = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        script._tell = self._tell

    async def start(self) -> None:
        if self.broken is not None:
            raise self.broken

    def send(self, request: Request, on_reply: OnReply, on_error: OnError) -> None:
        def act() -> None:
            if self.gone is not None:
                on_error(self.gone)
                return
            try:
                reply = self.script.answer(request)
            except scripted.ScriptRefusal as refusal:
                on_error(RequestRefused(refusal.error, refusal.problems))
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
            loop = asyncio.get_event_loop_policy().get_event_loop()  # also between two turns of a test
            loop.call_soon(act_and_count)

    async def settled(self) -> None:
        """Wait until all requests are answered, also those that the answers led to, and Qt has done what followed."""
        while True:
            await self._quiet.wait()
            posted = asyncio.Event()
            QTimer.singleShot(0, posted.set)
            await posted.wait()
            if self._quiet.is_set():
                return

    def release(self) -> None:
        """Answer what was held back: everything while `held` is a list, and the requests that are `slow`."""
        held, self.held = self.held or [], None
        waiting, self.waiting = self.waiting, []
        for act in [*held, *(act for act, _ in waiting)]:
            act()

    def _tell(self, event: Event) -> None:
        self._on_event(event)

    def lose(self, error: Any) -> None:
        """Lose the engine: the loss is told first, then what was asked fails because of it."""
        self.gone = EngineLost(error)
        self._on_lost(error)
        waiting, self.waiting = self.waiting, []
        for _, on_error in waiting:
            on_error(self.gone)

    async def close(self) -> None:
        self.script._tell = lambda _event: None


@pytest.fixture
def loop(qapp: QApplication) -> Iterator[QEventLoop]:
    """The loop that Qt and asyncio share."""
    qapp.setQuitOnLastWindowClosed(False)
    loop = QEventLoop(qapp)
    asyncio.set_event_loop(loop)
    yield loop
    loop.close()
    asyncio.set_event_loop(None)


@pytest.fixture
def do(loop: QEventLoop) -> Callable[[Coroutine[Any, Any, Result]], Result]:
    """Run a coroutine to its end, with a limit of time."""
    return lambda coroutine: loop.run_until_complete(asyncio.wait_for(coroutine, 60))


@pytest.fixture
def script() -> Any:
    """The scripted engine's state, answers and events."""
    return scripted.Script(lambda _event: None)


@pytest.fixture
def until(loop: QEventLoop) -> Callable[[Any], Any]:
    """Wait for a Qt signal: ``await until(signal)``."""

    async def wait(signal: Any, seconds: float = 30.0) -> tuple[Any, ...]:
        future: asyncio.Future[tuple[Any, ...]] = loop.create_future()

        def take(*values: Any) -> None:
            if not future.done():
                future.set_result(values)

        signal.connect(take)
        try:
            return await asyncio.wait_for(future, seconds)
        finally:
            signal.disconnect(take)

    return wait


@pytest.fixture
def studio(
    do: Callable[[Coroutine[Any, Any, Any]], Any], script: Any, tmp_path: Path, until: Callable[[Any], Any]
) -> Iterator[Studio]:
    """A studio whose engine is the script; `studio.clients` holds every client that it made."""
    clients: list[ScriptedClient] = []

    def make(on_event: OnEvent, on_lost: OnLost) -> EngineClient:
        clients.append(ScriptedClient(on_event, on_lost, script))
        return clients[-1]

    studio = Studio(Preferences(runs_folder="/runs", theme="light"), tmp_path / "studio.json", make)
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


@pytest.fixture
def form(ready: Studio, qtbot: QtBot) -> Iterator[ExperimentForm]:
    """The form with the digits experiment, in a window."""
    ready.experiment.open("digits")
    form = ExperimentForm(ready.experiment)
    qtbot.addWidget(form)
    form.show()
    qtbot.waitExposed(form)
    yield form
    ready.experiment.stop()


@pytest.fixture
def engine_module() -> ModuleType:
    """The module of the scripted engine."""
    return scripted
