"""The editor of a list of sections, such as the assistants, with buttons to add and remove them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QPushButton, QToolButton, QVBoxLayout, QWidget

from nfkd.text import sentence
from nfkd_gui.forms.fields import Field, SectionList
from nfkd_gui.forms.layout import discard, fill_column, form_grid, heading_label
from nfkd_gui.forms.node import FormNode, Leftovers, OnChanged, Problems
from nfkd_gui.theme import set_space
from nfkd_gui.widgets.labels import WrappedLabel
from nfkd_gui.widgets.message_cell import MessageCell

MakeNode = Callable[[Field, QGridLayout, OnChanged], FormNode]


class ListEditor(FormNode):
    """A list of sections.

    Parameters
    ----------
    make
        Makes the form node of one section.

    Attributes
    ----------
    ends
        Returns the two values that the sections interpolate. A new section starts halfway between the last section (or
        the first value) and the second value.
    """

    field: SectionList

    def __init__(self, field: SectionList, grid: QGridLayout, on_changed: OnChanged, make: MakeNode) -> None:
        super().__init__(field)
        self._on_changed, self._make = on_changed, make
        self._leftovers: Leftovers = {}
        self._shown, self._advanced = True, False
        self.items: list[_Item] = []
        self.ends: Callable[[], tuple[Any, Any]] = lambda: ({}, {})
        self._box = QWidget(grid.parentWidget())
        self._box.setObjectName(field.path)
        self._box.setAccessibleName(field.title)
        self._box.setToolTip(field.help)
        self._note = WrappedLabel(field.help, parent=self._box)
        self._note.setBuddy(self._box)
        self.add = QPushButton(f"Add {field.each}", self._box)
        self.add.setObjectName(f"{field.path}.add")
        self.add.clicked.connect(self._add)
        self._cell = MessageCell(self.add, self._box)
        self._cell.setObjectName(f"{field.path}.message")
        self._lay_out()
        grid.addWidget(self._box, grid.rowCount(), 0, 1, 2)
        self._refresh()

    @property
    def message(self) -> str:
        """The problem of the list itself."""
        return self._cell.message

    def _lay_out(self) -> None:
        self._column = QVBoxLayout()
        set_space(self._column, 4)
        # The button is above the sections, so that Tab moves from it to a new section.
        fill_column(self._box, self._note, self._cell, self._column)

    # --- the value --------------------------------------------------------------------------------------------------

    def nodes(self) -> Iterable[FormNode]:
        return (item.node for item in self.items)

    def value(self) -> list[Any]:
        return [item.node.value() for item in self.items]

    def set_value(self, value: Any, leftovers: Leftovers) -> None:
        self._leftovers = leftovers
        self._show(self.expect(list, list(value) if isinstance(value, tuple) else value, leftovers), leftovers)

    def _show(self, values: list[Any], leftovers: Leftovers) -> None:
        while len(self.items) > len(values):
            discard(self.items.pop())
        while len(self.items) < len(values):
            self._append()
        for item, value in zip(self.items, values, strict=True):
            item.node.set_value(value, leftovers)
        self._refresh()

    def _append(self) -> None:
        item = _Item(self.field.item(len(self.items)), self._on_changed, self._make, self._box)
        item.remove.clicked.connect(lambda: self._remove(item))
        self.items.append(item)
        self._column.addWidget(item)
        item.show()  # otherwise Qt shows it only in the next event loop turn

    # --- changes ----------------------------------------------------------------------------------------------------

    def _add(self) -> None:
        values = self.value()
        self._leftovers.pop(self.field.path, None)
        first, last = self.ends()
        self._show([*values, halfway(values[-1] if values else first, last)], {})
        self._on_changed(self.field.path, merges=False)
        self.items[-1].remove.setFocus()

    def _remove(self, item: _Item) -> None:
        index = self.items.index(item)
        values = self.value()
        del values[index]
        self._move_leftovers(index)
        self._show(values, {})
        self._on_changed(self.field.path, merges=False)
        (self.items[min(index, len(self.items) - 1)].remove if self.items else self.add).setFocus()

    def _move_leftovers(self, removed: int) -> None:
        """Drop the leftovers of the removed section, and renumber those of the sections after it."""
        prefix = f"{self.field.path}."
        for path in [path for path in self._leftovers if path.startswith(prefix)]:
            number, dot, rest = path.removeprefix(prefix).partition(".")
            if number.isdecimal() and int(number) >= removed:
                kept = self._leftovers.pop(path)
                if int(number) > removed:
                    self._leftovers[f"{prefix}{int(number) - 1}{dot}{rest}"] = kept

    # --- showing ----------------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        full = len(self.items) >= self.field.max_items
        self._note.setVisible(self._shown and not self.items)
        self.add.setEnabled(not full)
        self.add.setToolTip(
            f"There may be {self.field.max_items} at most." if full else f"Add another {self.field.each}."
        )
        before: QWidget = self.add
        for item in self.items:
            item.node.set_shown(self._shown, self._advanced)
            for widget in item.tab_stops():
                QWidget.setTabOrder(before, widget)
                before = widget

    def show_problems(self, problems: Problems) -> None:
        self._cell.show_message(sentence(problems.pop(self.field.path, "")))
        for node in self.nodes():
            node.show_problems(problems)

    def set_shown(self, shown: bool, advanced: bool) -> None:
        self._shown, self._advanced = shown, advanced
        self._box.setVisible(shown)
        self._refresh()

    def differs(self) -> bool:
        return bool(self.items)


class _Item(QWidget):
    """One section, with a title and a button that removes it."""

    def __init__(self, field: Field, on_changed: OnChanged, make: MakeNode, parent: QWidget) -> None:
        super().__init__(parent)
        self.remove = QToolButton(self)
        self.remove.setObjectName(f"{field.path}.remove")
        self.remove.setText("✕")
        self.remove.setAutoRaise(True)
        self.remove.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.remove.setAccessibleName(f"Remove {field.title.lower()}")
        self.remove.setToolTip(f"Remove {field.title.lower()}.")
        self._body = QWidget(self)
        self.node = make(field, form_grid(self._body, 0, 0, 0, 4), on_changed)
        line = QHBoxLayout()
        line.addWidget(heading_label(field.title, self), 1)
        line.addWidget(self.remove)
        fill_column(self, line, self._body)

    def tab_stops(self) -> list[QWidget]:
        """Return the widgets that Tab visits, in order."""
        editors = [cell.editor for cell in self._body.findChildren(MessageCell)]
        return [self.remove, *(widget for widget in editors if widget.focusPolicy() & Qt.FocusPolicy.TabFocus)]


def halfway(first: Any, last: Any) -> Any:
    """Return a copy of `first` with each integer replaced by its geometric mean with that of `last`.

    For example, 4 is halfway between 8 and 2. Values that `last` lacks, or has with another type or ``kind``, are
    copied from `first`.
    """
    if isinstance(first, dict) and isinstance(last, dict) and first.get("kind") == last.get("kind"):
        return {key: halfway(value, last.get(key)) for key, value in first.items()}
    if isinstance(first, int) and isinstance(last, int) and min(first, last) > 0 and not isinstance(first, bool):
        return round(math.sqrt(first * last))
    return copy.deepcopy(first)
