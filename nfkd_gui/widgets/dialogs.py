"""What dialogs have in common."""

from __future__ import annotations

from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QDialogButtonBox, QMessageBox


def without_icons(box: QDialogButtonBox | QMessageBox) -> None:
    """Take the pictures off the buttons: their words say it all, and no two desktops draw them alike."""
    for button in box.buttons():
        button.setIcon(QIcon())
