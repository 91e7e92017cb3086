"""Painting a large widget in bands."""

from __future__ import annotations

from PySide6.QtCore import QRect
from PySide6.QtGui import QPaintEvent, QRegion
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from nfkd_gui.widgets.banded_update import BandedUpdate


class Painted(QWidget):
    """Notes what it paints."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[QRect] = []

    def paintEvent(self, event: QPaintEvent) -> None:
        self.parts.append(event.rect())


def test_all_of_a_widget_is_painted_a_band_at_a_time(qtbot: QtBot) -> None:
    widget = Painted()
    qtbot.addWidget(widget)
    widget.resize(120, 250)
    widget.show()
    qtbot.waitExposed(widget)
    qtbot.waitUntil(lambda: bool(widget.parts))
    widget.parts.clear()
    BandedUpdate(widget).start(100)
    whole = QRegion(widget.rect())
    qtbot.waitUntil(lambda: sum_of(widget.parts) == whole)
    assert all(part.height() <= 100 for part in widget.parts)
    assert len(widget.parts) == 3


def sum_of(parts: list[QRect]) -> QRegion:
    region = QRegion()
    for part in parts:
        region += QRegion(part)
    return region
