"""The editor of a number."""

from __future__ import annotations

import math
import re

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QPalette, QResizeEvent, QValidator
from PySide6.QtWidgets import QAbstractSpinBox, QLineEdit, QWidget

from nfkd_gui.theme import fix_size, scaled
from nfkd_gui.widgets.labels import ToneLabel
from nfkd_gui.widgets.number_field import indent_text

_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")


HEIGHT = 28
"""Of a field at 100 %."""


class NumberBox(QAbstractSpinBox):
    """A number, as the user writes it, with its unit; the arrow keys step it.

    Any other text is kept and reported as wrong. Without `buttons` it has no small arrows. `zero` is what zero
    means: it is then shown in place of the unit.
    """

    changed = Signal()
    stepped = Signal()
    """The number was changed by the arrow keys; after `changed`."""

    def __init__(
        self, *, whole: bool, unit: str = "", zero: str = "", buttons: bool = True, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._whole = whole
        self.setAccelerated(True)
        if not buttons:
            self.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
            self.setProperty("plain", True)  # for the style sheet, which would keep room for the buttons
        fix_size(self, height=HEIGHT)
        line = self.lineEdit()
        line.textEdited.connect(lambda _text: self.changed.emit())
        self._texts = unit, zero
        self._unit = self._make_unit(line) if unit or zero else None

    def _make_unit(self, line: QLineEdit) -> ToneLabel:
        label = ToneLabel(self._texts[0], parent=line)
        label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        label.setForegroundRole(QPalette.ColorRole.WindowText)  # a child of a line has its role otherwise
        label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        line.textChanged.connect(self._show_unit)
        return label

    def _show_unit(self) -> None:
        unit, zero = self._texts
        if self._unit is not None:
            self._unit.setText(zero if zero and self.value() == 0 else unit)
        self._place_unit()

    def _place_unit(self) -> None:
        """Keep room for the unit at the right end of the line."""
        line, label = self.lineEdit(), self._unit
        width = label.sizeHint().width() if label is not None and label.text() else 0
        indent_text(self, width + scaled(4) if width else 0)
        if label is not None:
            label.setGeometry(line.width() - width - scaled(2), 0, width, line.height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place_unit()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange and hasattr(self, "_unit"):
            self._place_unit()

    def value(self) -> int | float | str:
        """Return the number, or the text if it is not a number."""
        text = self.lineEdit().text().strip()
        if _THOUSANDS.fullmatch(text):
            text = text.replace(",", "")  # any other comma may be a decimal comma, which is an error
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
        return text

    def set_value(self, value: object) -> None:
        """Show a number, or any other value as text."""
        self.lineEdit().setText(_number_text(value))
        self.lineEdit().setCursorPosition(0)

    def stepBy(self, steps: int) -> None:
        value = self.value()
        if isinstance(value, str) or not math.isfinite(value):
            return
        self.set_value(int(value) + steps if self._whole else _stepped(float(value), steps))
        self.changed.emit()
        self.stepped.emit()

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
            unit /= 10  # 0.01 steps down to 0.009, not to zero
        value = float(f"{value + math.copysign(unit, steps):.10g}")
    return value
