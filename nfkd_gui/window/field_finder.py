"""A line in which a user finds a field of the experiment by a part of its name."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QStringListModel, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QCompleter, QLineEdit, QListView, QWidget

from nfkd_gui.forms.fields import FoundField
from nfkd_gui.model.fuzzy import match
from nfkd_gui.widgets.message_cell import MessageCell

_SHOWN = 12


class FieldLine(QLineEdit):
    """Lists the fields that fit the text; an empty line lists all at Down."""

    chosen = Signal(str)
    """The path of a field."""

    def __init__(self, fields: Sequence[FoundField], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._fields = fields
        self._titles = QStringListModel(self)
        self._completer = QCompleter(self._titles, self)
        self._completer.setWidget(self)
        self._completer.setCompletionMode(QCompleter.CompletionMode.UnfilteredPopupCompletion)
        self._completer.setMaxVisibleItems(_SHOWN)
        self._popup = QListView(self)
        self._popup.setProperty("popup", True)
        self._completer.setPopup(self._popup)
        self._completer.activated.connect(self.choose, Qt.ConnectionType.QueuedConnection)  # Qt then writes here
        self.textEdited.connect(self.propose)

    def found(self) -> list[str]:
        """Return the titles of the fields that fit the text, the best first; of none in the order of the form."""
        text = self.text().strip()
        matches = [(match(text, each.title, f"{each.path} {each.help}"), each.title) for each in self._fields]
        ranked = sorted((fit.cost, number) for number, (fit, _) in enumerate(matches) if fit is not None)
        return [matches[number][1] for _, number in ranked] if text else [title for _, title in matches]

    def propose(self) -> None:
        """List the fields that fit."""
        self._titles.setStringList(self.found())
        if not self._titles.stringList():
            self._popup.hide()
        elif self.hasFocus():
            self._completer.complete(self.rect())

    def choose(self, title: str) -> None:
        """Choose a field by its title."""
        path = next((each.path for each in self._fields if each.title == title), "")
        self.clear()
        if path:
            self.chosen.emit(path)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Down:
            self.propose()
        elif event.key() in {Qt.Key.Key_Return, Qt.Key.Key_Enter} and self.text().strip():
            if self.found():
                self.choose(self.found()[0])
        else:
            super().keyPressEvent(event)


class FieldFinder(MessageCell):
    """A `FieldLine` that says when no field fits."""

    def __init__(self, fields: Sequence[FoundField], name: str, parent: QWidget | None = None) -> None:
        self.line = FieldLine(fields, parent)
        self.line.setObjectName(name)
        self.line.setAccessibleName("Add a field")
        self.line.setPlaceholderText("Add a field: type a part of its name, or press Down for all")
        super().__init__(self.line, parent)
        self.line.textChanged.connect(self._say)

    def _say(self) -> None:
        text = self.line.text().strip()
        self.show_message("" if not text or self.line.found() else "No field of this experiment has such a name.")
