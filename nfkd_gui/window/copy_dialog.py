"""The dialog that copies runs of another machine to this one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QDialog, QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.run_rows import RunRow
from nfkd.remote.hosts import EngineHost
from nfkd.text import plain
from nfkd_gui.forms.path_box import PathBox
from nfkd_gui.model.run_copier import RunCopier
from nfkd_gui.model.run_states import LIVE
from nfkd_gui.model.studio import Studio
from nfkd_gui.theme import limit_size, set_space
from nfkd_gui.widgets.file_target import set_machine
from nfkd_gui.widgets.labels import FittedLabel, Tone, WrappedLabel

_LONGEST = 60
_FINE = 1000
"""Steps of the progress bar."""
_MIB = 1 << 20


class CopyDialog(QDialog):
    """Asks for a folder of this machine, copies runs into it, and offers to open the first one.

    Closing it cancels the copy.

    Parameters
    ----------
    host
        The machine of the runs.
    rows
        The runs, at least one.
    """

    open_wanted = Signal(str)
    """The user wants to open a copy, given by its directory, with the engine of this machine."""

    def __init__(self, studio: Studio, host: EngineHost, rows: Sequence[RunRow], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setObjectName("copy")
        self.setWindowTitle("Copy to this machine")
        set_machine(self, "")
        self._studio, self._host, self._rows = studio, host, list(rows)
        self._names = {row.run: plain(row.name, _LONGEST) for row in rows}
        self._current = ""
        self._copies: list[str] = []
        self.copier = RunCopier(studio.machines, self)
        what = f"“{self._names[rows[0].run]}”" if len(rows) == 1 else f"{len(rows):,} runs"
        self._title = FittedLabel(
            f"Copy {what} from {plain(host.name, _LONGEST)} into a folder of this machine:", "plain"
        )
        self._folder = PathBox("folder", title="Folder", parent=self)
        self._folder.setAccessibleName("Folder on this machine")
        self._folder.set_value(studio.preferences.runs_folder)
        self._bar = QProgressBar(self)
        self._bar.setTextVisible(False)
        self._bar.setRange(0, _FINE)
        self._bar.setAccessibleName("Progress of the copy")
        self._status = WrappedLabel(parent=self)
        self._status.setObjectName("copy.status")
        self._start = self._button("start", "&Copy", primary=True)
        self._open = self._button("open", "&Open here", primary=True)
        self._open.setToolTip("Use the engine of this machine, and show the copy.")
        self._close = self._button("close", "Cancel")
        self._start.clicked.connect(self.start)
        self._open.clicked.connect(self._open_copy)
        self._close.clicked.connect(self.reject)
        self._folder.changed.connect(self._check)
        self.finished.connect(self.copier.cancel)
        self._connect()
        self._lay_out()
        self._check()

    def _button(self, name: str, text: str, *, primary: bool = False) -> QPushButton:
        button = QPushButton(text, self)
        button.setObjectName(f"copy.{name}")
        button.setProperty("primary", primary)
        return button

    def _connect(self) -> None:
        copier = self.copier
        copier.began.connect(self._show_run)
        copier.progressed.connect(self._show_progress)
        copier.waited.connect(lambda reason: self._say(f"{reason}. The copy goes on when it is back."))
        copier.copied.connect(self._note_copy)
        copier.failed.connect(self._show_error)
        copier.ended.connect(self._show_end)

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        set_space(buttons, 8)
        buttons.addStretch(1)
        for button in (self._start, self._open, self._close):
            buttons.addWidget(button)
        column = QVBoxLayout(self)
        set_space(column, 12, 16)
        for widget in (self._title, self._folder, self._bar, self._status):
            column.addWidget(widget)
        column.addStretch(1)
        column.addLayout(buttons)
        limit_size(self, least=(480, 0))
        self._bar.hide()
        self._open.hide()

    def _check(self) -> None:
        folder = Path(self._folder.value().strip()).expanduser()
        fits = bool(self._folder.value().strip()) and folder.is_absolute()
        self._start.setEnabled(fits)
        self._say("" if fits else "Enter the absolute path of a folder.", "muted" if fits else "error")

    # --- the copy -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the copy."""
        folder = Path(self._folder.value().strip()).expanduser()
        for widget in (self._start, self._folder):
            widget.setEnabled(False)
        self._bar.show()
        runs = [row.run for row in self._rows]
        self._say(f"Connecting to {plain(self._host.name, _LONGEST)} …")
        self.copier.start(self._host, str(self._studio.listed_folder), runs, folder)

    def _show_run(self, run: str) -> None:
        self._current = self._names.get(run, "")
        self._bar.setValue(0)

    def _show_progress(self, done: int, total: int) -> None:
        self._bar.setValue(round(_FINE * done / total) if total else _FINE)
        self._say(f"{self._current}: {done / _MIB:,.1f} of {total / _MIB:,.1f} MiB")

    def _note_copy(self, directory: str) -> None:
        self._copies.append(directory)

    def _show_error(self, error: ErrorInfo) -> None:
        self._say(f"{error.title}. {error.cause} {error.action}".strip(), "error")

    def _show_end(self) -> None:
        self._start.hide()
        self._open.setVisible(bool(self._copies))
        self._close.setText("Close")
        button = self._open if self._copies else self._close
        button.setDefault(True)
        button.setFocus()
        if len(self._copies) == len(self._rows):
            what = "" if len(self._rows) == 1 else f"{len(self._rows):,} runs "
            where = self._copies[0] if len(self._rows) == 1 else str(Path(self._copies[0]).parent)
            self._say(f"Copied {what}to {plain(where)}{self._describe_training()}", "good")

    def _describe_training(self) -> str:
        """Say what the copies of runs in training are; empty if there are none."""
        count = sum(row.state in LIVE for row in self._rows)
        if not count:
            return ""
        begin = "The run was in training" if len(self._rows) == 1 else f"{count:,} of them were in training"
        return f"\n{begin}: the copy has its state of this moment, and can be resumed."

    def _open_copy(self) -> None:
        self.open_wanted.emit(self._copies[0])
        self.accept()

    def _say(self, text: str, tone: Tone = "muted") -> None:
        self._status.set_tone(tone)
        self._status.setText(text)
        self._status.setVisible(bool(text))
