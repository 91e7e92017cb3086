"""What a user does in the panels of Compare."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

from tests.gui.compare_script import FOLDER


def key(name: str) -> str:
    """Return the key of a group."""
    return FOLDER + name


def drag(widget: QWidget, first: QPointF | QPoint, *rest: QPointF | QPoint) -> None:
    """Press the left button at a place, move to others, and release it there."""
    left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    places = [QPointF(place) for place in (first, *rest)]
    steps = [(QMouseEvent.Type.MouseButtonPress, places[0], left, left)]
    steps += [(QMouseEvent.Type.MouseMove, place, none, left) for place in places[1:]]
    steps.append((QMouseEvent.Type.MouseButtonRelease, places[-1], left, none))
    for kind, place, button, buttons in steps:
        event = QMouseEvent(kind, place, widget.mapToGlobal(place), button, buttons, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(widget, event)


def hover(widget: QWidget, place: QPointF) -> None:
    """Move the pointer to a place."""
    none = Qt.MouseButton.NoButton
    event = QMouseEvent(
        QMouseEvent.Type.MouseMove, place, widget.mapToGlobal(place), none, none, Qt.KeyboardModifier.NoModifier
    )
    QApplication.sendEvent(widget, event)


def double_click(widget: QWidget, place: QPointF) -> None:
    """Press the left button twice at a place."""
    QTest.mouseDClick(widget, Qt.MouseButton.LeftButton, pos=place.toPoint())
