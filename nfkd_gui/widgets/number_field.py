"""Fields with a number, whose text has the indent of other fields."""

from __future__ import annotations

from PySide6.QtGui import QResizeEvent, QValidator
from PySide6.QtWidgets import QAbstractSpinBox, QDoubleSpinBox, QSpinBox

from nfkd_gui.theme import scaled

_INDENT = 6
"""Pixels of the text from the left edge of a field at 100 %."""


def indent_text(field: QAbstractSpinBox, right: int = 0) -> None:
    """Set the left margin of a field's text, which Qt takes from no style sheet, and its right one in pixels."""
    line = field.lineEdit()
    line.setTextMargins(max(scaled(_INDENT) - line.x(), 0), 0, right, 0)


class NumberField(QSpinBox):
    """A whole number."""

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        indent_text(self)


class DecimalField(QDoubleSpinBox):
    """A decimal number, whose sign is a minus; a hyphen may be typed."""

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        indent_text(self)

    def textFromValue(self, val: float) -> str:
        return super().textFromValue(val).replace("-", "−")

    def valueFromText(self, text: str) -> float:
        return super().valueFromText(text.replace("−", "-"))

    def validate(self, input: str, pos: int) -> tuple[QValidator.State, str, int]:  # noqa: A002
        state, text, place = super().validate(input.replace("−", "-"), pos)
        return state, text.replace("-", "−"), place
