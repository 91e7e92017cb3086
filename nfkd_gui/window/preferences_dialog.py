"""Preferences: the runs folder, the theme, the engines."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from nfkd.config import ConfigError
from nfkd.files import is_folder, is_taken
from nfkd.protocol.events import ErrorInfo
from nfkd_gui.forms.path_box import PathBox
from nfkd_gui.model.studio import Studio
from nfkd_gui.theme import limit_size, set_space
from nfkd_gui.widgets.dialogs import without_icons
from nfkd_gui.widgets.file_target import set_machine
from nfkd_gui.widgets.labels import WrappedLabel
from nfkd_gui.window.engines_page import EnginesPage

_PAGES = ("general", "engines")
_THEMES = (("Follow the system", "system"), ("Light", "light"), ("Dark", "dark"), ("High contrast", "contrast"))
_ENGINES = (("In a separate process (recommended)", "relay"), ("Inside this window", "in_process"))
_ENGINE_HELP = (
    "In a separate process, the engine continues a run when the window is closed. "
    "Inside this window, closing the window ends the run."
)


class PreferencesDialog(QDialog):
    """Edits the preferences; they change when the user presses OK.

    Parameters
    ----------
    page
        The page that is shown first: ``general`` or ``engines``.
    """

    def __init__(self, studio: Studio, parent: QWidget | None = None, *, page: str = "general") -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setObjectName("preferences")
        self.setWindowTitle("Preferences")
        set_machine(self, "")
        self._studio = studio
        self._folder = PathBox("folder", title="Runs folder", parent=self)
        self._folder.line.setObjectName("preferences.folder")
        self._folder.setAccessibleName("Runs folder")
        self._folder.set_value(studio.preferences.runs_folder)
        self._folder.setToolTip("New runs are saved here, and the table of runs lists this folder.")
        self._problem = WrappedLabel(tone="error", parent=self)
        self._theme = _choice(_THEMES, studio.preferences.theme, "preferences.theme", self)
        self._engine = _choice(_ENGINES, studio.preferences.engine, "preferences.engine", self)
        self._engine.setDisabled(studio.ends_with_connection)
        self._buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel, parent=self
        )
        without_icons(self._buttons)
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)
        self._engines = EnginesPage(studio, self)
        self._lay_out(page)
        limit_size(self, least=(640, 0))
        self._folder.changed.connect(self._check)
        self._check()

    def _lay_out(self, page: str) -> None:
        general = QWidget(self)
        form = QFormLayout(general)
        set_space(form, 8, 0, 12, 0, 0, across=16)
        form.addRow("Runs &folder", self._folder)
        form.addRow("", self._problem)
        form.addRow("&Theme", self._theme)
        form.addRow("&Engine here", self._engine)
        form.addRow("", WrappedLabel(_ENGINE_HELP, parent=self))
        layout = QVBoxLayout(self)
        set_space(layout, 16, 16)
        pages = QTabWidget(self)
        pages.setObjectName("preferences.pages")
        pages.addTab(general, "General")
        pages.addTab(self._engines, "Engines")
        pages.setCurrentIndex(_PAGES.index(page))
        layout.addWidget(pages, 1)
        layout.addWidget(self._buttons)

    def accept(self) -> None:
        """Save the changes; reconnect if the engine changed."""
        engine = self._engine.currentData()
        other_engine = engine != self._studio.preferences.engine and self._studio.machines.host is None
        folder = str(Path(self._folder.value().strip()).expanduser())
        self._studio.prefer(runs_folder=folder, theme=self._theme.currentData(), engine=engine)
        if other_engine:
            self._studio.start()
        try:
            self._studio.machines.save(self._engines.hosts, self._engines.renamed)
        except (ConfigError, OSError) as error:
            action = "The list of engines stays as it was."
            self._studio.failed.emit(ErrorInfo(title="The engines were not saved", cause=str(error), action=action))
        super().accept()

    def _check(self) -> None:
        text = self._folder.value().strip()
        path = Path(text).expanduser()
        message = ""
        if not text or not path.is_absolute():
            message = "Enter the absolute path of a folder."
        elif is_taken(path) and not is_folder(path):
            message = "This is a file, not a folder."
        self._problem.setText(message)
        self._problem.setVisible(bool(message))
        self._buttons.button(QDialogButtonBox.StandardButton.Ok).setEnabled(not message)


def _choice(options: tuple[tuple[str, str], ...], value: str, name: str, parent: QWidget) -> QComboBox:
    box = QComboBox(parent)
    box.setObjectName(name)
    for text, data in options:
        box.addItem(text, data)
    box.setCurrentIndex(max(0, box.findData(value)))
    return box
