"""A loop shared by Qt and asyncio, and real windows with a real engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget
from qasync import QEventLoop

from nfkd.protocol.requests import Shutdown
from nfkd_gui.app import make_window
from nfkd_gui.window.main_window import MainWindow
from tests.engine_process import running_engine

LIMIT = 150


@pytest.fixture
def do(qapp: QApplication) -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Run a coroutine to its end, with a time limit."""
    qapp.setQuitOnLastWindowClosed(False)
    loop = QEventLoop(qapp)
    asyncio.set_event_loop(loop)
    yield lambda coroutine: loop.run_until_complete(asyncio.wait_for(coroutine, LIMIT))
    loop.close()
    asyncio.set_event_loop(None)


class User:
    """Opens and closes windows, clicks, and waits for signals."""

    def __init__(self, app: QApplication, runs: Path) -> None:
        self._app = app
        self._runs = runs
        self._windows: list[MainWindow] = []

    async def open(self, target: Path | str = "") -> MainWindow:
        """Open a window as `nfkd-gui TARGET` does, and wait until its experiment can run."""
        window = make_window(self._app, str(target), str(self._runs))
        self._windows.append(window)
        window.show()
        window.studio.start()
        experiment = window.studio.experiment
        await self.until(experiment.checked, lambda: experiment.may_run)
        return window

    async def close(self, window: MainWindow) -> None:
        """Close a window."""
        self._windows.remove(window)
        window.studio.experiment.dirty = False
        window.studio.prefer(told=["closing"])
        window.close()
        await window.studio.close()
        window.deleteLater()

    async def quit(self) -> None:
        """Close all windows."""
        for window in list(self._windows):
            await self.close(window)

    def click(self, window: QWidget, name: str) -> None:
        """Click a button."""
        button = window.findChild(QWidget, name)
        assert isinstance(button, QWidget), name
        assert button.isVisible(), name
        assert button.isEnabled(), name
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)

    async def until(self, signal: Any, condition: Callable[..., Any]) -> None:
        """Wait for a signal whose values fulfil a condition."""
        await self.until_any([signal], condition)

    async def reach(self, signal: Any, condition: Callable[[], Any]) -> None:
        """Wait until a condition is true that a signal may change."""
        await self.reach_by([signal], condition)

    async def reach_by(self, signals: list[Any], condition: Callable[[], Any]) -> None:
        """Wait until a condition is true that any of some signals may change."""
        if not condition():
            await self.until_any(signals, lambda *_values: condition())

    async def until_any(self, signals: list[Any], condition: Callable[..., Any]) -> None:
        """Wait for one of some signals whose values fulfil a condition."""
        found = asyncio.Event()

        def check(*values: Any) -> None:
            if condition(*values):
                found.set()

        for signal in signals:
            signal.connect(check)
        await found.wait()
        for signal in signals:
            signal.disconnect(check)

    async def end_engine(self, window: MainWindow) -> None:
        """End the engine of a window."""
        over = asyncio.Event()
        window.studio.ask(Shutdown(), lambda _reply: over.set(), lambda _error: over.set())
        await over.wait()


@pytest.fixture(scope="module")
def engine() -> Iterator[None]:
    """An engine process for all tests of a file."""
    with running_engine():
        yield


@pytest.fixture
def user(engine: None, qapp: QApplication, do: Callable[[Any], Any], tmp_path: Path) -> Iterator[User]:
    """A user of this display; all windows are closed after the test."""
    user = User(qapp, tmp_path / "runs")
    yield user
    do(user.quit())
