"""A small block of rows under a heading, below the table of the loss."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QCheckBox, QFrame, QHBoxLayout, QVBoxLayout, QWidget

from nfkd_gui.forms.fields import Section
from nfkd_gui.forms.layout import form_grid, heading_label
from nfkd_gui.forms.node import FormNode, Leftovers, OnChanged, Problems
from nfkd_gui.forms.rows import Group
from nfkd_gui.theme import set_space, tokens

_SENSIBLE = 0.3
"""Share of a pool that is switched on."""


class Block(QFrame):
    """A line at the top, a heading, and a grid for rows; hidden while none of its fields is shown."""

    def __init__(self, title: str, help_: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._heading = heading_label(title, self)
        self._heading.setToolTip(help_)
        self._line = QHBoxLayout()
        set_space(self._line, 8, 12, 0, 12, 4)
        self._line.addWidget(self._heading, 1)
        rows = QWidget(self)
        self.grid = form_grid(rows, 12, 0, 12, 0)
        column = QVBoxLayout(self)
        set_space(column, 0, 0, 9, 0, 0)
        column.addLayout(self._line)
        column.addWidget(rows)

    def add_to_heading(self, widget: QWidget) -> None:
        """Add a widget at the right of the heading."""
        self._line.addWidget(widget)

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        painter.fillRect(0, 0, self.width(), 1, QColor(tokens().border))
        painter.end()


class PoolBlock(FormNode):
    """The teacher's samples in the batches: a check box, and the fields of the pool."""

    field: Section

    def __init__(self, field: Section, on_changed: OnChanged, parent: QWidget) -> None:
        super().__init__(field)
        self._on_changed = on_changed
        self.widget = Block("Teacher's samples (pool)", field.help, parent)
        self._use = QCheckBox(self.widget)
        self._use.setObjectName(f"{field.path}.use")
        self._use.setAccessibleName("Use samples of the teacher")
        self._use.setToolTip("Let samples of the teacher replace a part of each batch.")
        self._use.clicked.connect(self._switch)
        self.widget.add_to_heading(self._use)
        self._group = Group(field, field.fields, self.widget.grid, self._changed)

    def nodes(self) -> Iterable[FormNode]:
        return (self._group,)

    def value(self) -> dict[str, Any]:
        return self._group.value()

    def set_value(self, value: Any, leftovers: Leftovers) -> None:
        self._group.set_value(value, leftovers)
        self._show_use()

    def show_problems(self, problems: Problems) -> None:
        self._group.show_problems(problems)

    def set_shown(self, shown: bool, advanced: bool) -> None:
        self.widget.setVisible(shown)
        self._group.set_shown(shown, advanced)

    def _show_use(self) -> None:
        self._use.setChecked(self._group.children["share"].value() not in {0, ""})

    def _changed(self, path: str, *, merges: bool = True, name: str = "") -> None:
        self._show_use()
        self._on_changed(path, merges=merges, name=name)

    def _switch(self, used: bool) -> None:
        share = self._group.children["share"]
        share.set_value(_SENSIBLE if used else 0.0, {})
        self._on_changed(share.field.path, merges=False, name=f"{'Add' if used else 'Remove'} pool")
