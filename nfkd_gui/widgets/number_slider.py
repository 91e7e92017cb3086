"""A slider with its number, linear or logarithmic."""

from __future__ import annotations

import math

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QSlider, QWidget

from nfkd_gui.theme import fix_size, limit_size, set_space
from nfkd_gui.widgets.number_box import NumberBox
from nfkd_gui.widgets.wheel import guard_wheel

_POSITIONS, _HEIGHT, _NUMBER, _LEAST = 200, 28, 64, 36


class NumberSlider(QWidget):
    """Chooses a number between two ends; the field also takes numbers beyond them.

    A number that is typed counts once Return is pressed or the field is left.

    Parameters
    ----------
    low, high
        The ends of the slider.
    logarithmic
        Whether equal steps of the slider are equal factors.
    whole
        Whether the number is whole.
    """

    changed = Signal()

    def __init__(
        self, low: float, high: float, *, logarithmic: bool = False, whole: bool = False, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._ends = (math.log(low), math.log(high)) if logarithmic else (low, high)
        self._logarithmic, self._whole = logarithmic, whole
        self._shown: float | None = None
        self._typing = False
        self.number = NumberBox(whole=whole, buttons=False, parent=self)
        fix_size(self.number, _NUMBER, _HEIGHT)
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setRange(0, _POSITIONS)
        self.slider.setPageStep(_POSITIONS // 10)
        fix_size(self.slider, height=_HEIGHT)
        limit_size(self.slider, least=(_LEAST, 0))
        for widget in (self.slider, self.number):
            guard_wheel(widget)
        self.setFocusProxy(self.number)
        line = QHBoxLayout(self)
        set_space(line, 8)
        line.addWidget(self.slider, 1)
        line.addWidget(self.number)
        self.slider.valueChanged.connect(self._slid)
        self.number.changed.connect(self._type)
        self.number.stepped.connect(self._finish)
        self.number.editingFinished.connect(self._finish)

    def value(self) -> int | float | str:
        """Return the number, or the text if it is not a number."""
        return self.number.value()

    def set_value(self, value: float) -> None:
        """Show a number; what is being typed stays while the number is the same as before."""
        if self._typing and value == self._shown:
            return
        self._shown, self._typing = value, False
        if value != self.number.value():
            self.number.set_value(value)
        self._move_slider()

    def _slid(self, position: int) -> None:
        low, high = self._ends
        at = low + (high - low) * position / _POSITIONS
        value = float(f"{math.exp(at) if self._logarithmic else at:.2g}")
        self.number.set_value(round(value) if self._whole else value)
        self._typing = False
        self.changed.emit()

    def _type(self) -> None:
        self._typing = True
        self._move_slider()

    def _finish(self) -> None:
        if self._typing:
            self._typing = False
            self.changed.emit()

    def _move_slider(self) -> None:
        value = self.number.value()
        if isinstance(value, str) or not math.isfinite(value):
            return
        low, high = self._ends
        at = (math.log(value) if value > 0 else low) if self._logarithmic else value
        with QSignalBlocker(self.slider):
            self.slider.setValue(round(_POSITIONS * min(max((at - low) / (high - low), 0), 1)))

    def setToolTip(self, text: str) -> None:
        super().setToolTip(text)
        self.slider.setToolTip(text)
        self.number.setToolTip(text)

    def setAccessibleName(self, name: str) -> None:
        super().setAccessibleName(name)
        self.slider.setAccessibleName(name)
        self.number.setAccessibleName(name)

    def setAccessibleDescription(self, description: str) -> None:
        super().setAccessibleDescription(description)
        self.number.setAccessibleDescription(description)

    def setObjectName(self, name: str) -> None:
        super().setObjectName(name)
        self.slider.setObjectName(f"{name}.slider")
        self.number.setObjectName(f"{name}.number")
