"""The log panel: messages of the engine and the runs, with time and run name."""

from __future__ import annotations

import time
from collections import deque

from PySide6.QtCore import Qt
from PySide6.QtGui import QFontDatabase, QGuiApplication, QTextCharFormat
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from nfkd.protocol.events import LogLine
from nfkd.text import plain, plain_lines
from nfkd_gui.model.studio import Studio
from nfkd_gui.widgets.labels import Tone, tone_colour

_LINES = 5000
_TONES: dict[str, Tone] = {"warning": "warning", "error": "error"}


class LogPanel(QWidget):
    """Shows new log lines, and the stored lines of an opened run."""

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._studio = studio
        self._lines: deque[LogLine] = deque(maxlen=_LINES)
        self._text = QPlainTextEdit(self)
        self._text.setObjectName("log.text")
        self._text.setAccessibleName("Log")
        self._text.setReadOnly(True)
        self._text.setMaximumBlockCount(_LINES)
        self._text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self._text.setFrameShape(QPlainTextEdit.Shape.NoFrame)
        self._text.setPlaceholderText("Messages of the engine and the runs appear here.")
        self._only_problems = QCheckBox("&Warnings and errors only", self)
        self._only_problems.setToolTip("Hide informational lines.")
        self._only_problems.toggled.connect(self._refill)
        copy = QPushButton("&Copy all", self)
        copy.setToolTip("Copy the visible lines to the clipboard.")
        copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(self._text.toPlainText()))
        line = QHBoxLayout()
        line.setContentsMargins(8, 0, 8, 0)
        line.addWidget(self._only_problems)
        line.addStretch(1)
        line.addWidget(copy)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setSpacing(4)
        layout.addWidget(self._text, 1)
        layout.addLayout(line)
        studio.log_added.connect(self.add)
        studio.view_changed.connect(self._add_lines_of_run)
        studio.theme_changed.connect(self._refill, Qt.ConnectionType.QueuedConnection)

    def add(self, line: LogLine) -> None:
        """Append a line."""
        self._lines.append(line)
        self._show(line)

    def _add_lines_of_run(self) -> None:
        view = self._studio.view
        if view is None:
            return
        known = {(line.run, line.time, line.text) for line in self._lines}
        new = [line for line in view.log if (line.run, line.time, line.text) not in known]
        if new:
            self._lines = deque(sorted([*self._lines, *new], key=lambda line: line.time), maxlen=_LINES)
            self._refill()

    def _refill(self) -> None:
        self._text.clear()
        for line in self._lines:
            self._show(line)

    def _show(self, line: LogLine) -> None:
        if self._only_problems.isChecked() and line.level == "info":
            return
        clock = time.strftime("%H:%M:%S", time.localtime(line.time))
        name = line.run.replace("\\", "/").rstrip("/").rpartition("/")[2] or "engine"
        colour = QTextCharFormat()
        if line.level in _TONES:
            colour.setForeground(tone_colour(_TONES[line.level]))
        self._text.setCurrentCharFormat(colour)
        text = plain_lines(line.text).replace("\n", "\n    ")  # indent, so that no line looks like a log entry
        self._text.appendPlainText(f"{clock}  {plain(name)}  {text}")
