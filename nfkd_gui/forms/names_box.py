"""The editor of a list of names in one line."""

from __future__ import annotations

import csv
from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLineEdit, QWidget


def parse_names(text: str) -> list[str]:
    """Return the names in a line such as ``mass, "charge, e"``: separated by commas, quoted if they contain one."""
    [cells] = csv.reader([text], skipinitialspace=True) if text.strip() else [[]]
    return [cell.strip() for cell in cells if cell.strip()]


def format_names(names: Sequence[object]) -> str:
    """Return names as one line that `parse_names` reads."""
    return ", ".join(_quoted(str(name)) for name in names)


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"' if set(name) & set(',"') else name


class NamesBox(QLineEdit):
    """Names separated by commas. A value that no line can show is kept until the user types."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._foreign: object = None
        self.setPlaceholderText("a, b, c")
        self.textEdited.connect(self._typed)

    def value(self) -> object:
        """Return the names, or the document's value if it is no list of names."""
        return parse_names(self.text()) if self._foreign is None else self._foreign

    def set_value(self, value: object) -> None:
        names = value if isinstance(value, list) else [] if value in (None, "") else [value]
        text = format_names(names)
        faithful = not names or (value == parse_names(text))
        if self._foreign is None and faithful and parse_names(self.text()) == names:
            return  # do not change the spaces of a text that the user is typing
        self._foreign = None if faithful else value
        self.setText(text)
        self.setCursorPosition(0)

    def _typed(self) -> None:
        self._foreign = None
        self.changed.emit()
