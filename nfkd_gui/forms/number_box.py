"""The editor of a number."""

from __future__ import annotations

import math
import re

from PySide6.QtCore import Signal
from PySide6.QtGui import QValidator
from PySide6.QtWidgets import QAbstractSpinBox, QWidget

_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")


class NumberBox(QAbstractSpinBox):
    """A number, as the user writes it; the arrow keys step it. Any other text is kept and reported as wrong."""

    changed = Signal()

    def __init__(self, *, whole: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._whole = whole
        self.setAccelerated(True)
        self.lineEdit().textEdited.connect(lambda _text: self.changed.emit())

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
