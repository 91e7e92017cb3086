"""When the window is closed during training: says once that the training goes on, or asks whether it ends."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtWidgets import QMessageBox, QWidget

from nfkd_gui.model.run_states import LIVE
from nfkd_gui.model.studio import Studio
from nfkd_gui.widgets.dialogs import question, without_icons

TOLD = "closing"
"""Name of this explanation in the preferences."""


def tell_that_training_goes_on(studio: Studio, close: Callable[[], object], parent: QWidget) -> bool:
    """Explain what happens to the run, unless none is in training or this was said before.

    Returns
    -------
    bool
        Whether an explanation was opened; `close` is then called if the user still wants to close the window.
    """
    row = studio.controlled
    if row is None or row.state not in LIVE or TOLD in studio.preferences.told:
        return False
    more = (
        "Open NFKD again to watch it. To end it, use Stop before you close the window, or “nfkd engine stop” in a "
        "terminal. This is said only once."
    )
    box = question(parent, "Training goes on", f"“{row.name}” goes on without the window.", more)
    box.setObjectName("closing")
    box.setIcon(QMessageBox.Icon.Information)
    leave = box.addButton("Close the window", QMessageBox.ButtonRole.AcceptRole)
    leave.setObjectName("closing.close")
    stay = box.addButton("Stay", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(leave)
    box.setEscapeButton(stay)
    leave.clicked.connect(close)
    studio.prefer(told=[*studio.preferences.told, TOLD])
    box.open()
    return True


def ask_quit(close: Callable[[], object], parent: QWidget) -> None:
    """Ask whether the window closes although that ends the run of the engine in it; call `close` if it does."""
    more = "The engine runs inside this window. The run can be resumed from its last checkpoint."
    box = question(parent, "Quit", "Quit and end the run?", more)
    quit_ = box.addButton("Quit", QMessageBox.ButtonRole.DestructiveRole)
    box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
    without_icons(box)
    quit_.clicked.connect(close)
    box.open()
