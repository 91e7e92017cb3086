"""The editor of a share: a slider from 0 to 1 and the number."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QSlider, QWidget

from nfkd_gui.theme import fix_size, set_space
from nfkd_gui.widgets.number_box import HEIGHT, NumberBox
from nfkd_gui.widgets.wheel import guard_wheel

_STEPS = 20
_NUMBER_WIDTH = 56


class ShareBox(QWidget):
    """A slider in steps of 0.05, and a field for any number."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.number = NumberBox(whole=False, buttons=False, parent=self)
        fix_size(self.number, _NUMBER_WIDTH, HEIGHT)
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setRange(0, _STEPS)
        fix_size(self.slider, height=HEIGHT)  # its own height cuts the handle of a large scale
        self.slider.setPageStep(_STEPS // 10)
        for widget in (self.slider, self.number):
            guard_wheel(widget)
        self.setFocusProxy(self.number)
        line = QHBoxLayout(self)
        set_space(line, 8)
        line.addWidget(self.slider, 1)
        line.addWidget(self.number)
        self.slider.valueChanged.connect(self._slid)
        self.number.changed.connect(self._typed)

    def value(self) -> int | float | str:
        """Return the number, or the text if it is not a number."""
        return self.number.value()

    def set_value(self, value: object) -> None:
        """Show a number, or any other value as text."""
        if value != self.number.value():
            self.number.set_value(value)
        self._move_slider()

    def _slid(self, steps: int) -> None:
        self.number.set_value(steps / _STEPS)
        self.changed.emit()

    def _typed(self) -> None:
        self._move_slider()
        self.changed.emit()

    def _move_slider(self) -> None:
        value = self.number.value()
        with QSignalBlocker(self.slider):
            self.slider.setValue(round(_STEPS * value) if not isinstance(value, str) and 0 <= value <= 1 else 0)

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
