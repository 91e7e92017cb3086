"""Editors of single values. Each may hold what is wrong, too: the message under it says why."""

from __future__ import annotations

from itertools import groupby
from typing import Any, cast

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QStandardItemModel
from PySide6.QtWidgets import QCheckBox, QComboBox, QLineEdit, QPlainTextEdit, QWidget

from nfkd_gui.forms.drawing import DrawingBox
from nfkd_gui.forms.fields import Choice, Value
from nfkd_gui.forms.names import NamesBox
from nfkd_gui.forms.number_box import NumberBox
from nfkd_gui.forms.pairs import PairsBox
from nfkd_gui.forms.paths import PathBox
from nfkd_gui.widgets.wheel import guard_wheel


class TextBox(QLineEdit):
    """One line of text."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.textEdited.connect(lambda _text: self.changed.emit())

    def value(self) -> str:
        """Return the text."""
        return self.text()

    def set_value(self, value: object) -> None:
        """Show a text."""
        self.setText(str(value))
        self.setCursorPosition(0)


class MultilineBox(QPlainTextEdit):
    """ListEditor lines of text; Tab goes on to the next field."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTabChangesFocus(True)
        above = self.document().documentMargin()  # and none below, where a part of a fourth line would be seen
        self.setFixedHeight(round(3 * self.fontMetrics().lineSpacing() + above + 2 * self.frameWidth()))
        self.textChanged.connect(self.changed)

    def value(self) -> str:
        """Return the text."""
        return self.toPlainText()

    def set_value(self, value: object) -> None:
        """Show a text."""
        if str(value) != self.toPlainText():
            self.setPlainText(str(value))


class SwitchBox(QCheckBox):
    """Yes or no."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._foreign: object = None
        self.clicked.connect(self._clicked)

    def value(self) -> object:
        """Return yes or no, or what a file has in its place."""
        return self.isChecked() if self._foreign is None else self._foreign

    def set_value(self, value: object) -> None:
        """Show yes or no."""
        self._foreign = None if isinstance(value, bool) else value
        self.setChecked(value is True)

    def _clicked(self) -> None:
        self._foreign = None
        self.changed.emit()


class ChoiceBox(QComboBox):
    """One of several, under headings where they have groups.

    A value that a file has and that is none of them is shown and kept until another is chosen.
    """

    changed = Signal()

    def __init__(self, choices: tuple[Choice, ...], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        for group, members in groupby(choices, key=lambda choice: choice.group):
            if group:
                self._add_heading(group)
            for choice in members:
                self.addItem(choice.label, choice.value)
                self.setItemData(self.count() - 1, choice.help, Qt.ItemDataRole.ToolTipRole)
        self._known = self.count()
        self.setMaxVisibleItems(40)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)
        self.activated.connect(lambda _index: self.changed.emit())

    def _add_heading(self, words: str) -> None:
        self.addItem(words)
        item = cast("QStandardItemModel", self.model()).item(self.count() - 1)
        item.setFlags(Qt.ItemFlag.NoItemFlags)
        font = self.font()
        font.setBold(True)
        item.setFont(font)

    def value(self) -> object:
        """Return the chosen value."""
        return self.currentData()

    def set_value(self, value: object) -> None:
        """Choose a value."""
        while self.count() > self._known:
            self.removeItem(self.count() - 1)
        if self.findData(value) < 0:
            self.addItem(str(value), value)
        self.setCurrentIndex(self.findData(value))


Editor = NumberBox | TextBox | MultilineBox | SwitchBox | ChoiceBox | NamesBox | PathBox | DrawingBox | PairsBox


def make_editor(field: Value, parent: QWidget | None = None) -> Editor:
    """Return the editor for a field, holding the field's default."""
    editor: Editor
    match field.kind:
        case "integer" | "number":
            editor = NumberBox(whole=field.kind == "integer", parent=parent)
        case "text":
            editor = MultilineBox(parent) if field.multiline else TextBox(parent)
        case "switch":
            editor = SwitchBox(parent)
        case "choice":
            editor = ChoiceBox(field.choices, parent)
        case "names":
            editor = NamesBox(parent)
        case "file" | "folder" | "run":
            editor = PathBox(field.kind, title=field.title, parent=parent)
        case "points":
            editor = DrawingBox(parent)
        case "pairs":
            editor = PairsBox(field.path, parent)
    if isinstance(editor, (NumberBox, ChoiceBox)):
        guard_wheel(editor)
    editor.setObjectName(field.path)
    editor.setAccessibleName(field.title)
    tip = field.help if not field.bounds else f"{field.help} Allowed: {field.bounds}{_unit(field)}."
    editor.setToolTip(tip)
    editor.setAccessibleDescription(tip)
    set_plain(editor, field.default)
    return editor


def set_plain(editor: Editor, value: Any) -> None:
    """Show a value without telling anyone."""
    blocked = editor.blockSignals(True)
    try:
        editor.set_value("" if value is None else value)
    finally:
        editor.blockSignals(blocked)


def _unit(field: Value) -> str:
    return f" {field.unit}" if field.unit else ""
