"""The time slider: moves all panels of pictures through the training of a stage of the shown seed."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt, QTimer
from PySide6.QtGui import QColor, QResizeEvent
from PySide6.QtWidgets import QComboBox, QFrame, QHBoxLayout, QPushButton, QSlider, QWidget

from nfkd.protocol.roles import Role, role_label
from nfkd_gui.model.studio import Studio
from nfkd_gui.model.timeline import Position
from nfkd_gui.theme import fix_size, role_colour, scaled, set_space
from nfkd_gui.widgets.icons import icon
from nfkd_gui.widgets.labels import ElidedLabel, PlainLabel

_HEIGHT, _TEXT, _NARROW = 52, 148, 640
_FRAME = 150
"""Milliseconds between two pictures of a replay; more where the engine takes longer."""


class TimeSlider(QFrame):
    """A choice of stages, a slider over the stored pictures of the chosen one, and a replay of them."""

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("time")
        self.setProperty("panel", True)
        fix_size(self, height=_HEIGHT)
        self._studio, self._timeline = studio, studio.timeline
        self._replay = self._button("time.replay", "&Replay", "Play the pictures of the stage from its first step.")
        self._replay.clicked.connect(self._toggle_replay)
        self._label = PlainLabel("&Pictures of", self)
        self._stage = QComboBox(self)
        self._stage.setObjectName("time.stage")
        self._stage.setAccessibleName("Stage whose pictures are shown")
        self._stage.setToolTip("Show the last pictures of this stage.")
        self._stage.activated.connect(self._choose_stage)
        self._label.setBuddy(self._stage)
        self._slider = QSlider(Qt.Orientation.Horizontal, self)
        self._slider.setObjectName("time.slider")
        self._slider.setAccessibleName("Step whose pictures are shown")
        self._slider.setToolTip("Show the pictures of an earlier step in all panels.")
        self._slider.setPageStep(5)
        self._slider.valueChanged.connect(self._choose)
        self._position = PlainLabel(parent=self)
        self._position.setObjectName("time.position")
        fix_size(self._position, _TEXT)
        self._message = ElidedLabel(tone="error", parent=self)
        self._message.setMinimumWidth(1)
        self._latest = self._button("time.latest", "&Latest", "Show the newest pictures again.")
        self._latest.clicked.connect(self._show_latest)
        self._clock = QTimer(self)
        self._clock.setInterval(_FRAME)
        self._clock.timeout.connect(self._play)
        self._lay_out()
        self._timeline.positions_changed.connect(self.refresh)
        self._timeline.changed.connect(self.refresh)
        studio.view_changed.connect(self._stop)
        studio.theme_changed.connect(self.refresh, Qt.ConnectionType.QueuedConnection)
        self.refresh()

    def _button(self, name: str, text: str, help_: str) -> QPushButton:
        button = QPushButton(text, self)
        button.setObjectName(name)
        button.setToolTip(help_)
        button.setAccessibleName(text.replace("&", ""))
        return button

    def _lay_out(self) -> None:
        line = self._line = QHBoxLayout(self)
        set_space(line, 12, 12, 0, 12, 0)
        for widget in (self._replay, self._label, self._stage):
            line.addWidget(widget)
        line.addWidget(self._slider, 1)
        for widget in (self._position, self._message, self._latest):
            line.addWidget(widget)

    def add(self, widget: QWidget) -> None:
        """Add a widget at the right."""
        self._line.addWidget(widget)

    # --- the position -------------------------------------------------------------------------------------------

    def _shown(self) -> Position | None:
        """Return the chosen position, or the newest one."""
        timeline = self._timeline
        return timeline.position or (timeline.positions[-1] if timeline.positions else None)

    def _of_stage(self, stage: Role) -> list[Position]:
        return [position for position in self._timeline.positions if position.stage == stage]

    def _go_to(self, position: Position) -> None:
        self._timeline.choose(self._timeline.positions.index(position))

    def _choose(self, number: int) -> None:
        shown = self._shown()
        if shown is not None:
            self._go_to(self._of_stage(shown.stage)[number])

    def _choose_stage(self, _index: int) -> None:
        self._stop()
        positions = self._of_stage(self._stage.currentData())
        if positions:
            self._go_to(positions[-1])

    def _show_latest(self) -> None:
        self._stop()
        self._timeline.live()

    # --- replay -------------------------------------------------------------------------------------------------

    def _toggle_replay(self) -> None:
        if self._clock.isActive():
            self._stop()
            return
        shown = self._shown()
        if shown is not None:
            self._go_to(self._of_stage(shown.stage)[0])
            self._clock.start()
            self.refresh()

    def _play(self) -> None:
        """Go to the next pictures, once those before have come."""
        shown = self._timeline.position
        if shown is None or self._timeline.error is not None:
            self._stop()
        elif not self._timeline.loading:
            positions = self._of_stage(shown.stage)
            following = positions[positions.index(shown) + 1 :]
            if following:
                self._go_to(following[0])
            if len(following) <= 1:
                self._stop()

    def _stop(self) -> None:
        if self._clock.isActive():
            self._clock.stop()
            self.refresh()

    # --- what is shown ------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Show the chosen position."""
        shown = self._shown()
        positions = self._of_stage(shown.stage) if shown is not None else []
        with QSignalBlocker(self._slider):
            self._slider.setRange(0, max(len(positions) - 1, 0))
            self._slider.setValue(positions.index(shown) if shown is not None else 0)
        for widget in (self._slider, self._replay):
            widget.setEnabled(len(positions) > 1)
        self._latest.setEnabled(not self._timeline.is_live)
        playing = self._clock.isActive()
        self._replay.setText("&Stop" if playing else "&Replay")
        self._replay.setIcon(icon("stop" if playing else "run"))
        self._list_stages(shown)
        self._position.setText(self._describe(shown) if shown is not None else "No pictures yet")
        error = self._timeline.error
        self._message.setText(error.cause if error is not None else "")
        self._message.setVisible(error is not None)

    def _list_stages(self, shown: Position | None) -> None:
        """List the stages with pictures, and draw the choice and the slider in the colour of the shown one."""
        stages = list(dict.fromkeys(position.stage for position in self._timeline.positions))
        if [self._stage.itemData(index) for index in range(self._stage.count())] != stages:
            self._stage.clear()
            for stage in stages:
                self._stage.addItem(role_label(stage), stage)
        for index, stage in enumerate(stages):
            self._stage.setItemData(index, QColor(role_colour(stage)), Qt.ItemDataRole.ForegroundRole)
        self._stage.setEnabled(bool(stages))
        self._stage.setCurrentIndex(stages.index(shown.stage) if shown is not None else -1)
        colour = role_colour(shown.stage) if shown is not None else ""
        self._stage.setStyleSheet(f"QComboBox {{ color: {colour}; }}" if colour else "")
        parts = f"QSlider::sub-page {{ background: {colour}; }} QSlider::handle {{ border-color: {colour}; }}"
        self._slider.setStyleSheet(parts if colour and self._slider.isEnabled() else "")

    def _describe(self, position: Position) -> str:
        if position.final:
            return f"Step {position.step:,}, kept"
        view = self._studio.view
        plan = view.plan(self._studio.seed, position.stage) if view is not None else None
        return f"Step {position.step:,}{f' of {plan.steps:,}' if plan is not None else ''}"

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._label.setVisible(self.width() >= scaled(_NARROW))
