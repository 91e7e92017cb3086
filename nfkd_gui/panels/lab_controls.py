"""The controls of the lab: play, step, restart, speed, and what the planes show."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker
from PySide6.QtWidgets import QCheckBox, QFrame, QPushButton, QVBoxLayout, QWidget

from nfkd.config.lab import LabSection
from nfkd_gui.model.lab import LabModel
from nfkd_gui.theme import set_icon_size, set_space
from nfkd_gui.widgets.flow_layout import ControlBar
from nfkd_gui.widgets.icons import icon
from nfkd_gui.widgets.labels import ToneLabel
from nfkd_gui.widgets.switch import Switch

SPEEDS = {"slow": ("Slow", ""), "normal": ("1×", ""), "quick": ("4×", ""), "full": ("Fast", "")}
_SPEED_HELPS = {
    "slow": "2 steps a second.", "normal": "20 steps a second.", "quick": "80 steps a second.",
    "full": "As many steps a second as possible.",
}  # fmt: skip
SHOWN = {"density": ("Density", ""), "samples": ("Samples", "")}
_SHOWN_HELPS = {
    "density": "The density of each flow.",
    "samples": "Points that each flow draws, all from the same noise.",
}
_PARTS = ("grid", "data", "arrows", "contours")


class LabControls(QFrame):
    """Plays the lab, and chooses what the planes show."""

    def __init__(self, lab: LabModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lab = lab
        self.play = self._button("play", "Play")
        self.play.setProperty("primary", True)
        self.play.clicked.connect(lab.toggle)
        self.step = self._button("step", "One step")
        self.step.setToolTip("Make one step of training, and pause.")
        self.step.clicked.connect(self._one_step)
        self.restart = self._button("restart", "Restart")
        self.restart.setToolTip("Start the students anew, and a teacher that is trained together with them.")
        self.restart.clicked.connect(self._restart)
        self.speed = Switch("lab.speed", SPEEDS, self, helps=_SPEED_HELPS)
        self.speed.chosen.connect(self._choose_speed)
        self.shown = Switch("lab.show", SHOWN, self, helps=_SHOWN_HELPS)
        self.shown.chosen.connect(self._choose_shown)
        self.boxes = {name: self._box(name) for name in _PARTS}
        bar = ControlBar(8, self)
        for widget in (self.play, self.step, self.restart):
            bar.add(widget)
        bar.add(ToneLabel("Speed", parent=self), self.speed)
        bar.add(ToneLabel("Show", parent=self), self.shown)
        for box in self.boxes.values():
            bar.add(box)
        column = QVBoxLayout(self)
        set_space(column, 0, 12, 9, 12, 9)
        column.addWidget(bar)
        self.restyle()

    def _button(self, name: str, text: str) -> QPushButton:
        button = QPushButton(text, self)
        button.setObjectName(f"lab.{name}")
        button.setAccessibleName(text)
        set_icon_size(button, 16)
        return button

    def _box(self, name: str) -> QCheckBox:
        box = QCheckBox(str(LabSection.model_fields[name].title), self)
        box.setObjectName(f"lab.{name}")
        box.setToolTip(_help(name))
        box.toggled.connect(self._switch)
        return box

    # --- by the user --------------------------------------------------------------------------------------------------

    def _one_step(self) -> None:
        self._lab.control("step")

    def _restart(self) -> None:
        self._lab.control("restart")

    def _choose_speed(self, speed: str) -> None:
        self._lab.set_values({"lab.speed": speed})

    def _choose_shown(self, shown: str) -> None:
        self._lab.set_values({"lab.show": shown})

    def _switch(self, on: bool) -> None:
        name = next(name for name, box in self.boxes.items() if box is self.sender())
        self._lab.set_values({f"lab.{name}": on})

    # --- what is shown ------------------------------------------------------------------------------------------------

    def show_state(self) -> None:
        """Show what the state says."""
        look = self._lab.state.lab
        self.speed.show_state(look.speed, list(SPEEDS))
        self.shown.show_state(look.show, list(SHOWN))
        for name, box in self.boxes.items():
            with QSignalBlocker(box):
                box.setChecked(getattr(look, name))

    def show_frame(self) -> None:
        """Show how far the training is."""
        frame, playing = self._lab.frame, self._lab.playing
        text = "Pause" if playing else "Play"
        if self.play.text() != text:
            self.play.setText(text)
            self.play.setAccessibleName(text)
            self.restyle()
        done = frame is not None and frame.phase == "done"
        self.play.setEnabled(not done)
        self.step.setEnabled(not done)
        help_ = "All steps are made: restart, or set a larger budget." if done else f"{text} the training (Space)."
        self.play.setToolTip(help_)

    def restyle(self) -> None:
        """Apply the current theme."""
        self.play.setIcon(icon("pause" if self._lab.playing else "run", on_fill=True))
        self.step.setIcon(icon("step"))
        self.restart.setIcon(icon("restart"))


def _help(name: str) -> str:
    return str(LabSection.model_fields[name].description)
