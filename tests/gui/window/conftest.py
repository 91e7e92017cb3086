"""A window with a scripted engine, and helpers that act as a user does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot
from shiboken6 import isValid

from nfkd_gui.model.studio import Studio
from nfkd_gui.window.main_window import MainWindow


async def may_run(studio: Studio) -> None:
    """Wait until the engine has accepted the experiment."""
    while not studio.experiment.is_checked:
        checked = asyncio.Event()
        studio.experiment.checked.connect(checked.set, Qt.ConnectionType.SingleShotConnection)
        await checked.wait()


@pytest.fixture
def window(studio: Studio, qtbot: QtBot, do: Callable[[Any], Any]) -> Iterator[MainWindow]:
    """The window with the digits preset, which the engine has accepted."""
    window = MainWindow(studio)
    window.files.open("digits")
    window.show()
    window.activateWindow()
    qtbot.waitActive(window)

    async def start() -> None:
        studio.start()
        await may_run(studio)

    do(start())
    yield window
    studio.experiment.dirty = False
    if isValid(window):  # a test may have deleted it
        window.close()
        window.deleteLater()
