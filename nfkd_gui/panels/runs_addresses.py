"""Rows of the table of runs by what stays the same when rows are added, removed or sorted."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QItemSelection, QModelIndex

from nfkd_gui.panels.runs_model import Index, RunsModel

Address = tuple[str, int]
"""The key of a row's group, and the number of its seed or -1."""


def address_of(model: RunsModel, index: Index) -> Address:
    """Return the address of a row."""
    return model.group_at(index).key, index.row() if index.internalId() else -1


def find_rows(model: RunsModel, addresses: Iterable[Address]) -> Iterable[QModelIndex]:
    """Yield the first cells of the rows that are still shown."""
    for key, number in addresses:
        index = model.index_of(key)
        if index.isValid() and number >= 0:
            index = model.index(number, 0, index) if number < model.rowCount(index) else QModelIndex()
        if index.isValid():
            yield index


def selection_of(model: RunsModel, addresses: Iterable[Address]) -> QItemSelection:
    """Return a selection with one range for groups that follow each other."""
    indexes, chosen = list(find_rows(model, addresses)), QItemSelection()
    rows = sorted(index.row() for index in indexes if not index.parent().isValid())
    starts = [row for before, row in zip([-2, *rows], rows, strict=False) if row != before + 1]
    ends = [row for row, after in zip(rows, [*rows[1:], -2], strict=False) if after != row + 1]
    for first, last in zip(starts, ends, strict=True):
        chosen.select(model.index(first, 0), model.index(last, 0))
    for index in indexes:
        if index.parent().isValid():
            chosen.select(index, index)
    return chosen
