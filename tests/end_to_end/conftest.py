"""A loop that Qt and asyncio share, and real windows with a real engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget
from qasync import QEventLoop

from nfkd.protocol.requests import Shutdown
from nfkd_gui.app import make_window
from nfkd_gui.window.main_window import MainWindow

LIMIT = 150


@pytest.fixture
def do(qapp: QApplication) -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Run a coroutine to its end, with a limit of time."""
    qapp.setQuitOnLastWindowClosed(False)
    loop = QEventLoop(qapp)
    asyncio.set_event_loop(loop)
    yield lambda coroutine: loop.run_until_complete(asyncio.wait_for(coroutine, LIMIT))
    loop.close()
    asyncio.set_event_loop(None)


class Hand:
    """A hand on the mouse, and eyes that wait for signals."""

    def __init__(self, app: QApplication, runs: Path) -> None:
        self._app = app
        self._runs = runs
        self._windows: list[MainWindow] = []

    async def open(self, target: Path | str = "") -> MainWindow:
        """Open a window as `nfkd-gui TARGET` does, and wait until its experiment may run."""
        window = make_window(self._app, str(target), str(self._runs))
        self._windows.append(window)
        window.show()
        window.studio.start()
        experiment = window.studio.experiment
        await self.until(experiment.checked, lambda: experiment.may_run)
        return window

    async def close(self, window: MainWindow) -> None:
        """Close a window as its user does."""
        self._windows.remove(window)
        window.studio.experiment.dirty = False
        window.close()
        await window.studio.close()
        window.deleteLater()

    async def leave(self) -> None:
        """End the engine and close what is open."""
        for window in list(self._windows):
            over = asyncio.Event()
            status = window.studio.engine.status
            window.studio.ask(Shutdown(), lambda _reply, over=over: over.set(), lambda _error, over=over: over.set())
            await over.wait()
            await self.close(window)
            with suppress(psutil.Error):  # it may have gone already
                psutil.wait_procs([psutil.Process(status.pid)] if status is not None else [], timeout=LIMIT)

    def click(self, window: QWidget, name: str) -> None:
        """Press a button."""
        button = window.findChild(QWidget, name)
        assert isinstance(button, QWidget), name
        assert button.isVisible(), name
        assert button.isEnabled(), name
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)

    async def until(self, signal: Any, true: Callable[..., Any]) -> None:
        """Wait for a signal whose values make `true` true."""
        found = asyncio.Event()

        def look(*values: Any) -> None:
            if true(*values):
                found.set()

        signal.connect(look)
        await found.wait()
        signal.disconnect(look)


@pytest.fixture
def hand(qapp: QApplication, do: Callable[[Any], Any], tmp_path: Path) -> Iterator[Hand]:
    """A hand on the mouse of this display, which leaves everything in order."""
    hand = Hand(qapp, tmp_path / "runs")
    yield hand
    do(hand.leave())
