"""Undo and redo of the form's changes."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

from PySide6.QtGui import QUndoCommand

Document = dict[str, Any]


class Edit(QUndoCommand):
    """One change; changes of the same field one after another become one.

    Parameters
    ----------
    path
        The changed field.
    before, after
        The whole document.
    apply
        Puts a document into the form and the experiment.
    merges
        Whether it may become one with changes of the same field before and after it.
    """

    def __init__(
        self, path: str, before: Document, after: Document, apply: Callable[[Document], None], *, merges: bool = True
    ) -> None:
        super().__init__(f"change of {path}")
        self.path = path
        self._before = before
        self.after = after
        self._apply = apply
        self._first = True
        self._merges = merges

    def id(self) -> int:
        return zlib.crc32(self.path.encode()) & 0x7FFFFFFF if self._merges else -1

    def mergeWith(self, other: QUndoCommand) -> bool:
        if not isinstance(other, Edit) or other.path != self.path:
            return False
        self.after = other.after
        return True

    def undo(self) -> None:
        self._apply(self._before)

    def redo(self) -> None:
        if self._first:  # the user's own typing has done it already
            self._first = False
            return
        self._apply(self.after)
