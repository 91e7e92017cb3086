"""The fields of an engine on another machine, with a test of the connection."""

from __future__ import annotations

from collections.abc import Collection

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import EngineStatus
from nfkd.remote.hosts import DEFAULT_COMMAND, DEFAULT_FOLDER, EngineHost, host_problems
from nfkd.text import plain
from nfkd_gui.model.engine_test import EngineTest
from nfkd_gui.model.machines import THIS_MACHINE, Machines
from nfkd_gui.theme import limit_size, set_space
from nfkd_gui.widgets.dialogs import without_icons
from nfkd_gui.widgets.labels import FittedLabel, Tone, WrappedLabel
from nfkd_gui.window.engine_status import describe_device

_FIELDS = {
    "name": ("&Name", "the host, if empty", "The name in menus and for `nfkd --engine NAME`."),
    "host": (
        "&Host",
        "user@host, or an alias of ~/.ssh/config",
        "What ssh connects to: host, user@host, ssh://user@host:port, or an alias of ~/.ssh/config.",
    ),
    "command": ("&Command", DEFAULT_COMMAND, "The Python there that has NFKD; it may begin with ~/."),
    "folder": ("&Folder", DEFAULT_FOLDER, "The folder of runs there."),
}
"""Label, placeholder and help of each field."""
_LONGEST = 80
"""Characters of a name."""
_ABOUT = (
    "The machine needs the same version of NFKD. The studio uses ssh of this system, with its keys, agent and "
    "settings. Connect once in a terminal first: the key of the host must be known, and a password cannot be entered "
    "here."
)


class EngineDialog(QDialog):
    """Edits an `EngineHost`.

    Parameters
    ----------
    machines
        Makes the client of the test.
    host
        The engine to change; None for a new one.
    taken
        Names of the other engines.
    """

    decided = Signal(object)
    """The `EngineHost` that the user accepted."""

    def __init__(
        self, machines: Machines, host: EngineHost | None, taken: Collection[str], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setObjectName("engine.dialog")
        self.setWindowTitle("Engine on another machine")
        self._taken = {*taken, THIS_MACHINE}
        self._touched = set(_FIELDS) if host is not None else set[str]()
        self._lines = {name: self._line(name, getattr(host, name, "")) for name in _FIELDS}
        self._problem = WrappedLabel(tone="error", parent=self)
        self._problem.setObjectName("engine.problem")
        self._tester = EngineTest(machines, self)
        self._tester.found.connect(self._show_found)
        self._tester.failed.connect(self._show_failed)
        self._test = QPushButton("&Test connection", self)
        self._test.setObjectName("engine.test")
        self._test.clicked.connect(self._start_or_cancel)
        self._result = WrappedLabel(parent=self)
        self._result.setObjectName("engine.result")
        self._buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel, parent=self
        )
        without_icons(self._buttons)
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)
        self.finished.connect(self._tester.cancel)
        self._lay_out()
        self._check()

    def _line(self, name: str, value: str) -> QLineEdit:
        _, placeholder, help_ = _FIELDS[name]
        line = QLineEdit(value, self)
        line.setObjectName(f"engine.{name}")
        line.setPlaceholderText(placeholder)
        line.setToolTip(help_)
        line.textEdited.connect(lambda _text: self._edited(name))
        return line

    def _lay_out(self) -> None:
        form = QFormLayout()
        set_space(form, 8, across=16)
        for name, line in self._lines.items():
            form.addRow(_FIELDS[name][0], line)
        form.addRow("", self._problem)
        row = QHBoxLayout()
        set_space(row, 8)
        row.addWidget(self._test)
        row.addStretch(1)
        form.addRow("", row)
        form.addRow("", self._result)
        layout = QVBoxLayout(self)
        set_space(layout, 16, 16)
        layout.addWidget(FittedLabel(_ABOUT, parent=self))
        layout.addLayout(form)
        layout.addStretch(1)
        layout.addWidget(self._buttons)
        limit_size(self, least=(520, 0))

    # --- the fields -----------------------------------------------------------------------------------------------

    def _values(self) -> dict[str, str]:
        values = {name: line.text().strip() for name, line in self._lines.items()}
        name, command = values["name"] or values["host"][:_LONGEST], values["command"] or DEFAULT_COMMAND
        return values | {"name": name, "command": command}

    def _edited(self, name: str) -> None:
        self._touched.add(name)
        self._tester.cancel()
        self._show_result("", "muted")
        self._check()

    def _check(self) -> None:
        """Show the first problem of a field that was edited."""
        values = self._values()
        problems = {problem.path: problem.message for problem in host_problems(**values)}
        if values["name"] in self._taken:
            problems["name"] = "is the name of another engine"
        shown = [f"{name.capitalize()}: {text}." for name, text in problems.items() if name in self._touched]
        self._problem.setText(shown[0] if shown else "")
        self._problem.setVisible(bool(shown))
        self._buttons.button(QDialogButtonBox.StandardButton.Ok).setEnabled(not problems)
        self._test.setEnabled(problems.keys() <= {"name"})

    def accept(self) -> None:
        self.decided.emit(EngineHost(**self._values()))
        super().accept()

    # --- the test -------------------------------------------------------------------------------------------------

    def _start_or_cancel(self) -> None:
        if self._tester.runs:
            self._tester.cancel()
            self._show_result("The test was cancelled.", "muted")
            return
        host = EngineHost(**(self._values() | {"name": self._lines["host"].text().strip()[:_LONGEST]}))
        self._tester.start(host)
        self._show_result(f"Connecting to {host.host} …", "muted")

    def _show_found(self, status: EngineStatus) -> None:
        where = self._lines["host"].text().strip()
        machine = f" (machine {plain(status.machine, _LONGEST)})" if status.machine not in {"", where} else ""
        versions = plain(f"NFKD {status.version}, torch {status.torch}, {describe_device(status)}")
        self._show_result(f"Connected to {where}{machine}: {versions}.", "good")

    def _show_failed(self, error: ErrorInfo) -> None:
        self._show_result(f"{error.title}.\n{error.cause}\n{error.action}", "error")

    def _show_result(self, text: str, tone: Tone) -> None:
        self._result.set_tone(tone)
        self._result.setText(text)
        self._result.setVisible(bool(text))
        self._test.setText("&Cancel test" if self._tester.runs else "&Test connection")
