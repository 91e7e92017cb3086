"""A bar with one sentence and links that act on it."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QWidget

from nfkd_gui.theme import set_space
from nfkd_gui.widgets.labels import WrappedLabel
from nfkd_gui.widgets.panel_dock import IconButton


class NoteBar(QFrame):
    """Says something that the user need not answer; hidden until it has a text."""

    chosen = Signal(str)
    """The object name of the link that was clicked."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.setProperty("note", True)
        self.label = WrappedLabel(tone="plain", parent=self)
        self._line = QHBoxLayout(self)
        set_space(self._line, 12, 12, 4, 8, 4)
        self._line.addWidget(self.label, 1)
        self._close = IconButton("close", "Close", "Close this note.", self)
        self._close.setObjectName(f"{name}.close")
        self._close.clicked.connect(self.hide)
        self._line.addWidget(self._close)
        self.hide()

    def add_link(self, name: str, text: str, help_: str) -> QPushButton:
        """Add a link at the right."""
        link = QPushButton(text, self)
        link.setObjectName(name)
        link.setProperty("link", True)
        link.setToolTip(help_)
        link.clicked.connect(lambda: self.chosen.emit(name))
        self._line.insertWidget(self._line.count() - 1, link)
        return link

    def show_text(self, text: str) -> None:
        """Show a text."""
        self.label.setText(text)
        self.setAccessibleName(text)
        self.show()
