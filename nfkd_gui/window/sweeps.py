"""Sweeps and the queue in a window: the dialogs, and the folder of a sweep in Compare once its first run exists."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from nfkd_gui.window.queue_dialog import QueueButton, open_queue
from nfkd_gui.window.sweep_dialog import SweepDialog

if TYPE_CHECKING:
    from nfkd_gui.window.main_window import MainWindow


class Sweeps(QObject):
    """Connects the commands for sweeps and the queue to a window.

    Attributes
    ----------
    button
        Says how many runs wait, for the status bar.
    """

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._wanted = ""
        studio, actions = window.studio, window.actions_
        self.button = QueueButton(studio.queue, window)
        self.button.clicked.connect(actions.queue.trigger)
        actions.sweep.triggered.connect(lambda: self.set_up(""))
        actions.queue.triggered.connect(lambda: open_queue(studio.queue, window))
        window.form.several_wanted.connect(self.set_up)
        studio.queue.sweep_accepted.connect(self._follow)
        studio.rows_changed.connect(self._show_folder)

    def set_up(self, path: str) -> None:
        """Open the dialog, with a first field if a path is given."""
        studio = self._window.studio
        if studio.experiment.config is not None:
            dialog = SweepDialog(studio, studio.experiment.config, path, self._window)
            dialog.accepted_sweep.connect(studio.queue.run_sweep)
            dialog.open()

    def _follow(self, folder: str) -> None:
        self._wanted = folder
        self._window.studio.message.emit(f"The sweep {PurePath(folder).name} is in the queue")
        self._window.studio.list_runs()

    def _show_folder(self) -> None:
        """Show the folder of the sweep that was started last in Compare, once it has a run."""
        studio = self._window.studio
        if not self._wanted or not any(PurePath(run).is_relative_to(self._wanted) for run in studio.rows):
            return
        folder, self._wanted = PurePath(self._wanted), ""
        self._window.open_workspace("compare")
        if folder.is_relative_to(studio.listed_folder):
            self._window.compare.show_sweep(folder.relative_to(studio.listed_folder).as_posix())
