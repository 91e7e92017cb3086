"""Layouts and labels that several parts of the form use."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QLayout, QVBoxLayout, QWidget

from nfkd_gui.theme import set_space
from nfkd_gui.widgets.labels import TypeLabel


def fill_column(parent: QWidget, *items: QWidget | QLayout, spacing: int = 4) -> None:
    """Lay out widgets and layouts in a column that fills `parent`."""
    column = QVBoxLayout(parent)
    set_space(column, spacing)
    for item in items:
        column.addLayout(item) if isinstance(item, QLayout) else column.addWidget(item)


def form_grid(parent: QWidget, *margins: int) -> QGridLayout:
    """Return a grid for rows of label and editor; each editor keeps room for a message below it."""
    grid = QGridLayout(parent)
    set_space(grid, 0, *margins)
    grid.setColumnStretch(1, 1)
    return grid


def heading_label(text: str, parent: QWidget | None) -> TypeLabel:
    """Return the heading of some rows; `text` has no mnemonic."""
    return TypeLabel("strong", text.replace("&", "&&"), parent)


def follow_in_tab_order(before: QWidget, box: QWidget) -> None:
    """Let Tab go from a widget to those in a box that was filled later."""
    window = box.window()
    for widget in box.findChildren(QWidget):
        reached = widget.focusPolicy() & Qt.FocusPolicy.TabFocus and widget.focusProxy() is None
        if reached and widget.window() == window:  # lists of choices are windows of their own
            QWidget.setTabOrder(before, widget)
            before = widget


def discard(widget: QWidget) -> None:
    """Remove a widget from its parent at once, and delete it later."""
    widget.hide()
    widget.setParent(None)
    widget.deleteLater()
