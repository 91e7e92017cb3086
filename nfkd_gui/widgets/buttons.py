"""Buttons that stand among words."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QToolButton, QWidget


def quiet_button(words: str, parent: QWidget | None = None) -> QToolButton:
    """Return a button without a frame that Tab reaches."""
    button = QToolButton(parent)
    button.setText(words.replace("&", "&&"))
    button.setAutoRaise(True)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return button
