"""States of the lab as files and as text: opening, saving, copying, pasting, and the way to and from Design."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFileDialog

from nfkd.config import ConfigError
from nfkd.config.lab import LabConfig
from nfkd.protocol.events import ErrorInfo
from nfkd.text import name_problem, sentence

if TYPE_CHECKING:
    from nfkd_gui.model.lab import LabModel
    from nfkd_gui.window.main_window import MainWindow

_FILTER = "States of the lab (*.toml);;All files (*)"
_LEFT_OUT = "The experiment has neither the new points nor the new seed of the lab."
_LONGEST_TEXT = 8 << 20


class LabFiles(QObject):
    """Opens and saves the state of a window's lab."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window = window
        actions = window.actions_
        actions.lab_open.triggered.connect(self.ask_open)
        actions.lab_save.triggered.connect(self.ask_save)
        actions.lab_copy.triggered.connect(self.copy)
        actions.lab_paste.triggered.connect(self.paste)
        actions.lab_design.triggered.connect(self.open_in_design)
        actions.lab_show.triggered.connect(self.show_experiment)

    @property
    def _lab(self) -> LabModel:
        return self._window.learn.lab

    def ask_open(self) -> None:
        """Let the user choose a file with a state."""
        dialog = QFileDialog(self._window, "Open state of the lab", str(Path.home()), _FILTER)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.open)
        dialog.open()

    def open(self, path: str) -> None:
        """Open a file with a state in Learn."""
        try:
            self._show(LabConfig.open(Path(path)))
        except ConfigError as error:
            self._fail(f"{Path(path).name} cannot be opened", error, "Choose a file that the lab has written.")

    def ask_save(self) -> None:
        """Let the user choose where to write the state."""
        name = self._lab.state.name
        file = f"{'lab' if name_problem(name) else name}.lab.toml"
        dialog = QFileDialog(self._window, "Save state of the lab", str(Path.home() / file), _FILTER)
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setDefaultSuffix("toml")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.save)
        dialog.open()

    def save(self, path: str) -> None:
        """Write the state to a file."""
        try:
            self._lab.state.save(path)
        except OSError as error:
            title = "The state was not saved"
            self._window.show_error(ErrorInfo(title=title, cause=str(error), action="Choose another file."))
            return
        self._window.studio.message.emit(f"Saved {path}")

    def copy(self) -> None:
        """Put the state on the clipboard as one line of text."""
        QGuiApplication.clipboard().setText(self._lab.state.link())
        self._window.studio.message.emit("The state of the lab was copied: Lab ▸ Open copied text shows it elsewhere.")

    def paste(self) -> None:
        """Open the state that is on the clipboard."""
        try:
            self._show(LabConfig.from_link(QGuiApplication.clipboard().text()[:_LONGEST_TEXT]))
        except ConfigError as error:
            action = "Copy the whole text, which starts with nfkd-lab:, and try again."
            self._fail("The copied text cannot be opened", error, action)

    def open_in_design(self) -> None:
        """Open the lab's experiment in Design."""
        window = self._window
        if self._lab.state.lab.points:
            cause = "The points of a file belong to the lab only."
            title = "The lab's data is not a data set"
            window.show_error(ErrorInfo(title=title, cause=cause, action="Choose the file as data in Design."))
            return
        lab = self._lab.state.lab
        document = self._lab.state.experiment().model_dump(mode="json")

        def go_on() -> None:
            window.studio.experiment.amend("data", document)
            window.open_workspace("design")
            if lab.choice or lab.repeat:
                window.studio.message.emit(_LEFT_OUT)

        if window.files.may_discard(go_on):
            go_on()

    def show_experiment(self) -> None:
        """Show the experiment of Design in the lab."""
        config = self._window.studio.experiment.config
        title = "The experiment cannot be shown in the lab"
        if config is None:
            cause = "It has problems."
            self._window.show_error(ErrorInfo(title=title, cause=cause, action="Correct them in Design first."))
            return
        try:
            self._show(LabConfig.of_experiment(config))
        except ConfigError as error:
            self._fail(title, error, "Choose data in the plane and flows for vectors.")

    def _show(self, state: LabConfig) -> None:
        self._window.open_workspace("learn")
        self._lab.open_state(state)

    def _fail(self, title: str, error: ConfigError, action: str) -> None:
        cause = "\n".join(sentence(str(problem)) for problem in error.problems)
        self._window.show_error(ErrorInfo(title=title, cause=cause, action=action))
