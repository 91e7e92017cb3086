"""Editors of single values. They also show values of the wrong type; a message below says what is wrong."""

from __future__ import annotations

from itertools import groupby
from typing import Any, cast

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QFont, QResizeEvent, QStandardItemModel
from PySide6.QtWidgets import QCheckBox, QLineEdit, QPlainTextEdit, QWidget

from nfkd_gui.forms.fields import Choice, Value
from nfkd_gui.forms.names_box import NamesBox
from nfkd_gui.forms.pairs_box import PairsBox
from nfkd_gui.forms.path_box import PathBox
from nfkd_gui.forms.share_box import ShareBox
from nfkd_gui.theme import fix_size
from nfkd_gui.widgets.combo import FittingComboBox
from nfkd_gui.widgets.drawing_box import DrawingBox
from nfkd_gui.widgets.number_box import HEIGHT, NumberBox
from nfkd_gui.widgets.wheel import guard_wheel


class TextBox(QLineEdit):
    """One line of text."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.textEdited.connect(lambda _text: self.changed.emit())

    def value(self) -> str:
        return self.text()

    def set_value(self, value: object) -> None:
        self.setText(str(value))
        self.setCursorPosition(0)


class MultilineBox(QPlainTextEdit):
    """Three lines of text; Tab moves to the next field."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTabChangesFocus(True)
        self._resize()
        self.textChanged.connect(self.changed)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in {QEvent.Type.FontChange, QEvent.Type.StyleChange}:
            self._resize()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._resize()  # only now the width of the frame is known, which a style sheet sets

    def _resize(self) -> None:
        above = self.document().documentMargin()  # no margin below: a part of a fourth line would show there
        wanted = round(3 * self.fontMetrics().lineSpacing() + above)
        if self.viewport().height() != wanted:
            self.setFixedHeight(self.height() + wanted - self.viewport().height())

    def value(self) -> str:
        return self.toPlainText()

    def set_value(self, value: object) -> None:
        if str(value) != self.toPlainText():
            self.setPlainText(str(value))


class SwitchBox(QCheckBox):
    """A check box."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._foreign: object = None
        self.clicked.connect(self._clicked)

    def value(self) -> object:
        """Return whether the box is checked, or the document's value if that is no bool."""
        return self.isChecked() if self._foreign is None else self._foreign

    def set_value(self, value: object) -> None:
        """Show a value; anything except True is unchecked."""
        self._foreign = None if isinstance(value, bool) else value
        self.setChecked(value is True)

    def _clicked(self) -> None:
        self._foreign = None
        self.changed.emit()


class ChoiceBox(FittingComboBox):
    """One of several values, under headings if they have groups.

    An unknown value of a document is shown and kept until the user chooses another.
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
        self.activated.connect(lambda _index: self.changed.emit())

    def _add_heading(self, text: str) -> None:
        self.addItem(text)
        item = cast("QStandardItemModel", self.model()).item(self.count() - 1)
        item.setFlags(Qt.ItemFlag.NoItemFlags)
        bold = QFont()  # of no size of its own, so that it follows the scale
        bold.setBold(True)
        item.setFont(bold)

    def value(self) -> object:
        return self.currentData()

    def set_value(self, value: object) -> None:
        while self.count() > self._known:
            self.removeItem(self.count() - 1)
        if self.findData(value) < 0:
            self.addItem(str(value), value)
        self.setCurrentIndex(self.findData(value))


_Plain = NumberBox | ShareBox | TextBox | MultilineBox | SwitchBox | ChoiceBox
Editor = _Plain | NamesBox | PathBox | DrawingBox | PairsBox


def make_editor(field: Value, parent: QWidget | None = None) -> Editor:
    """Return the editor for a field, with the default value."""
    editor: Editor
    match field.kind:
        case "integer" | "number":
            editor = NumberBox(whole=field.kind == "integer", unit=field.unit, zero=field.zero, parent=parent)
        case "share":
            editor = ShareBox(parent)
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
    if isinstance(editor, (TextBox, ChoiceBox, NamesBox)):
        fix_size(editor, height=HEIGHT)
    if isinstance(editor, (NumberBox, ChoiceBox)):
        guard_wheel(editor)
    editor.setObjectName(field.path)
    describe_editor(editor, field)
    set_silently(editor, field.default)
    return editor


def describe_editor(editor: Editor, field: Value, name: str = "") -> None:
    """Set the tooltip of an editor and what screen readers say; `name` replaces the field's title."""
    editor.setAccessibleName(name or field.title)
    unit = f" {field.unit}" if field.unit else ""
    tip = f"{field.help} Allowed: {field.bounds}{unit}." if field.bounds else field.help
    editor.setToolTip(tip)
    editor.setAccessibleDescription(tip)


def set_silently(editor: Editor, value: Any) -> None:
    """Show a value without emitting `changed`."""
    blocked = editor.blockSignals(True)
    try:
        editor.set_value("" if value is None else value)
    finally:
        editor.blockSignals(blocked)
