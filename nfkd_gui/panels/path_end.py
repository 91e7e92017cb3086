"""An end of an interpolation: an example of the data, or a sample, by its number; and the position on the path."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QSlider, QSpinBox, QVBoxLayout, QWidget

from nfkd_gui.plotting.mosaic import Mosaic
from nfkd_gui.plotting.plots import Plot
from nfkd_gui.theme import fix_size, role_colour, set_space, tokens
from nfkd_gui.widgets.labels import PlainLabel

_THUMBNAIL, _KIND, _NUMBER, _CURVE = 28, 88, 56, 96
_KINDS = (
    ("Example", False, "An example of the validation data."),
    ("Sample", True, "Each flow's own sample from the noise of the run's pictures, as in Samples."),
)


class PathEnd(QWidget):
    """Chooses an end of the path."""

    changed = Signal()

    def __init__(self, name: str, index: int, parent: QWidget) -> None:
        super().__init__(parent)
        self._has_image = self._narrow = False
        self.thumbnail = Mosaic(1, self)
        fix_size(self.thumbnail, _THUMBNAIL, _THUMBNAIL)
        self.kind = QComboBox(self)
        self.kind.setObjectName(f"interpolation.{name}.kind")
        self.kind.setAccessibleName(f"Kind of the {name} end")
        for text, sampled, help_ in _KINDS:
            self.kind.addItem(text, sampled)
            self.kind.setItemData(self.kind.count() - 1, help_, Qt.ItemDataRole.ToolTipRole)
        self.number = QSpinBox(self)
        self.number.setObjectName(f"interpolation.{name}")
        self.number.setAccessibleName(f"Number of the {name} end")
        self.number.setToolTip("Number of the example or of the sample.")
        self.number.setRange(0, 1)
        self.number.setWrapping(True)
        self.number.setValue(index)
        fix_size(self.kind, _KIND)
        fix_size(self.number, _NUMBER)
        line = QHBoxLayout(self)
        set_space(line, 4)
        for widget in (self.thumbnail, self.kind, self.number):
            line.addWidget(widget)
        self.kind.currentIndexChanged.connect(self.changed)
        self.number.valueChanged.connect(self.changed)

    @property
    def sampled(self) -> bool:
        """Whether the end is a sample."""
        return bool(self.kind.currentData())

    @property
    def index(self) -> int:
        """Number of the example or sample."""
        return self.number.value()

    def limit(self, examples: int, samples: int) -> None:
        """Set how many there are to choose from."""
        with QSignalBlocker(self.number):
            self.number.setMaximum(max(1, (samples if self.sampled else examples) - 1))

    def show_image(self, image: np.ndarray | None) -> None:
        """Show the end as (channels, height, width), or nothing."""
        self._has_image = image is not None
        if image is not None:
            self.thumbnail.show_images(image[None])
        self.fit(narrow=self._narrow)

    def fit(self, *, narrow: bool) -> None:
        """Leave out the image where there is little room."""
        self._narrow = narrow
        self.thumbnail.setVisible(self._has_image and not narrow)


class PathPosition(QWidget):
    """A slider over the frames of a path, and below it log p of every flow along the path, if it is known."""

    moved = Signal(int)
    """The number of the frame."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._alpha = np.empty(0)
        label = PlainLabel("&Position", self)
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setObjectName("interpolation.position")
        self.slider.setAccessibleName("Position on the path")
        self.slider.setToolTip("Mark a frame of every path.")
        self.slider.valueChanged.connect(self._move)
        label.setBuddy(self.slider)
        self.plot = Plot(self)
        self.plot.setObjectName("interpolation.log_prob")
        self.plot.setMouseEnabled(x=False, y=False)
        self.plot.label("left", "log p", "nats")
        fix_size(self.plot, height=_CURVE)
        self.lines: dict[str, pg.PlotDataItem] = {}
        self._pointer = pg.InfiniteLine(angle=90, movable=False)
        self.plot.canvas.addItem(self._pointer, ignoreBounds=True)
        line = QHBoxLayout()
        set_space(line, 8)
        line.addWidget(label)
        line.addWidget(self.slider, 1)
        column = QVBoxLayout(self)
        set_space(column, 4)
        column.addLayout(line)
        column.addWidget(self.plot)
        self.restyle()

    def show_path(self, alpha: np.ndarray, log_prob: Mapping[str, np.ndarray]) -> None:
        """Show another path: its positions from 0 to 1, and log p of each flow there in nats."""
        self._alpha = alpha
        with QSignalBlocker(self.slider):
            self.slider.setMaximum(max(0, len(alpha) - 1))
        self.plot.setVisible(bool(log_prob))
        for role, line in self.lines.items():
            if role not in log_prob:
                line.setData([], [])
        for role, values in log_prob.items():
            line = self.lines.get(role)
            if line is None:
                line = self.lines[role] = self.plot.plot([], [], connect="finite")
            line.setPen(pg.mkPen(role_colour(role), width=2))
            line.setData(alpha, np.where(np.isfinite(values), values, np.nan))
        self._point()

    def restyle(self) -> None:
        """Apply the current theme."""
        self.plot.restyle()
        self._pointer.setPen(pg.mkPen(tokens().accent))

    def choose(self, frame: int) -> None:
        """Move the slider to a frame."""
        self.slider.setValue(frame)

    def _move(self, frame: int) -> None:
        self._point()
        self.moved.emit(frame)

    def _point(self) -> None:
        if self.slider.value() < len(self._alpha):
            self._pointer.setValue(float(self._alpha[self.slider.value()]))
