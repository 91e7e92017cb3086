"""What is said above the table of runs: that it is empty, with what helps, and which runs cannot be read."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from nfkd_gui.theme import set_space
from nfkd_gui.widgets.labels import WrappedLabel

_MAX_UNREADABLE = 3
"""Unreadable runs that are listed with the reason; more are only counted."""
_EMPTY = "No runs here yet. Press Run in Design, or start here:"
_NOT_FOUND = "No run passes the filter."


class RunsNotice(QWidget):
    """Hidden while there are runs to show and all can be read.

    Attributes
    ----------
    start, clear
        Buttons that run the open experiment, and that clear the filter.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._empty = WrappedLabel(_EMPTY, parent=self)
        self._unreadable = WrappedLabel(tone="warning", parent=self)
        self.start = self._button("start", "Run the open experiment", "Start the experiment that is open in Design.")
        self.clear = self._button("clear", "Clear the filter", "Show all runs again.")
        column = QVBoxLayout(self)
        set_space(column, 8, 12, 8, 12, 8)
        column.addWidget(self._empty)
        column.addWidget(self._unreadable)
        for button in (self.start, self.clear):
            column.addWidget(button, alignment=Qt.AlignmentFlag.AlignHCenter)

    def _button(self, name: str, text: str, help_: str) -> QPushButton:
        button = QPushButton(text, self)
        button.setObjectName(f"runs.{name}")
        button.setToolTip(help_)
        return button

    def show_state(self, count: int, shown: int, unreadable: Sequence[str]) -> None:
        """Show what is said about so many runs and so many rows."""
        self._empty.setText(_NOT_FOUND if count else _EMPTY)
        self._empty.setVisible(not shown)
        self.start.setVisible(not count)
        self.clear.setVisible(bool(count and not shown))
        more = len(unreadable) - _MAX_UNREADABLE
        rest = [f"{more} more runs cannot be read."] if more > 0 else []
        self._unreadable.setText("\n".join([*unreadable[:_MAX_UNREADABLE], *rest]))
        self._unreadable.setVisible(bool(unreadable))
        self.setVisible(bool(unreadable or not shown))
