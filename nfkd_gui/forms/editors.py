"""Editors of single values. Each may hold what is wrong, too: the message under it says why."""

from __future__ import annotations

import math
import re
from itertools import groupby
from typing import Any, cast

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QStandardItemModel, QValidator, QWheelEvent
from PySide6.QtWidgets import QAbstractSpinBox, QCheckBox, QComboBox, QLineEdit, QPlainTextEdit, QWidget

from nfkd_gui.forms.drawing import DrawingBox
from nfkd_gui.forms.fields import Choice, Value
from nfkd_gui.forms.names import NamesBox
from nfkd_gui.forms.paths import PathBox


class _WheelGuard(QObject):
    """Lets the wheel scroll the form: only an editor that has the focus takes it."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if isinstance(event, QWheelEvent) and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return super().eventFilter(watched, event)


_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")


class NumberBox(QAbstractSpinBox):
    """A number as the user writes it, with steps by the arrow keys; what is no number is kept as text."""

    changed = Signal()

    def __init__(self, *, whole: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._whole = whole
        self.setAccelerated(True)
        self.lineEdit().textEdited.connect(lambda _text: self.changed.emit())

    def value(self) -> int | float | str:
        """Return the number, or the text when it is none."""
        text = self.lineEdit().text().strip()
        if _THOUSANDS.fullmatch(text):
            text = text.replace(",", "")  # any other comma may be a decimal one: the field refuses it in words
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
        return text

    def set_value(self, value: object) -> None:
        """Show a number, or whatever stands in its place."""
        self.lineEdit().setText(_number_text(value))
        self.lineEdit().setCursorPosition(0)

    def stepBy(self, steps: int) -> None:
        value = self.value()
        if isinstance(value, str) or not math.isfinite(value):
            return
        self.set_value(int(value) + steps if self._whole else _stepped(float(value), steps))
        self.changed.emit()

    def stepEnabled(self) -> QAbstractSpinBox.StepEnabledFlag:
        both = QAbstractSpinBox.StepEnabledFlag.StepUpEnabled | QAbstractSpinBox.StepEnabledFlag.StepDownEnabled
        return QAbstractSpinBox.StepEnabledFlag.StepNone if isinstance(self.value(), str) else both

    def validate(self, text: str, position: int) -> tuple[QValidator.State, str, int]:
        return QValidator.State.Acceptable, text, position


def _number_text(value: object) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _stepped(value: float, steps: int) -> float:
    """Step by one in the first significant digit: 0.05 → 0.06, 0.001 → 0.002, 30 → 40."""
    for _ in range(abs(steps)):
        size = abs(value)
        unit = 10.0 ** math.floor(math.log10(size)) if size > 0 else 0.1
        shrinking = (steps < 0) == (value > 0)
        if shrinking and math.isclose(size, unit):
            unit /= 10  # from 0.01 down to 0.009, never to zero
        value = float(f"{value + math.copysign(unit, steps):.10g}")
    return value


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
    """Several lines of text; Tab goes on to the next field."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTabChangesFocus(True)
        self.setFixedHeight(3 * self.fontMetrics().lineSpacing() + 14)
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


Editor = NumberBox | TextBox | MultilineBox | SwitchBox | ChoiceBox | NamesBox | PathBox | DrawingBox


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
        case "file" | "folder":
            editor = PathBox(folder=field.kind == "folder", title=field.title, parent=parent)
        case "points":
            editor = DrawingBox(parent)
    if isinstance(editor, (NumberBox, ChoiceBox)):
        editor.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        editor.installEventFilter(_WheelGuard(editor))
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
