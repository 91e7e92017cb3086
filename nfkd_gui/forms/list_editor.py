"""ListEditor sections of one kind, such as the assistants: each with its fields, added and removed by buttons."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QPushButton, QToolButton, QVBoxLayout, QWidget

from nfkd_gui.forms.fields import Field, Many
from nfkd_gui.forms.node import Changed, FormNode, Leftovers, Problems
from nfkd_gui.forms.wording import sentence
from nfkd_gui.widgets.labels import PlainLabel, WrappedLabel

MakePart = Callable[[Field, QGridLayout, Changed], FormNode]


class ListEditor(FormNode):
    """A list of sections.

    Parameters
    ----------
    make
        Makes the part of the form that serves one of them.

    Attributes
    ----------
    ends
        Returns the values that all of them lie between: a new one begins halfway from the last, or from the first end,
        to the second.
    """

    field: Many

    def __init__(self, field: Many, grid: QGridLayout, changed: Changed, make: MakePart) -> None:
        super().__init__(field)
        self._changed, self._make = changed, make
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
        self._message = WrappedLabel(tone="error", parent=self._box)
        self._message.setObjectName(f"{field.path}.message")
        self._message.hide()
        self.add = QPushButton(f"Add {field.each}", self._box)
        self.add.setObjectName(f"{field.path}.add")
        self.add.clicked.connect(self._add)
        self._lay_out()
        grid.addWidget(self._box, grid.rowCount(), 0, 1, 3)
        self._refresh()

    def _lay_out(self) -> None:
        line = QHBoxLayout()
        line.addWidget(self.add)
        line.addStretch(1)
        self._column = QVBoxLayout()
        self._column.setSpacing(4)
        layout = QVBoxLayout(self._box)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self._note)
        layout.addWidget(self._message)
        layout.addLayout(line)  # above the sections: Tab then comes to a new one after the button that made it
        layout.addLayout(self._column)

    # --- the value --------------------------------------------------------------------------------------------------

    def value(self) -> list[Any]:
        return [item.part.value() for item in self.items]

    def set_value(self, value: Any, leftovers: Leftovers) -> None:
        self._leftovers = leftovers
        if not isinstance(value, (list, tuple)):
            if value is not None:
                leftovers[self.field.path] = value
            value = []
        self._show(list(value), leftovers)

    def _show(self, values: list[Any], leftovers: Leftovers) -> None:
        while len(self.items) > len(values):
            _discard(self.items.pop())
        while len(self.items) < len(values):
            self._append()
        for item, value in zip(self.items, values, strict=True):
            item.part.set_value(value, leftovers)
        self._refresh()

    def _append(self) -> None:
        item = _Item(self.field.item(len(self.items)), self._changed, self._make, self._box)
        item.remove.clicked.connect(lambda: self._remove(item))
        self.items.append(item)
        self._column.addWidget(item)
        item.show()  # else only when the loop comes round

    # --- changes ----------------------------------------------------------------------------------------------------

    def _add(self) -> None:
        values = self.value()
        self._leftovers.pop(self.field.path, None)
        first, last = self.ends()
        self._show([*values, halfway(values[-1] if values else first, last)], {})
        self._changed(self.field.path, merges=False)
        self.items[-1].remove.setFocus()

    def _remove(self, item: _Item) -> None:
        place = self.items.index(item)
        values = self.value()
        del values[place]
        self._move_leftovers(place)
        self._show(values, {})
        self._changed(self.field.path, merges=False)
        (self.items[min(place, len(self.items) - 1)].remove if self.items else self.add).setFocus()

    def _move_leftovers(self, gone: int) -> None:
        """Forget what a file had of a section that is gone, and let the others keep theirs."""
        prefix = f"{self.field.path}."
        for path in [path for path in self._leftovers if path.startswith(prefix)]:
            number, dot, rest = path.removeprefix(prefix).partition(".")
            if number.isdecimal() and int(number) >= gone:
                kept = self._leftovers.pop(path)
                if int(number) > gone:
                    self._leftovers[f"{prefix}{int(number) - 1}{dot}{rest}"] = kept

    # --- showing ----------------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        full = len(self.items) >= self.field.most
        self._note.setVisible(self._shown and not self.items)
        self.add.setEnabled(not full)
        self.add.setToolTip(f"There may be {self.field.most} at most." if full else f"Add another {self.field.each}.")
        before: QWidget = self.add
        for item in self.items:
            item.part.set_shown(self._shown, self._advanced)
            for widget in item.stops():
                QWidget.setTabOrder(before, widget)
                before = widget

    def show_problems(self, problems: Problems) -> None:
        self._message.setText(sentence(problems.pop(self.field.path, "")))
        self._message.setVisible(self._shown and bool(self._message.text()))
        for item in self.items:
            item.part.show_problems(problems)

    def has_problem(self, *, advanced: bool) -> bool:
        own = bool(self._message.text()) and not advanced
        return own or any(item.part.has_problem(advanced=advanced) for item in self.items)

    def set_shown(self, shown: bool, advanced: bool) -> None:
        self._shown, self._advanced = shown, advanced
        self._box.setVisible(shown)
        self._refresh()

    def has_advanced(self) -> bool:
        return any(item.part.has_advanced() for item in self.items)

    def differs(self) -> bool:
        return bool(self.items)


class _Item(QWidget):
    """One section, under its name and beside a button that removes it."""

    def __init__(self, field: Field, changed: Changed, make: MakePart, parent: QWidget) -> None:
        super().__init__(parent)
        title = PlainLabel(field.title.replace("&", "&&"), self)
        font = title.font()
        font.setItalic(True)
        title.setFont(font)
        self.remove = QToolButton(self)
        self.remove.setObjectName(f"{field.path}.remove")
        self.remove.setText("✕")
        self.remove.setAutoRaise(True)
        self.remove.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.remove.setAccessibleName(f"Remove {field.title.lower()}")
        self.remove.setToolTip(f"Remove {field.title.lower()}.")
        self._body = QWidget(self)
        grid = QGridLayout(self._body)
        grid.setContentsMargins(0, 0, 0, 4)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        self.part = make(field, grid, changed)
        line = QHBoxLayout()
        line.addWidget(title, 1)
        line.addWidget(self.remove)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(line)
        layout.addWidget(self._body)

    def stops(self) -> list[QWidget]:
        """Return what Tab stops at, in order."""
        editors = self._body.findChildren(QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly)
        return [self.remove, *(widget for widget in editors if widget.focusPolicy() & Qt.FocusPolicy.TabFocus)]


def _discard(item: _Item) -> None:
    item.hide()
    item.setParent(None)
    item.deleteLater()


def halfway(first: Any, last: Any) -> Any:
    """Return a copy of one value with whole numbers halfway to those of another, where both are of one kind.

    Halfway is the geometric mean: from 8 to 2 it is 4. Where a field is written in another way, or not at all, the copy
    has it as the first does.
    """
    if isinstance(first, dict) and isinstance(last, dict) and first.get("kind") == last.get("kind"):
        return {key: halfway(value, last.get(key)) for key, value in first.items()}
    if isinstance(first, int) and isinstance(last, int) and min(first, last) > 0 and not isinstance(first, bool):
        return round(math.sqrt(first * last))
    return copy.deepcopy(first)
