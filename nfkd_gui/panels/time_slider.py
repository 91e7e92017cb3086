"""The time slider: moves all panels of pictures through the training of the shown seed."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QSlider, QWidget

from nfkd_gui.model.studio import Studio
from nfkd_gui.theme import fix_size, role_colour, set_space
from nfkd_gui.widgets.labels import ElidedLabel, MarkupLabel, PlainLabel, escaped

_HEIGHT = 48


class TimeSlider(QFrame):
    """A slider over all stored pictures, from the first of the teacher to the final ones of the baseline."""

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("time")
        self.setProperty("panel", True)
        fix_size(self, height=_HEIGHT)
        self._timeline = studio.timeline
        label = PlainLabel("&Pictures of", self)
        self._slider = QSlider(Qt.Orientation.Horizontal, self)
        self._slider.setObjectName("time.slider")
        self._slider.setAccessibleName("Step whose pictures are shown")
        self._slider.setToolTip("Show the pictures of an earlier step in all panels.")
        self._slider.valueChanged.connect(self._timeline.choose)
        label.setBuddy(self._slider)
        self._position = MarkupLabel(self)
        self._position.setObjectName("time.position")
        self._position.setMinimumWidth(220)
        self._message = ElidedLabel(tone="error", parent=self)
        self._message.setMinimumWidth(1)
        self._latest = QPushButton("&Latest", self)
        self._latest.setObjectName("time.latest")
        self._latest.setToolTip("Show the newest pictures again.")
        self._latest.clicked.connect(self._timeline.live)
        line = QHBoxLayout(self)
        set_space(line, 12, 12, 0, 12, 0)
        line.addWidget(label)
        line.addWidget(self._slider, 1)
        for widget in (self._position, self._message, self._latest):
            line.addWidget(widget)
        self._timeline.positions_changed.connect(self.refresh)
        self._timeline.changed.connect(self.refresh)
        studio.theme_changed.connect(self.refresh, Qt.ConnectionType.QueuedConnection)
        self.refresh()

    def refresh(self) -> None:
        """Show the chosen position."""
        timeline = self._timeline
        last = len(timeline.positions) - 1
        index = timeline.index
        with QSignalBlocker(self._slider):
            self._slider.setRange(0, max(last, 0))
            self._slider.setValue(max(last, 0) if index is None else index)
        self._slider.setEnabled(last > 0)
        self._latest.setEnabled(not timeline.is_live)
        at = timeline.position or (timeline.positions[-1] if timeline.positions else None)
        text = escaped(at.label) if at is not None else "No pictures yet"
        colour = role_colour(at.stage) if at is not None else ""
        self._position.setText(f'<span style="color:{colour}">{text}</span>' if colour else text)
        self._message.setText(timeline.error.cause if timeline.error is not None else "")
        self._message.setVisible(timeline.error is not None)
