"""Presentation mode: the whole screen; of a run its tiles alone in large type, of a lesson the presenter view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt

if TYPE_CHECKING:
    from nfkd_gui.window.main_window import MainWindow

_LARGER, _LARGEST = 1.25, 200
_PRESENTED = ("train", "learn", "compare")


class Presentation:
    """Switches presentation mode on and off; afterwards the window is as it was before."""

    def __init__(self, window: MainWindow) -> None:
        self._window = window
        self._before: Qt.WindowState | None = None
        self._workspace = ""
        self._presented = ""

    def scale(self, percent: int) -> int:
        """Return the size of the interface: larger while a run is presented; a lesson enlarges its own type."""
        shown = self._before is not None and self._presented == "train"
        return min(round(percent * _LARGER), _LARGEST) if shown else percent

    def show_full(self, on: bool) -> None:
        """Enter or leave presentation mode."""
        if on == (self._before is not None):
            return
        window = self._window
        if on:
            self._before, self._workspace = window.windowState(), window.workspace
            self._presented = self._workspace if self._workspace in _PRESENTED else "train"
        window.open_workspace(self._presented if on else self._workspace)
        window.workspaces[self._presented].present(on=on)
        window.statusBar().setVisible(not on)
        state = Qt.WindowState.WindowFullScreen if on or self._before is None else self._before
        if not on:
            self._before = None
        window.setWindowState(state)
        window.studio.theme_changed.emit()

    def leave(self) -> None:
        """Leave presentation mode, if it is on."""
        self._window.actions_.presentation.setChecked(False)
