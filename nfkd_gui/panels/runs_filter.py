"""The filter of the table of runs: a field with completion, and the room for a line about a wrong filter."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QStringListModel, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QCompleter, QLineEdit, QListView, QWidget

from nfkd_gui.model.compare import CompareModel
from nfkd_gui.model.filter_completion import Completion, complete
from nfkd_gui.theme import scaled
from nfkd_gui.widgets.message_cell import MessageCell

_WAIT, _FEW = 200, 2000
"""Milliseconds after a key before many runs are filtered; up to so many, they are filtered at once."""
_POPUP = 320
_EXAMPLES = """A text with a comparison is a condition. Any other text is words to look for in name, data, flows,
loss, state, verdict, tags and note.

student.hidden < 64 and verdict == "better"
data == "digits" and gap_closed > 0.5
tags ~ "paper" or not state == "finished"
distillation.pool.share in [0.3, 0.5]

Ctrl+Space lists what can follow."""


class FilterField(QLineEdit):
    """A line with proposals for the token at the cursor."""

    def __init__(self, compare: CompareModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._compare = compare
        self._completion = Completion()
        self._options = QStringListModel(self)
        self._completer = QCompleter(self._options, self)
        self._completer.setWidget(self)
        self._completer.setCompletionMode(QCompleter.CompletionMode.UnfilteredPopupCompletion)
        self._completer.setMaxVisibleItems(12)
        self._popup = QListView(self)
        self._popup.setProperty("popup", True)
        self._completer.setPopup(self._popup)
        self._completer.activated.connect(self.insert_option)
        self.setObjectName("runs.filter")
        self.setAccessibleName("Filter the runs")
        self.setPlaceholderText("Words, or a condition such as student.hidden < 64")
        self.setToolTip(_EXAMPLES)
        self.setClearButtonEnabled(True)
        self.textEdited.connect(self.propose)

    def options(self) -> list[str]:
        """Return the proposals that are listed."""
        return self._options.stringList()

    def propose(self) -> None:
        """List what can follow at the cursor."""
        before = self.text()[: self.cursorPosition()]
        self._completion = complete(before, self._compare.names(), self._compare.known_values)
        self._options.setStringList(list(self._completion.options))
        if not self._completion.options:
            self._popup.hide()
        elif self.hasFocus():
            room = self.rect()
            room.setWidth(max(room.width(), scaled(_POPUP)))
            self._completer.complete(room)
            self._popup.setCurrentIndex(QModelIndex())  # Enter ends the filter unless an arrow key chose a proposal

    def insert_option(self, option: str) -> None:
        """Put a proposal in place of the token at the cursor."""
        cursor = self.cursorPosition()
        start = cursor - self._completion.length
        text = self.text()
        self.setText(f"{text[:start]}{option} {text[cursor:].lstrip()}")
        self.setCursorPosition(start + len(option) + 1)
        self._completion = Completion()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Space and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.propose()
            return
        super().keyPressEvent(event)


class FilterCell(MessageCell):
    """Filters a `CompareModel`, and says why a filter cannot be used."""

    filtered = Signal()

    def __init__(self, compare: CompareModel, parent: QWidget | None = None) -> None:
        self.field = FilterField(compare)
        super().__init__(self.field, parent)
        self._compare = compare
        self._timer = QTimer(self, interval=_WAIT, singleShot=True)
        self._timer.timeout.connect(self._filter)
        self.field.textChanged.connect(self._on_text)
        compare.groups_changed.connect(self._show_problem)

    def _on_text(self) -> None:
        if self._compare.total > _FEW:
            self._timer.start()
        else:
            self._filter()

    def _filter(self) -> None:
        self._compare.filter_by(self.field.text())
        self.filtered.emit()

    def _show_problem(self) -> None:
        problem = self._compare.problem
        self.show_message(f"{problem[:1].upper()}{problem[1:]}.".replace("..", ".") if problem else "")
