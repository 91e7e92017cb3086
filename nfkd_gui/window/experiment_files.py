"""Opening and saving experiments: files, presets, recent files; nothing unsaved is lost without a question."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QFileDialog, QMessageBox, QWidget

from nfkd.config import ConfigError
from nfkd.protocol.events import ErrorInfo
from nfkd.text import name_problem
from nfkd_gui.forms.wording import sentence
from nfkd_gui.model.studio import Studio
from nfkd_gui.widgets.dialogs import question, without_icons

_FILTER = "Experiments (*.toml);;All files (*)"
Then = Callable[[], object]


class ExperimentFiles(QObject):
    """Carries experiments between the form and the disk."""

    failed = Signal(object)
    """An `ErrorInfo`."""
    said = Signal(str)
    """Something for the status bar."""

    def __init__(self, studio: Studio, window: QWidget) -> None:
        super().__init__(window)
        self._studio = studio
        self._window = window

    def open(self, source: str | Path) -> None:
        """Open a file, or a preset by its name, after asking about unsaved changes."""
        if self.may_discard(lambda: self._open(source)):
            self._open(source)

    def ask_open(self) -> None:
        """Let the user choose an experiment file."""
        dialog = QFileDialog(self._window, "Open experiment", self._folder(), _FILTER)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.fileSelected.connect(self.open)
        dialog.open()

    def ask_open_run(self) -> None:
        """Let the user choose a run's directory."""
        dialog = QFileDialog(self._window, "Open run", self._studio.preferences.runs_folder)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.fileSelected.connect(self._studio.open_run)
        dialog.open()

    def save(self) -> None:
        """Write the experiment to its file, or ask for one."""
        path = self._studio.experiment.path
        self._save(path) if path is not None else self.ask_save()

    def ask_save(self, then: Then | None = None) -> None:
        """Let the user choose where to write the experiment."""
        written = self._studio.experiment.name
        name = f"{'experiment' if name_problem(written) else written}.toml"
        dialog = QFileDialog(self._window, "Save experiment", str(Path(self._folder()) / name), _FILTER)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setDefaultSuffix("toml")
        dialog.fileSelected.connect(lambda path: self._save(Path(path), then))
        dialog.open()

    def may_discard(self, then: Then) -> bool:
        """Return True when nothing is unsaved; else ask, and call `then` when it may go on."""
        experiment = self._studio.experiment
        if not experiment.dirty:
            return True
        buttons = QMessageBox.StandardButton
        more = "They are lost otherwise. Runs that were started keep their own settings."
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

    def _save_then(self, then: Then) -> None:
        path = self._studio.experiment.path
        self._save(path, then) if path is not None else self.ask_save(then)

    def open_at_start(self, source: str | Path) -> bool:
        """Open an experiment where there is nothing to lose; return whether it could be."""
        return self._open(source)

    def _open(self, source: str | Path) -> bool:
        try:
            self._studio.experiment.open(source)
        except ConfigError as error:
            cause = "\n".join(sentence(str(problem)) for problem in error.problems)
            action = "Choose an experiment file that NFKD has written, or a preset."
            self.failed.emit(ErrorInfo(title=f"{source} cannot be opened", cause=cause, action=action))
            return False
        path = self._studio.experiment.path
        if path is not None:
            self._remember(path)
        return True

    def _save(self, path: Path, then: Then | None = None) -> None:
        try:
            self._studio.experiment.save(path)
        except (ConfigError, OSError) as error:
            action = "Choose another file."
            self.failed.emit(ErrorInfo(title="The experiment was not saved", cause=str(error), action=action))
            return
        self._remember(path)
        self.said.emit(f"Saved {path}")
        if then is not None:
            then()

    def _remember(self, path: Path) -> None:
        self._studio.prefer(recent=self._studio.preferences.with_recent(path.resolve()).recent)

    def _folder(self) -> str:
        path = self._studio.experiment.path
        recent = self._studio.preferences.recent
        known = path or (Path(recent[0]) if recent else Path.home() / "x")
        return str(known.parent)
