"""Presentation mode: the whole screen, large type, and the tiles of the run alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt

if TYPE_CHECKING:
    from nfkd_gui.window.main_window import MainWindow

_LARGER, _LARGEST = 1.25, 200


class Presentation:
    """Switches presentation mode on and off; afterwards the window is as it was before."""

    def __init__(self, window: MainWindow) -> None:
        self._window = window
        self._before: Qt.WindowState | None = None
        self._workspace = ""
        self._shown: list[str] = []

    def scale(self, percent: int) -> int:
        """Return the size of the interface: larger in presentation mode."""
        return percent if self._before is None else min(round(percent * _LARGER), _LARGEST)

    def show_full(self, on: bool) -> None:
        """Enter or leave presentation mode."""
        if on == (self._before is not None):
            return
        window = self._window
        docks = window.train.docks
        if on:
            self._before, self._workspace = window.windowState(), window.workspace
            self._shown = [name for name, dock in docks.items() if not dock.isHidden()]
        window.open_workspace("train" if on else self._workspace)
        shown = self._shown if not on else []
        for name, dock in docks.items():
            dock.setVisible(name in shown)
        window.statusBar().setVisible(not on)
        state = Qt.WindowState.WindowFullScreen if on or self._before is None else self._before
        if not on:
            self._before = None
        window.setWindowState(state)
        window.studio.theme_changed.emit()

    def leave(self) -> None:
        """Leave presentation mode, if it is on."""
        self._window.actions_.presentation.setChecked(False)
