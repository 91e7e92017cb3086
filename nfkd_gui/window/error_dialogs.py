"""The error dialogs of a window: at most one per title, and buttons that repair a lost engine."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from nfkd.protocol.events import ErrorInfo
from nfkd_gui.model.studio import Studio
from nfkd_gui.widgets.error_dialog import ErrorDialog

if TYPE_CHECKING:
    from nfkd_gui.window.main_window import MainWindow


class ErrorDialogs(QObject):
    """Shows errors over a window."""

    def __init__(self, studio: Studio, window: MainWindow) -> None:
        super().__init__(window)
        self._studio, self._window = studio, window
        self._open: dict[str, ErrorDialog] = {}
        studio.engine_changed.connect(self._close_repaired)

    def show(self, error: ErrorInfo) -> None:
        """Show an error, unless a dialog with its title is open."""
        engine = self._studio.engine
        if engine.reconnecting and error is engine.error:
            self._window.show_message(error.title)  # the status bar shows the next try
            return
        shown = self._open.get(error.title)
        if shown is not None:
            shown.raise_()
            return
        dialog = ErrorDialog(error, self._remedies(error), self._window)
        self._open[error.title] = dialog
        dialog.finished.connect(lambda _code: self._open.pop(error.title, None))
        dialog.open()

    def _remedies(self, error: ErrorInfo) -> list[tuple[str, Callable[[], None]]]:
        """Return what repairs a lost engine; nothing for other errors."""
        studio = self._studio
        if studio.engine.phase != "lost" or error is not studio.engine.error:
            return []
        if studio.machines.host is None:
            return [("Restart engine", studio.start)]
        return [("Try again", studio.start), ("Use this machine", partial(studio.machines.choose, ""))]

    def _close_repaired(self) -> None:
        """Close the dialog about a lost engine once another is ready."""
        if self._studio.ready:
            for dialog in list(self._open.values()):
                if dialog.has_remedy:
                    dialog.accept()
