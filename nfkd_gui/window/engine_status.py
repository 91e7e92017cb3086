"""How the engine is, in the status bar; where it is lost, a button that starts it again."""

from __future__ import annotations

from PySide6.QtWidgets import QHBoxLayout, QPushButton, QWidget

from nfkd_gui.link.connection import EngineState
from nfkd_gui.model.studio import Studio
from nfkd_gui.widgets.labels import PlainLabel, Tone, ToneLabel, tip


class EngineStatusLabel(QWidget):
    """Words and a light for the engine's state."""

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._studio = studio
        self._words = PlainLabel(parent=self)
        self._words.setObjectName("engine.words")
        self._light = ToneLabel("●", parent=self)
        self.restart = QPushButton("&Restart engine", self)
        self.restart.setObjectName("engine.restart")
        self.restart.setToolTip("Start the engine again and connect to it.")
        self.restart.clicked.connect(studio.start)
        line = QHBoxLayout(self)
        line.setContentsMargins(8, 0, 8, 0)
        line.setSpacing(8)
        for widget in (self._words, self._light, self.restart):
            line.addWidget(widget)
        studio.engine_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the state as it is now."""
        words, tone, about = describe_engine(self._studio.engine)
        self._words.setText(words)
        self._light.set_tone(tone)
        for widget in (self._words, self._light):
            widget.setToolTip(tip(about))
        self._light.setAccessibleName(words)
        self.restart.setVisible(self._studio.engine.phase == "lost")


def describe_engine(state: EngineState) -> tuple[str, Tone, str]:
    """Return the words, the colour of the light and the tooltip."""
    status = state.status
    match state.phase:
        case "ready" if status is not None:
            tip = (
                f"NFKD {status.version}, torch {status.torch}, {status.device_name or status.device}, "
                f"{status.threads} threads, process {status.pid}"
            )
            return f"engine: this machine, {status.device} · ok", "good", tip
        case "lost":
            return "engine: gone", "error", state.error.cause if state.error else ""
        case _:
            return "engine: starting …", "warning", "The engine loads; this takes a few seconds."
