"""Opening and saving experiments: files, presets, recent files. Asks before unsaved changes are lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QFileDialog, QMessageBox, QWidget

from nfkd.config import ConfigError
from nfkd.config.lab import LabConfig
from nfkd.config.toml import read_text
from nfkd.files import is_regular
from nfkd.protocol.events import ErrorInfo
from nfkd.text import name_problem, sentence
from nfkd_gui.model.studio import Studio
from nfkd_gui.widgets.dialogs import question, without_icons
from nfkd_gui.widgets.file_target import ask_path

_FILTER = "Experiments (*.toml);;All files (*)"
Callback = Callable[[], object]


class ExperimentFiles(QObject):
    """Opens and saves the form's experiment."""

    failed = Signal(object)
    """An `ErrorInfo`."""
    message = Signal(str)
    """A text for the status bar."""
    opened = Signal()
    """An experiment was opened at the user's wish."""
    lab_chosen = Signal(str)
    """The user chose a file with a state of the lab."""
    run_chosen = Signal(str)
    """The user chose the directory of a run."""

    def __init__(self, studio: Studio, window: QWidget) -> None:
        super().__init__(window)
        self._studio = studio
        self._window = window

    def open(self, source: str | Path, then: Callback | None = None) -> None:
        """Open a file or a preset, after a question about unsaved changes, and then call `then`."""
        if is_lab_state(Path(source)):
            self.lab_chosen.emit(str(source))
            return

        def go_on() -> None:
            if self.open_now(source):
                self.opened.emit()
                if then is not None:
                    then()

        if self.may_discard(go_on):
            go_on()

    def ask_open(self) -> None:
        """Let the user choose an experiment file."""
        dialog = QFileDialog(self._window, "Open experiment", self._folder(), _FILTER)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        _show(dialog, self.open)

    def ask_open_run(self) -> None:
        """Let the user choose a run's directory."""
        if self._studio.machines.host is not None:
            ask_path(self._window, "Open run", self.run_chosen.emit)
            return
        dialog = QFileDialog(self._window, "Open run", self._studio.preferences.runs_folder)
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        _show(dialog, self.run_chosen.emit)

    def save(self) -> None:
        """Write the experiment to its file, or ask for one."""
        path = self._studio.experiment.path
        self._save(path) if path is not None else self.ask_save()

    def ask_save(self, then: Callback | None = None) -> None:
        """Let the user choose where to write the experiment."""
        written = self._studio.experiment.name
        name = f"{'experiment' if name_problem(written) else written}.toml"
        dialog = QFileDialog(self._window, "Save experiment", str(Path(self._folder()) / name), _FILTER)
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setDefaultSuffix("toml")
        _show(dialog, lambda path: self._save(Path(path), then))

    def may_discard(self, then: Callback) -> bool:
        """Return whether nothing is unsaved; otherwise ask the user, and call `then` after Save or Discard."""
        experiment = self._studio.experiment
        if not experiment.dirty:
            return True
        buttons = QMessageBox.StandardButton
        more = "Otherwise they are lost. Runs that were started keep their own settings."
        box = question(self._window, "Unsaved changes", f"Save the changes to “{experiment.name}”?", more)
        box.setObjectName("unsaved")
        box.setStandardButtons(buttons.Save | buttons.Discard | buttons.Cancel)
        box.setDefaultButton(buttons.Save)
        without_icons(box)
        box.button(buttons.Save).setEnabled(experiment.config is not None)
        box.button(buttons.Save).clicked.connect(lambda: self._save_then(then))
        box.button(buttons.Discard).clicked.connect(then)
        box.open()
        return False

    def _save_then(self, then: Callback) -> None:
        path = self._studio.experiment.path
        self._save(path, then) if path is not None else self.ask_save(then)

    def open_now(self, source: str | Path) -> bool:
        """Open an experiment without a question about unsaved changes; return whether it could be opened."""
        try:
            self._studio.experiment.open(source)
        except ConfigError as error:
            cause = "\n".join(sentence(str(problem)) for problem in error.problems)
            action = "Choose an experiment file written by NFKD, or a preset."
            self.failed.emit(ErrorInfo(title=f"{source} cannot be opened", cause=cause, action=action))
            return False
        path = self._studio.experiment.path
        if path is not None:
            self._remember(path)
        return True

    def _save(self, path: Path, then: Callback | None = None) -> None:
        try:
            self._studio.experiment.save(path)
        except (ConfigError, OSError) as error:
            action = "Choose another file."
            self.failed.emit(ErrorInfo(title="The experiment was not saved", cause=str(error), action=action))
            return
        self._remember(path)
        self.message.emit(f"Saved {path}")
        if then is not None:
            then()

    def _remember(self, path: Path) -> None:
        self._studio.prefer(recent=self._studio.preferences.with_recent(path.resolve()).recent)

    def _folder(self) -> str:
        path = self._studio.experiment.path
        recent = self._studio.preferences.recent
        known = path or (Path(recent[0]) if recent else Path.home() / "x")
        return str(known.parent)


def is_lab_state(path: Path) -> bool:
    """Return whether a file is a state of the lab."""
    try:
        return is_regular(path) and LabConfig.is_state(read_text(path))
    except ConfigError:
        return False


def _show(dialog: QFileDialog, on_selected: Callable[[str], object]) -> None:
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.fileSelected.connect(on_selected)
    dialog.open()
