"""The log panel: messages of the engine and the runs, with time, run and stage."""

from __future__ import annotations

import time
from collections import deque

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QTextCharFormat
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLineEdit, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from nfkd.protocol.events import LogLine
from nfkd.protocol.roles import role_name
from nfkd.text import plain, plain_lines
from nfkd_gui.model.csv_files import Table, log_table
from nfkd_gui.model.studio import Studio
from nfkd_gui.theme import set_space, set_type
from nfkd_gui.widgets.exportable import Exportable
from nfkd_gui.widgets.labels import Tone, tone_colour

_LINES = 5000
_TONES: dict[str, Tone] = {"info": "plain", "warning": "warning", "error": "error"}
_LEVELS = {
    "All messages": ("info", "warning", "error"),
    "Warnings and errors": ("warning", "error"),
    "Errors": ("error",),
}


class LogPanel(QWidget, Exportable):
    """Shows new log lines, and the stored lines of an opened run.

    It follows the newest line while its end is visible, and stays where the user has scrolled to otherwise.
    """

    has_numbers = True

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("log")
        self._studio = studio
        self._lines = deque(studio.log, maxlen=_LINES)
        self._text = QPlainTextEdit(self)
        self._text.setObjectName("log.text")
        self._text.setAccessibleName("Log")
        self._text.setReadOnly(True)
        self._text.setMaximumBlockCount(_LINES)
        set_type(self._text, "code")
        self._text.setFrameShape(QPlainTextEdit.Shape.NoFrame)
        self._text.setPlaceholderText("Messages of the engine and the runs appear here.")
        self._level = QComboBox(self)
        self._level.setObjectName("log.level")
        self._level.setAccessibleName("Levels that are shown")
        self._level.addItems(list(_LEVELS))
        self._level.currentIndexChanged.connect(self._refill)
        self._find = QLineEdit(self)
        self._find.setObjectName("log.filter")
        self._find.setAccessibleName("Filter the log")
        self._find.setPlaceholderText("Filter")
        self._find.setToolTip("Shows lines that have all of these words.")
        self._find.setClearButtonEnabled(True)
        self._find.textChanged.connect(self._refill)
        self._lay_out()
        studio.log_added.connect(self.add)
        studio.view_changed.connect(self._add_lines_of_run)
        studio.theme_changed.connect(self._refill, Qt.ConnectionType.QueuedConnection)
        self._refill()
        self._add_lines_of_run()

    def _lay_out(self) -> None:
        copy = QPushButton("&Copy all", self)
        copy.setObjectName("log.copy")
        copy.setToolTip("Copy the lines that are shown.")
        copy.clicked.connect(self._copy)
        line = QHBoxLayout()
        set_space(line, 8, 8, 8, 8, 4)
        line.addWidget(self._level)
        line.addWidget(self._find, 1)
        line.addWidget(copy)
        layout = QVBoxLayout(self)
        set_space(layout, 0)
        layout.addLayout(line)
        layout.addWidget(self._text, 1)

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

    # --- for the menu ---------------------------------------------------------------------------------------------

    def figure(self) -> QWidget | None:
        return self._text if self._lines else None

    def numbers(self) -> dict[str, Table]:
        return {"Log": log_table([line for line in self._lines if self._is_shown(line)])} if self._lines else {}

    # --- lines ----------------------------------------------------------------------------------------------------

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self._text.toPlainText())

    def _refill(self) -> None:
        """Show all lines again, at the same place unless the newest is followed."""
        bar = self._text.verticalScrollBar()
        follows, before = bar.value() >= bar.maximum(), bar.value()
        self._text.clear()
        for line in self._lines:
            self._show(line)
        bar.setValue(bar.maximum() if follows else min(before, bar.maximum()))

    def _is_shown(self, line: LogLine) -> bool:
        text = _format(line).casefold()
        words = self._find.text().casefold().split()
        return line.level in _LEVELS[self._level.currentText()] and all(word in text for word in words)

    def _show(self, line: LogLine) -> None:
        if not self._is_shown(line):
            return
        colour = QTextCharFormat()
        colour.setForeground(tone_colour(_TONES[line.level]))
        self._text.setCurrentCharFormat(colour)
        self._text.appendPlainText(_format(line))


def _format(line: LogLine) -> str:
    """Return a line with its time, run, level and stage."""
    clock = time.strftime("%H:%M:%S", time.localtime(line.time))
    name = line.run.replace("\\", "/").rstrip("/").rpartition("/")[2] or "engine"
    level = "" if line.level == "info" else f"{line.level}: "
    stage = f"  {role_name(line.stage)} {line.seed}" if line.stage else ""
    text = plain_lines(line.text).replace("\n", "\n    ")  # indent, so that no line looks like a log entry
    return f"{clock}  {plain(name)}{stage}  {level}{text}"
