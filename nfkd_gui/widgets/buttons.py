"""Buttons without a frame."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QToolButton, QWidget


def quiet_button(text: str, parent: QWidget | None = None) -> QToolButton:
    """Return a frameless button that Tab can reach; `text` has no mnemonic."""
    button = QToolButton(parent)
    button.setText(text.replace("&", "&&"))
    button.setAutoRaise(True)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return button
