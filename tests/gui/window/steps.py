"""What a user does in a window, and waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QLabel,
    QWidget,
)

from nfkd.config import ExperimentConfig
from nfkd_gui.model.studio import Studio

Do = Callable[[Any], Any]
DIGITS = ExperimentConfig.load("digits").to_toml()


async def settled(studio: Studio) -> None:
    """Wait until the engine has answered everything and Qt has no events left."""
    await studio.clients[-1].settled()  # type: ignore[attr-defined]


def child(window: QWidget, kind: type, name: str) -> Any:
    found = window.findChild(kind, name)
    assert found is not None, name
    return found


def click(window: QWidget, kind: type, name: str) -> None:
    widget = child(window, kind, name)
    assert widget.isVisible(), name
    assert widget.isEnabled(), name
    QTest.mouseClick(widget, Qt.MouseButton.LeftButton)


def text(window: QWidget, name: str) -> str:
    return child(window, QLabel, name).text()
