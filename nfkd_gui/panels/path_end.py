"""An end of an interpolation: an example of the data, or a sample, by its number; and the position on the path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QSlider, QVBoxLayout, QWidget

from nfkd.config.datasets import IMAGE_ENDINGS
from nfkd.files import is_regular
from nfkd.protocol.inspection import Origin
from nfkd_gui.plotting.mosaic import Mosaic
from nfkd_gui.plotting.plots import Plot
from nfkd_gui.theme import fix_size, role_colour, set_space, tokens
from nfkd_gui.widgets.file_target import FileTarget, ask_path, machine_of
from nfkd_gui.widgets.labels import PlainLabel
from nfkd_gui.widgets.number_field import NumberField

_THUMBNAIL, _KIND, _NUMBER, _CURVE = 28, 88, 56, 96
_MOST_ROWS = 999_999
_KINDS = (
    ("Example", "validation", "An example of the validation data."),
    ("Sample", "sample", "Each flow's own sample from the noise of the run's pictures, as in Samples."),
    ("File …", "file", "An image file, or a row of a table."),
)
_CHOSEN = "The example that was chosen with “Use as A” or “Use as B”."


class PathEnd(QWidget, FileTarget):
    """Chooses an end of the path: an example, a sample, or a file, which may also be dropped on it."""

    changed = Signal()

    def __init__(self, name: str, index: int, parent: QWidget) -> None:
        super().__init__(parent)
        self._has_image = self._narrow = False
        self._given: Origin | None = None
        self._before = 0
        self.thumbnail = Mosaic(1, self)
        fix_size(self.thumbnail, _THUMBNAIL, _THUMBNAIL)
        self.kind = QComboBox(self)
        self.kind.setObjectName(f"interpolation.{name}.kind")
        self.kind.setAccessibleName(f"Kind of the {name} end")
        for text, kind, help_ in _KINDS:
            self.kind.addItem(text, kind)
            self.kind.setItemData(self.kind.count() - 1, help_, Qt.ItemDataRole.ToolTipRole)
        self.kind.setToolTip("An example, a sample or a file; a file can also be dropped here.")
        self.number = NumberField(self)
        self.number.setObjectName(f"interpolation.{name}")
        self.number.setAccessibleName(f"Number of the {name} end")
        self.number.setToolTip("Number of the example, of the sample or of the row in the file.")
        self.number.setRange(0, 1)
        self.number.setWrapping(True)
        self.number.setValue(index)
        fix_size(self.kind, _KIND)
        fix_size(self.number, _NUMBER)
        line = QHBoxLayout(self)
        set_space(line, 4)
        for widget in (self.thumbnail, self.kind, self.number):
            line.addWidget(widget)
        self.setAcceptDrops(True)
        self.kind.activated.connect(self._choose_kind)
        self.number.valueChanged.connect(self.changed)

    def origin(self, noise: Mapping[str, Any]) -> Origin:
        """Return the chosen example; `noise` has count and temperature of the samples."""
        kind = self.kind.currentData()
        if kind in ("file", "chosen") and self._given is not None:
            row = self.number.value() if kind == "file" else self._given.index
            return msgspec.structs.replace(self._given, index=row)
        if kind == "sample":
            return Origin(kind="sample", index=self.number.value(), **noise)
        return Origin(kind="validation", index=self.number.value())

    def choose(self, origin: Origin) -> None:
        """Use an example from anywhere as this end."""
        if origin.kind == "validation":
            with QSignalBlocker(self.number):
                self.number.setMaximum(max(self.number.maximum(), origin.index))
                self.number.setValue(origin.index)
            self._show_kind("validation")
        else:
            self._given = origin
            self._show_kind("file" if origin.kind == "file" else "chosen")
        self.changed.emit()

    def _show_kind(self, kind: str) -> None:
        """Select a kind; that of an example from elsewhere is offered only while there is one."""
        row = self.kind.findData("chosen")
        if kind == "chosen" and row < 0:
            self.kind.addItem("Chosen", "chosen")
            self.kind.setItemData(self.kind.count() - 1, _CHOSEN, Qt.ItemDataRole.ToolTipRole)
        elif kind != "chosen" and row >= 0:
            self.kind.removeItem(row)
        self.kind.setCurrentIndex(self.kind.findData(kind))
        self._before = self.kind.currentIndex()
        self._fit_number()

    def _choose_kind(self, row: int) -> None:
        if self.kind.itemData(row) != "file":
            self._show_kind(self.kind.itemData(row))
            self.changed.emit()
            return
        if machine_of(self):
            self.kind.setCurrentIndex(self._before)
            ask_path(self, "Image or table", self._take)
            return
        path, _ = QFileDialog.getOpenFileName(self, "Choose an image or a table")
        if path:
            self._take(path)
        else:
            self.kind.setCurrentIndex(self._before)

    def _take(self, path: str) -> None:
        with QSignalBlocker(self.number):
            self.number.setMaximum(_MOST_ROWS)
            self.number.setValue(0)
        self.choose(Origin(kind="file", path=path))

    def takes(self, paths: Sequence[str]) -> bool:
        return len(paths) == 1 and bool(paths[0]) and not machine_of(self) and is_regular(Path(paths[0]))

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if self.takes([url.toLocalFile() for url in event.mimeData().urls()]):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        event.acceptProposedAction()
        self._take(event.mimeData().urls()[0].toLocalFile())

    def limit(self, examples: int, samples: int) -> None:
        """Set how many there are to choose from."""
        count = {"validation": examples, "sample": samples}.get(self.kind.currentData())
        if count is not None:
            with QSignalBlocker(self.number):
                self.number.setMaximum(max(1, count - 1))

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

    def _fit_number(self) -> None:
        """Hide the number where it means nothing: of an image file, or of an example from elsewhere."""
        kind, given = self.kind.currentData(), self._given
        image = given is not None and given.path.lower().endswith(IMAGE_ENDINGS)
        self.number.setVisible(kind != "chosen" and not (kind == "file" and image))


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
