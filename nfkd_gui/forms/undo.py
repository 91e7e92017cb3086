"""Undo and redo of changes in the form."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

from PySide6.QtGui import QUndoCommand

from nfkd_gui.forms.fields import all_fields

Document = dict[str, Any]


def change_name(path: str) -> str:
    """Return the name of the change of a field, such as ``Change weight of LKD``."""
    path = "data.kind" if path == "data" else path  # the whole table, with its kind
    first, _, rest = path.partition(".")
    number, _, of_item = rest.partition(".")
    if first == "assistants" and number.isdecimal():  # they have the fields of the student
        leaf = _titles().get(f"student.{of_item}", ("", of_item))[-1]
        return f"Change {_lower(leaf)} of assistant {int(number) + 1}"
    *above, leaf = _titles().get(path, (path.replace("_", " "),))
    parent = above[-1] if above else ""
    of_parent = "" if not parent or parent.lower() in {*leaf.lower().split(), "experiment"} else f" of {_lower(parent)}"
    return f"Change {_lower(leaf)}{of_parent}"


@cache
def _titles() -> dict[str, tuple[str, ...]]:
    """Return the titles of each field and of the sections above it."""
    return {field.path: tuple(field.title.split(" › ")) for field in reversed(all_fields())}


def _lower(title: str) -> str:
    """Return a title inside a sentence; names such as LKD and ActNorm keep their capitals."""
    first = title.partition(" ")[0].partition("'")[0]
    return title[:1].lower() + title[1:] if first[1:].islower() else title


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
    name
        Text of the step; by default it names the field.
    """

    def __init__(
        self,
        path: str,
        before: Document,
        after: Document,
        apply: Callable[[Document], None],
        *,
        merges: bool = True,
        name: str = "",
    ) -> None:
        super().__init__(name or change_name(path))
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
