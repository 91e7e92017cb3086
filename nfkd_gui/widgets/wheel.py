"""Keep the mouse wheel from changing an editor that has no focus, so that it scrolls the form."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QWidget


def guard_wheel(editor: QWidget) -> None:
    """Let an editor react to the wheel only while it has the focus; the wheel itself does not focus it."""
    editor.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    editor.installEventFilter(_WheelGuard(editor))


class _WheelGuard(QObject):
    """Ignores wheel events of an editor without focus."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if isinstance(event, QWheelEvent) and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return False
