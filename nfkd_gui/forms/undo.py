"""Undo and redo of changes in the form."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

from PySide6.QtGui import QUndoCommand

Document = dict[str, Any]


class Edit(QUndoCommand):
    """A change of the document; successive changes of the same field merge into one.

    Parameters
    ----------
    path
        The changed field.
    before, after
        The whole document.
    apply
        Shows a document in the form and sets it in the experiment.
    merges
        Whether the change may merge with others of the same field.
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
        if self._first:  # pushing the command calls redo(), but the change is already made
            self._first = False
            return
        self._apply(self.after)
