"""The line of a panel that waits for the engine: progress, Cancel, and why there is no reply."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QWidget

from nfkd.protocol.events import ErrorInfo
from nfkd_gui.model.inspection import Inspection
from nfkd_gui.theme import set_space
from nfkd_gui.widgets.labels import WrappedLabel

_HUNDRED = 100


class WaitingLine(QWidget):
    """Shows what becomes of the requests of an `Inspection`; hidden while there is nothing to say.

    Parameters
    ----------
    name
        Prefix of the names of the widgets.
    what
        What is computed, for screen readers: ``figures``.
    repeats
        Whether a button offers to ask again after Cancel or an error.
    """

    again = Signal()
    """The user wants the reply after all."""
    ended = Signal()
    """The user does not want the reply."""

    def __init__(self, name: str, what: str, inspection: Inspection, parent: QWidget, *, repeats: bool = False) -> None:
        super().__init__(parent)
        self._inspection, self._repeats = inspection, repeats
        self._bar = QProgressBar(self)
        self._bar.setObjectName(f"{name}.progress")
        self._bar.setAccessibleName(f"Progress of the {what}")
        self._bar.setTextVisible(False)
        self._cancel = QPushButton("Cancel", self)
        self._cancel.setObjectName(f"{name}.cancel")
        self._cancel.clicked.connect(self._end)
        self._message = WrappedLabel(parent=self)
        self._message.setObjectName(f"{name}.message")
        self._again = QPushButton("Compute again", self)
        self._again.setObjectName(f"{name}.again")
        self._again.setToolTip(f"Ask for the {what} once more.")
        self._again.clicked.connect(self.again)
        line = QHBoxLayout(self)
        set_space(line, 8)
        for widget in (self._bar, self._cancel, self._message, self._again):
            line.addWidget(widget, int(widget in (self._bar, self._message)))
        inspection.busy_changed.connect(self._wait)
        inspection.progressed.connect(self._progress)
        inspection.failed.connect(self.show_error)
        self.clear()

    def clear(self) -> None:
        """Show nothing."""
        self._show(busy=False)

    def show_error(self, error: ErrorInfo) -> None:
        """Show why there is no reply."""
        text = " ".join(part for part in (f"{error.title}.", error.cause, error.action) if part)
        self._message.set_tone("error")
        self._show(busy=False, message=text, again=True)

    def _show(self, *, busy: bool, message: str = "", again: bool = False) -> None:
        self._bar.setMaximum(0)
        self._bar.setVisible(busy)
        self._cancel.setVisible(busy)
        self._message.setText(message)
        self._message.setVisible(bool(message))
        self._again.setVisible(again and self._repeats)
        self.setVisible(busy or bool(message) or (again and self._repeats))

    def _wait(self, busy: bool) -> None:
        self._show(busy=busy)

    def _progress(self, share: float) -> None:
        self._bar.setMaximum(_HUNDRED)
        self._bar.setValue(round(_HUNDRED * share))

    def _end(self) -> None:
        self._inspection.cancel()
        self._message.set_tone("muted")
        self._show(busy=False, message="Cancelled.", again=True)
        self.ended.emit()
