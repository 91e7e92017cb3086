"""What dialogs have in common."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QDialogButtonBox, QLabel, QMessageBox, QWidget

from nfkd_gui.widgets.labels import shown


def question(parent: QWidget, title: str, text: str, more: str = "") -> QMessageBox:
    """Return a question without buttons yet, not open yet; its text and what stands below it are no markup."""
    box = QMessageBox(parent)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle(title)
    box.setText(shown(text))
    box.setInformativeText(shown(more))
    box.setTextFormat(Qt.TextFormat.PlainText)
    for label in box.findChildren(QLabel):  # Qt's own method leaves out what stands below
        label.setTextFormat(Qt.TextFormat.PlainText)
    return box


def message(parent: QWidget, title: str, markup: str) -> QMessageBox:
    """Return a message in markup, not open yet; what is foreign in it must be `escaped`."""
    box = QMessageBox(parent)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.setWindowTitle(title)
    box.setTextFormat(Qt.TextFormat.RichText)
    box.setText(markup)
    return box


def without_icons(box: QDialogButtonBox | QMessageBox) -> None:
    """Take the pictures off the buttons: their words say it all, and no two desktops draw them alike."""
    for button in box.buttons():
        button.setIcon(QIcon())
