"""The controls of the flow panel: play, back, forward, and a slider over the layers."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt, QTimer, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QSlider, QWidget

from nfkd_gui.theme import fix_size, scaled, set_space
from nfkd_gui.widgets.caption import Caption
from nfkd_gui.widgets.icons import icon

_HEIGHT, _STEP = 40, 700
"""Height in pixels; milliseconds of a layer while playing."""
_WIDE, _TEXT = 560, 0.4
"""Width from which the buttons have texts, and the share of it that the text at the right may take."""


class LayerScrubber(QWidget):
    """Moves through the columns of the layers; playing goes to the noise and back to the data, again and again."""

    moved = Signal(int)
    """The column that is shown now."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        fix_size(self, height=_HEIGHT)
        self._direction = 1
        self._names: tuple[str, ...] = ()
        self.play = self._button("play", "Play", "Go through the layers, from the data to the noise and back (Space).")
        self.play.setCheckable(True)
        self.play.setProperty("primary", True)
        self.play.toggled.connect(self._toggle)
        self.back = self._button("back", "Back", "Go back by one layer (Left).")
        self.back.clicked.connect(self.go_back)
        self.forward = self._button("forward", "Forward", "Go on by one layer (Right).")
        self.forward.clicked.connect(self.go_on)
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setObjectName("flow.layer")
        self.slider.setAccessibleName("Layer")
        self.slider.setToolTip("Show the state after another layer.")
        self.slider.setPageStep(1)
        self.slider.setRange(0, 0)
        self.slider.valueChanged.connect(self.moved)
        self.text = Caption(parent=self)
        self.text.setObjectName("flow.matched")
        self.text.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._clock = QTimer(self)
        self._clock.setInterval(_STEP)
        self._clock.timeout.connect(self._next)
        line = QHBoxLayout(self)
        set_space(line, 8)
        for widget in (self.play, self.back, self.forward):
            line.addWidget(widget)
        line.addWidget(self.slider, 1)
        line.addWidget(self.text, 1)
        self.restyle()

    def _button(self, name: str, text: str, help_: str) -> QPushButton:
        button = QPushButton(text, self)
        button.setObjectName(f"flow.{name}")
        button.setAccessibleName(text)
        button.setToolTip(help_)
        return button

    @property
    def column(self) -> int:
        """The column that is shown."""
        return self.slider.value()

    @property
    def playing(self) -> bool:
        """Whether it moves by itself."""
        return self._clock.isActive()

    def show_range(self, last: int) -> None:
        """Set the last column; the present one stays if it can."""
        before = self.column
        with QSignalBlocker(self.slider):
            self.slider.setRange(0, last)
        self._enable()
        if self.column != before:
            self.moved.emit(self.column)

    def go(self, column: int) -> None:
        """Show a column, and pause."""
        self.pause()
        self.slider.setValue(column)

    def go_back(self) -> None:
        """Show the column before, and pause."""
        self.go(self.column - 1)

    def go_on(self) -> None:
        """Show the next column, and pause."""
        self.go(self.column + 1)

    def pause(self) -> None:
        """Stop playing."""
        self.play.setChecked(False)

    def _toggle(self, on: bool) -> None:
        if on:
            self._direction = 1
            self._next()
            self._clock.start()
        else:
            self._clock.stop()
        self.restyle()

    def _next(self) -> None:
        if not self.isVisible():
            return
        if self.column >= self.slider.maximum():
            self._direction = -1
        elif self.column <= 0:
            self._direction = 1
        self.slider.setValue(self.column + self._direction)

    def _enable(self) -> None:
        several = self.slider.maximum() > 0
        for widget in (self.play, self.back, self.forward, self.slider):
            widget.setEnabled(several)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.restyle()

    def restyle(self) -> None:
        """Apply the current theme, and show texts on the buttons where there is room."""
        wide = self.width() >= scaled(_WIDE)
        pictures = {self.play: "pause" if self.playing else "run", self.back: "back", self.forward: "folded"}
        texts = {self.play: "Pause" if self.playing else "Play", self.back: "Back", self.forward: "Forward"}
        for button, picture in pictures.items():
            button.setIcon(icon(picture, on_fill=button is self.play))
            button.setText(texts[button] if wide or button is self.play else "")
            button.setAccessibleName(texts[button])
        forward = Qt.LayoutDirection.RightToLeft if wide else Qt.LayoutDirection.LeftToRight
        self.forward.setLayoutDirection(forward)  # its icon is after the text
