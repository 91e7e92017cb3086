"""The engine's state in the status bar, with a button that restores a lost connection."""

from __future__ import annotations

from PySide6.QtWidgets import QHBoxLayout, QPushButton, QWidget

from nfkd.protocol.requests import EngineStatus
from nfkd.text import plain
from nfkd_gui.link.connection import EngineState
from nfkd_gui.model.studio import Studio
from nfkd_gui.theme import set_space
from nfkd_gui.widgets.labels import PlainLabel, Tone, ToneLabel, tip

_LONGEST = 40
"""Characters of a machine's name."""


class EngineStatusLabel(QWidget):
    """A text, a coloured dot and a button for the engine's state, and a note while the line to it is slow."""

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._studio = studio
        self._slow = ToneLabel("Slow connection: pictures are thinned", "warning", self)
        self._slow.setObjectName("engine.slow")
        self._message = PlainLabel(parent=self)
        self._message.setObjectName("engine.message")
        self._dot = ToneLabel("●", parent=self)
        self.restart = QPushButton("&Restart engine", self)
        self.restart.setObjectName("engine.restart")
        self.restart.clicked.connect(studio.start)
        self.now = QPushButton("&Try now", self)
        self.now.setObjectName("engine.now")
        self.now.setToolTip("Connect now, without waiting.")
        self.now.clicked.connect(studio.connection.try_now)
        line = QHBoxLayout(self)
        set_space(line, 8, 8, 0, 8, 0)
        for widget in (self._slow, self._dot, self._message, self.restart, self.now):
            line.addWidget(widget)
        studio.engine_changed.connect(self.refresh)
        studio.machines.changed.connect(self.refresh)
        studio.connection.counted.connect(self._count)
        studio.line_speed.changed.connect(self._show_speed)
        self.refresh()
        self._show_speed()

    def refresh(self) -> None:
        """Show the current state."""
        studio, host = self._studio, self._studio.machines.host
        message, tone, details = describe_engine(studio.engine, host.name if host is not None else "")
        self._message.setText(message)
        self._dot.set_tone(tone)
        for widget in (self._message, self._dot):
            widget.setToolTip(tip(details))
        self._dot.setAccessibleName(message)
        self.restart.setText("&Try again" if host is not None else "&Restart engine")
        self.restart.setToolTip("Start the engine again and connect to it.")
        self.restart.setVisible(studio.engine.phase == "lost")
        self.now.setVisible(studio.engine.phase == "waiting")

    def _count(self, seconds: int) -> None:
        if self._studio.engine.phase == "waiting":
            self._message.setText(
                f"{plain(self._studio.machines.label, _LONGEST)}: connection lost, next try in {seconds} s"
            )

    def _show_speed(self) -> None:
        speed = self._studio.line_speed
        self._slow.setVisible(speed.slow)
        if speed.slow:
            text = "The engine skips pictures that newer ones replace; curves and results are complete."
            self._slow.setToolTip(tip(f"{speed.details()}\n{text}"))


def describe_device(status: EngineStatus) -> str:
    """Return the device of an engine, such as ``CPU, 8 threads``."""
    threads = f"{status.threads} {'thread' if status.threads == 1 else 'threads'}"
    return f"CPU, {threads}" if status.device == "cpu" else status.device_name or status.device


def describe_engine(state: EngineState, machine: str = "") -> tuple[str, Tone, str]:
    """Return the text, its tone and the tooltip; `machine` is the name of another machine than this one."""
    status, name = state.status, plain(machine, _LONGEST) or "this machine"
    reason = f"{state.error.title}. {state.error.cause}" if state.error is not None else ""
    match state.phase:
        case "ready" if status is not None:
            details = (
                f"NFKD {status.version}, torch {status.torch}, {status.device_name or status.device}, "
                f"{status.threads} threads, process {status.pid}"
            )
            return f"Engine on {name} · {describe_device(status)}", "good", details
        case "waiting":
            return f"{name}: connection lost", "warning", f"{reason}\nA run there continues."
        case "lost" if machine:
            return f"Not connected to {name}", "error", reason
        case "lost":
            return "Engine lost", "error", state.error.cause if state.error else ""
        case _ if machine:
            return f"{'Reconnecting' if state.reconnecting else 'Connecting'} to {name} …", "warning", reason
        case _:
            return "Engine is starting …", "warning", "The engine is starting; this takes a few seconds."
