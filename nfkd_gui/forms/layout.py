"""Layouts and labels that several parts of the form use."""

from __future__ import annotations

from PySide6.QtWidgets import QGridLayout, QLayout, QVBoxLayout, QWidget

from nfkd_gui.widgets.labels import PlainLabel


def fill_column(parent: QWidget, *items: QWidget | QLayout, spacing: int = 4) -> None:
    """Lay out widgets and layouts in a column that fills `parent`."""
    column = QVBoxLayout(parent)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(spacing)
    for item in items:
        column.addLayout(item) if isinstance(item, QLayout) else column.addWidget(item)


def form_grid(parent: QWidget, *margins: int) -> QGridLayout:
    """Return a grid for rows of label, editor and unit."""
    grid = QGridLayout(parent)
    grid.setContentsMargins(*margins)
    grid.setHorizontalSpacing(8)
    grid.setVerticalSpacing(4)
    grid.setColumnStretch(1, 1)
    return grid


def italic_label(text: str, parent: QWidget | None) -> PlainLabel:
    """Return an italic label; `text` has no mnemonic."""
    label = PlainLabel(text.replace("&", "&&"), parent)
    font = label.font()
    font.setItalic(True)
    label.setFont(font)
    return label


def discard(widget: QWidget) -> None:
    """Remove a widget from its parent at once, and delete it later."""
    widget.hide()
    widget.setParent(None)
    widget.deleteLater()
