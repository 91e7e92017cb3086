"""Message boxes with plain text or our own markup."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QDialogButtonBox, QLabel, QMessageBox, QWidget

from nfkd_gui.widgets.labels import display_text


def question(parent: QWidget, title: str, text: str, more: str = "") -> QMessageBox:
    """Return an unopened question without buttons; `text` and `more` (below it) are plain text."""
    box = QMessageBox(parent)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle(title)
    box.setText(display_text(text))
    box.setInformativeText(display_text(more))
    box.setTextFormat(Qt.TextFormat.PlainText)
    for label in box.findChildren(QLabel):  # setTextFormat skips the informative text
        label.setTextFormat(Qt.TextFormat.PlainText)
    return box


def message(parent: QWidget, title: str, markup: str) -> QMessageBox:
    """Return an unopened message with markup; foreign text in it must be `escaped`."""
    box = QMessageBox(parent)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.setWindowTitle(title)
    box.setTextFormat(Qt.TextFormat.RichText)
    box.setText(markup)
    return box


def without_icons(box: QDialogButtonBox | QMessageBox) -> None:
    """Remove the buttons' icons, which differ between desktops."""
    for button in box.buttons():
        button.setIcon(QIcon())
