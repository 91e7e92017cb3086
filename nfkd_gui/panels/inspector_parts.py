"""Parts of the inspector below its table: settings, how to repeat the run, and the newest events."""

from __future__ import annotations

import time

from PySide6.QtCore import QSize, Qt, QUrl, Signal
from PySide6.QtGui import QColor, QDesktopServices, QGuiApplication, QPainter, QPaintEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget

from nfkd.protocol.events import LogLine
from nfkd.protocol.view import RunView
from nfkd.text import plain
from nfkd_gui.model.run_report import events_of, repeat_command, settings_of, versions_of
from nfkd_gui.theme import role_colour, scaled, set_space, tokens
from nfkd_gui.widgets.file_target import machine_of
from nfkd_gui.widgets.labels import ElidedLabel, Tone, ToneLabel, TypeLabel, WrappedLabel, tip, tone_colour

_DOT = 8
_TONES: dict[str, Tone] = {"warning": "warning", "error": "error"}


class SettingsPart(QWidget):
    """Names and values of the main settings."""

    def __init__(self, name: str, parent: QWidget) -> None:
        super().__init__(parent)
        self._name = name
        self._shown: list[tuple[str, str]] = []
        self._grid = QGridLayout(self)
        set_space(self._grid, 8)
        self._grid.setColumnStretch(1, 1)

    def show_run(self, view: RunView) -> None:
        """Show a run's settings."""
        settings = [("Settings", ""), *settings_of(view), ("Made with", versions_of(view))]
        if settings == self._shown:
            return
        self._shown = settings
        _clear(self._grid)
        self._grid.addWidget(TypeLabel("strong", "Settings", self), 0, 0, 1, 2)
        for number, (title, value) in enumerate(settings[1:], start=1):
            text = WrappedLabel(value, "plain", self)
            text.setObjectName(f"{self._name}.{title.lower().replace(' ', '_')}")
            text.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
            self._grid.addWidget(ToneLabel(title, parent=self), number, 0, Qt.AlignmentFlag.AlignTop)
            self._grid.addWidget(text, number, 1)


class RepeatPart(QWidget):
    """The command that repeats a run, and the run's folder."""

    def __init__(self, name: str, parent: QWidget) -> None:
        super().__init__(parent)
        self._run = ""
        self._command = QLineEdit(self)
        self._command.setObjectName(f"{name}.command")
        self._command.setAccessibleName("Command that repeats the run")
        self._command.setReadOnly(True)
        copy = QPushButton("Copy", self)
        copy.setObjectName(f"{name}.copy")
        copy.setAccessibleName("Copy the command")
        copy.clicked.connect(self._copy)
        self._folder = QPushButton("Open folder", self)
        self._folder.setObjectName(f"{name}.folder")
        self._folder.setProperty("link", True)
        self._folder.clicked.connect(self._open)
        head, line = QHBoxLayout(), QHBoxLayout()
        set_space(head, 8)
        head.addWidget(TypeLabel("strong", "Repeat this run", self), 1)
        head.addWidget(self._folder)
        set_space(line, 8)
        line.addWidget(self._command, 1)
        line.addWidget(copy)
        column = QVBoxLayout(self)
        set_space(column, 4)
        column.addLayout(head)
        column.addLayout(line)
        about = "On the CPU and with the same versions, it gives the same numbers."
        column.addWidget(WrappedLabel(about, parent=self))

    def show_run(self, view: RunView) -> None:
        """Show the command of a run."""
        machine = machine_of(self)
        self._folder.setEnabled(not machine)
        self._run, command = view.row.run, plain(repeat_command(view))
        if command != self._command.text():
            self._command.setText(command)
            self._command.setCursorPosition(0)
        self._folder.setToolTip(tip(f"The folder is on {machine}: {self._run}" if machine else self._run))

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self._command.text())

    def _open(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(self._run))


class EventsPart(QWidget):
    """The newest lines of a run's log, with the colour of their flow, and a link to the log."""

    log_wanted = Signal()

    def __init__(self, name: str, parent: QWidget) -> None:
        super().__init__(parent)
        self._name = name
        self._shown: list[LogLine] = []
        link = QPushButton("Log ›", self)
        link.setObjectName(f"{name}.log")
        link.setAccessibleName("Open the log")
        link.setProperty("link", True)
        link.clicked.connect(self.log_wanted)
        head = QHBoxLayout()
        head.addWidget(TypeLabel("strong", "Events", self), 1)
        head.addWidget(link)
        self._grid = QGridLayout()
        set_space(self._grid, 8)
        self._grid.setColumnStretch(2, 1)
        column = QVBoxLayout(self)
        set_space(column, 8)
        column.addLayout(head)
        column.addLayout(self._grid)

    def show_run(self, view: RunView) -> None:
        """Show a run's events; hidden without any."""
        lines = events_of(view)
        self.setVisible(bool(lines))
        if lines == self._shown:
            return
        self._shown = lines
        _clear(self._grid)
        for row, line in enumerate(lines):
            clock = ToneLabel(time.strftime("%H:%M", time.localtime(line.time)), parent=self)
            text = ElidedLabel(line.text, _TONES.get(line.level, "plain"), self)
            text.setObjectName(f"{self._name}.event.{row}")
            self._grid.addWidget(clock, row, 0)
            self._grid.addWidget(_Dot(line, self), row, 1)
            self._grid.addWidget(text, row, 2)


class _Dot(QWidget):
    """A dot in the colour of a line's flow, or of its level."""

    def __init__(self, line: LogLine, parent: QWidget) -> None:
        super().__init__(parent)
        self._line = line

    def sizeHint(self) -> QSize:
        return QSize(scaled(_DOT), scaled(_DOT))

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(line_colour(self._line))
        size = scaled(_DOT)
        painter.drawEllipse(0, (self.height() - size) // 2, size, size)
        painter.end()


def line_colour(line: LogLine) -> QColor:
    """Return the colour of a line of the log: of its level, or of the flow in training."""
    if line.level in _TONES:
        return tone_colour(_TONES[line.level])
    return QColor(role_colour(line.stage) if line.stage else tokens().control)


def _clear(grid: QGridLayout) -> None:
    while (item := grid.takeAt(0)) is not None:
        widget = item.widget()
        if widget is not None:
            widget.hide()
            widget.deleteLater()
