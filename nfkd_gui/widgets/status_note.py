"""A note in the status line, with a link that acts on it."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QWidget

from nfkd_gui.theme import set_space
from nfkd_gui.widgets.labels import ToneLabel


class StatusNote(QWidget):
    """One sentence with a link; hidden until it has a text."""

    clicked = Signal()

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.label = ToneLabel(parent=self)
        self.label.setObjectName(f"{name}.text")
        self.link = QPushButton(self)
        self.link.setObjectName(f"{name}.link")
        self.link.setProperty("link", True)
        self.link.clicked.connect(self.clicked)
        line = QHBoxLayout(self)
        set_space(line, 8, 8, 0, 0, 0)
        line.addWidget(self.label)
        line.addWidget(self.link)
        self.hide()

    def show_note(self, text: str, link: str, help_: str) -> None:
        """Show a sentence with a link."""
        self.label.setText(text)
        self.link.setText(link)
        self.link.setToolTip(help_)
        self.setAccessibleName(text)
        self.show()
