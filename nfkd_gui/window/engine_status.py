"""The engine's state in the status bar, with a restart button when it is lost."""

from __future__ import annotations

from PySide6.QtWidgets import QHBoxLayout, QPushButton, QWidget

from nfkd_gui.link.connection import EngineState
from nfkd_gui.model.studio import Studio
from nfkd_gui.theme import set_space
from nfkd_gui.widgets.labels import PlainLabel, Tone, ToneLabel, tip


class EngineStatusLabel(QWidget):
    """A text, a coloured dot and a restart button for the engine's state."""

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._studio = studio
        self._message = PlainLabel(parent=self)
        self._message.setObjectName("engine.message")
        self._dot = ToneLabel("●", parent=self)
        self.restart = QPushButton("&Restart engine", self)
        self.restart.setObjectName("engine.restart")
        self.restart.setToolTip("Start the engine again and connect to it.")
        self.restart.clicked.connect(studio.start)
        line = QHBoxLayout(self)
        set_space(line, 8, 8, 0, 8, 0)
        for widget in (self._dot, self._message, self.restart):
            line.addWidget(widget)
        studio.engine_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the current state."""
        message, tone, details = describe_engine(self._studio.engine)
        self._message.setText(message)
        self._dot.set_tone(tone)
        for widget in (self._message, self._dot):
            widget.setToolTip(tip(details))
        self._dot.setAccessibleName(message)
        self.restart.setVisible(self._studio.engine.phase == "lost")


def describe_engine(state: EngineState) -> tuple[str, Tone, str]:
    """Return the text, its tone and the tooltip."""
    status = state.status
    match state.phase:
        case "ready" if status is not None:
            details = (
                f"NFKD {status.version}, torch {status.torch}, {status.device_name or status.device}, "
                f"{status.threads} threads, process {status.pid}"
            )
            threads = f"{status.threads} {'thread' if status.threads == 1 else 'threads'}"
            device = f"CPU, {threads}" if status.device == "cpu" else status.device_name or status.device
            return f"Engine on this machine · {device}", "good", details
        case "lost":
            return "Engine lost", "error", state.error.cause if state.error else ""
        case _:
            return "Engine is starting …", "warning", "The engine is starting; this takes a few seconds."
