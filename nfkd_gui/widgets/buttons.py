"""Buttons without a frame, and with an icon."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Qt
from PySide6.QtWidgets import QPushButton, QToolButton, QWidget

from nfkd_gui.widgets.icons import icon


def quiet_button(text: str, parent: QWidget | None = None) -> QToolButton:
    """Return a frameless button that Tab can reach; `text` has no mnemonic."""
    button = QToolButton(parent)
    button.setText(text.replace("&", "&&"))
    button.setAutoRaise(True)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return button


class PictureButton(QPushButton):
    """A button with an icon, which follows the theme, and text."""

    def __init__(self, picture: str, text: str, parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self._picture = picture
        self.setIcon(icon(picture))

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "_picture"):
            self.setIcon(icon(self._picture))
