"""Copies of runs from the engine's machine to this one, started from a menu."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from nfkd.protocol.run_rows import RunRow

if TYPE_CHECKING:
    from nfkd_gui.window.main_window import MainWindow


def ask_copy(window: MainWindow, rows: Sequence[RunRow]) -> None:
    """Open the dialog that copies runs; not if the engine is on this machine."""
    from nfkd_gui.window.copy_dialog import CopyDialog

    host = window.studio.machines.host
    if host is None or not rows:
        return
    dialog = CopyDialog(window.studio, host, rows, window)
    dialog.open_wanted.connect(partial(_open_here, window))
    window.closed.connect(dialog.reject)
    dialog.show()


def copy_shown(window: MainWindow) -> None:
    """Open that dialog for the run that Train shows."""
    view = window.studio.view
    if view is not None:
        ask_copy(window, [view.row])


def _open_here(window: MainWindow, run: str) -> None:
    window.studio.machines.choose("")
    window.open_run(run)
