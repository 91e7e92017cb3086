"""Cells of the table of runs that are more than text: the verdict as a chip, the closed gap as a bar."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPen
from PySide6.QtWidgets import QStyledItemDelegate, QStyleOptionViewItem

from nfkd_gui.panels.runs_model import CHIP_ROLE, GAP_ROLE
from nfkd_gui.theme import role_colour, scaled, tokens
from nfkd_gui.widgets.chip import chip_size, chip_text, paint_chip

Index = QModelIndex | QPersistentModelIndex
_BAR, _THICK, _MARGIN = 48, 6, 8
_TEACHER = 0.75
"""Where the teacher stands in the bar: what closes more than the gap runs past it."""


class _Cell(QStyledItemDelegate):
    """Paints the ground of a cell, without its text."""

    def initStyleOption(self, option: QStyleOptionViewItem, index: Index) -> None:
        super().initStyleOption(option, index)
        option.text = ""  # type: ignore[attr-defined] - PySide's stubs lack the fields

    def place(self, option: QStyleOptionViewItem) -> QRectF:
        """Return the cell without its margins."""
        rect: Any = option.rect  # type: ignore[attr-defined]
        return QRectF(rect).adjusted(scaled(_MARGIN), 0, -scaled(_MARGIN), 0)


class ChipCell(_Cell):
    """A verdict as a chip."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        super().paint(painter, option, index)
        chip = index.data(CHIP_ROLE)
        if chip is not None:
            text, place = chip_text(*chip), self.place(option)
            size = chip_size(text)
            painter.save()
            top = place.center().y() - size.height() / 2
            paint_chip(painter, QRectF(place.left(), top, size.width(), size.height()), text, chip[1])
            painter.restore()

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        chip = index.data(CHIP_ROLE)
        size = chip_size(chip_text(*chip)) if chip is not None else QSize(0, 0)
        return QSize(size.width() + scaled(2 * _MARGIN), super().sizeHint(option, index).height())


class GapCell(_Cell):
    """The closed share of the gap as a bar with the teacher's mark, and as a number."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        super().paint(painter, option, index)
        closed = index.data(GAP_ROLE)
        if closed is None:
            return
        place, goal = self.place(option), scaled(_BAR) * _TEACHER
        middle, thick = place.center().y(), scaled(_THICK)
        painter.save()
        end = min(max(closed, -0.2), 1 / _TEACHER) * goal
        bar = QRectF(place.left(), middle - thick / 2, end, thick).normalized()
        painter.fillRect(bar, QColor(role_colour("student")))
        painter.setPen(QPen(QColor(role_colour("baseline")), 1))
        painter.drawLine(round(place.left()), round(middle - thick), round(place.left()), round(middle + thick))
        painter.setPen(QPen(QColor(role_colour("teacher")), scaled(1), Qt.PenStyle.DotLine))
        mark = round(place.left() + goal)
        painter.drawLine(mark, round(middle - thick), mark, round(middle + thick))
        painter.setPen(QColor(tokens().text))
        painter.drawText(place, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, index.data())
        painter.restore()

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        size = super().sizeHint(option, index)
        return QSize(scaled(_BAR + 56 + 2 * _MARGIN), size.height())
