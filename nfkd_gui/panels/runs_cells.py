"""Cells of the table of runs: check box, picture, chips, numbers with deviations, and the closed gap as a bar."""

from __future__ import annotations

import functools
from typing import Any, cast

import numpy as np
from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QImage, QPainter, QPen, QPixmap
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from nfkd_gui.model.run_columns import ColumnFormat
from nfkd_gui.panels.runs_model import Cell, RunsModel
from nfkd_gui.theme import font, role_colour, scaled, tokens
from nfkd_gui.widgets.chip import chip_size, chip_text, paint_chip

Index = QModelIndex | QPersistentModelIndex
ROW, PICTURE_ROW = 34, 52
"""Heights of a row, without and with a picture."""
_MARGIN, _CHECK, _ARROW, _PICTURE, _GAP = 8, 16, 20, 44, 4
_BAR, _THICK = 44, 6
_TEACHER = 0.7
"""Where the teacher is in the bar: a student that closes more than the gap runs past it."""
_LEAST = -0.2
_PIXMAPS = 2000
_LONGEST_STATE = "running 100 %"
_LEFT = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
_RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
_SELECTED, _HOVERED = QStyle.StateFlag.State_Selected.value, QStyle.StateFlag.State_MouseOver.value
"""As numbers: operations of Python's enumerations are slow."""
_CHECK_MARK = ((4.5, 8.2), (7.0, 10.8), (11.5, 5.5))  # in a box of 16


def check_rect(row: QRect) -> QRect:
    """Return the check box in the first cell of a row."""
    side = scaled(_CHECK)
    return QRect(row.left() + scaled(_MARGIN), row.center().y() - side // 2, side, side)


def arrow_rect(row: QRect) -> QRect:
    """Return the arrow that unfolds a row."""
    check = check_rect(row)
    return QRect(check.right() + scaled(_GAP), row.top(), scaled(_ARROW), row.height())


def picture_side() -> int:
    """Return the side of a picture in pixels."""
    return scaled(_PICTURE)


class RunCell(QStyledItemDelegate):
    """Paints every cell of the table; the view restores the painter after each row."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        self._pixmaps: dict[int, tuple[np.ndarray, QPixmap]] = {}

    def forget_pictures(self) -> None:
        """Forget pictures in the colours of another theme."""
        self._pixmaps.clear()

    # --- sizes ----------------------------------------------------------------------------------------------------

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        del option
        model = cast(RunsModel, index.model())
        return QSize(0, scaled(PICTURE_ROW if model.pictures else ROW))  # `RunsTree.fit` sets the widths

    def width(self, model: RunsModel, index: Index) -> int:
        """Return the width of a cell that shows all of its content."""
        cell, metrics, margins = model.cell(index), QFontMetrics(font("body")), scaled(2 * _MARGIN)
        if cell.chips:
            sizes = [chip_size(chip_text(*chip)).width() for chip in cell.chips]
            return sum(sizes) + scaled(_GAP) * (len(sizes) - 1) + margins
        shown = model.format(model.columns[index.column()])
        if shown.column.kind == "state":
            return max(map(metrics.horizontalAdvance, (cell.text, _LONGEST_STATE))) + scaled(_GAP) + margins
        extra = cell.extra or (shown.deviation(0.0) if shown.deviations and cell.text else "")
        text = metrics.horizontalAdvance(" ".join(part for part in (cell.text, extra) if part)) + scaled(_GAP)
        if index.column() == 0:
            return self._name_left(QRect(), model.pictures) + text + margins
        if cell.share is not None:
            text += scaled(_BAR + 2 * _MARGIN) + metrics.horizontalAdvance(" %")
        return text + margins

    @staticmethod
    def _name_left(row: QRect, pictures: bool) -> int:
        room = scaled(_PICTURE + _MARGIN) if pictures else 0
        return arrow_rect(row).right() + 1 + room

    # --- painting -------------------------------------------------------------------------------------------------

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        model = cast(RunsModel, index.model())
        cell, given = model.cell(index), cast(Any, option)
        rect: QRect = given.rect
        self._paint_ground(painter, given, cell)
        painter.setPen(QColor(tokens().muted if cell.child or cell.muted else tokens().text))
        painter.setFont(font("strong" if cell.bold else "body"))
        place = rect.adjusted(scaled(_MARGIN), 0, -scaled(_MARGIN), 0)
        if index.column() == 0:
            self._paint_name(painter, given, cell, model.pictures)
        elif cell.chips:
            _paint_chips(painter, place, cell)
        elif cell.share is not None:
            self._paint_share(painter, place, cell)
        else:
            self._paint_text(painter, place, cell, model.format(model.columns[index.column()]))

    @staticmethod
    def _paint_ground(painter: QPainter, option: Any, cell: Cell) -> None:
        state, colours = option.state.value, tokens()
        if state & _SELECTED:
            painter.fillRect(option.rect, QColor(colours.soft))
        elif state & _HOVERED:
            painter.fillRect(option.rect, QColor(colours.hover))
        elif cell.child:
            painter.fillRect(option.rect, QColor(colours.raised))

    def _paint_name(self, painter: QPainter, option: Any, cell: Cell, pictures: bool) -> None:
        rect: QRect = option.rect
        left = self._name_left(rect, pictures)
        if not cell.child:
            _paint_check(painter, check_rect(rect), cell.colour)
            if cell.expandable:
                _paint_arrow(painter, arrow_rect(rect), bool(option.state & QStyle.StateFlag.State_Open))
            if cell.picture is not None:
                side = scaled(_PICTURE)
                top = rect.center().y() - side // 2
                painter.drawPixmap(arrow_rect(rect).right() + 1, top, side, side, self._pixmap(cell.picture))
        painter.setPen(QColor(tokens().muted if cell.child else tokens().text))
        room = rect.adjusted(left - rect.left(), 0, -scaled(_MARGIN), 0)
        _draw_elided(painter, room, cell.text, _LEFT, Qt.TextElideMode.ElideMiddle)

    @staticmethod
    def _paint_text(painter: QPainter, place: QRect, cell: Cell, shown: ColumnFormat) -> None:
        if not shown.numeric:
            _draw_elided(painter, place, cell.text, _LEFT)
            return
        if shown.deviations or cell.extra:  # numbers stand below each other, also where one has no deviation
            ink = painter.pen()
            painter.setPen(QColor(tokens().muted))
            painter.drawText(place, _RIGHT, cell.extra)
            painter.setPen(ink)
            wide = cell.extra or shown.deviation(0.0)
            place = place.adjusted(0, 0, -painter.fontMetrics().horizontalAdvance(f" {wide}"), 0)
        _draw_elided(painter, place, cell.text, _RIGHT)

    def _paint_share(self, painter: QPainter, place: QRect, cell: Cell) -> None:
        if not cell.child:
            _paint_bar(painter, place, cell)
        text = f"{cell.text} {cell.extra} %" if cell.extra else f"{cell.text} %"
        painter.drawText(place, _RIGHT, text)

    def _pixmap(self, picture: np.ndarray) -> QPixmap:
        known = self._pixmaps.get(id(picture))
        if known is None:
            if len(self._pixmaps) >= _PIXMAPS:
                self._pixmaps.clear()
            known = self._pixmaps[id(picture)] = (picture, thumbnail(picture))
        return known[1]


def _draw_elided(
    painter: QPainter, place: QRect, text: str, side: int, mode: Qt.TextElideMode = Qt.TextElideMode.ElideRight
) -> None:
    if text:
        painter.drawText(place, side, painter.fontMetrics().elidedText(text, mode, place.width()))


def _paint_check(painter: QPainter, place: QRect, colour: int | None) -> None:
    colours, box = tokens(), QRectF(place).adjusted(0.5, 0.5, -0.5, -0.5)
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    chosen = colours.run[colour] if colour is not None else None
    painter.setPen(QColor(chosen or colours.faint))
    painter.setBrush(QColor(chosen or colours.panel))
    painter.drawRoundedRect(box, scaled(4), scaled(4))
    if chosen:
        painter.setPen(QPen(QColor(colours.panel), 1.6 * place.width() / _CHECK))
        points = [QPointF(x, y) * place.width() / _CHECK + QPointF(place.topLeft()) for x, y in _CHECK_MARK]
        painter.drawPolyline(points)
    painter.restore()


def _paint_arrow(painter: QPainter, place: QRect, unfolded: bool) -> None:
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(QColor(tokens().muted), 1.5))
    middle, half = QPointF(place.center()), scaled(4)
    ends = ((-half, -half / 2), (0, half / 2), (half, -half / 2)) if unfolded else (
        (-half / 2, -half), (half / 2, 0), (-half / 2, half))  # fmt: skip
    painter.drawPolyline([middle + QPointF(x, y) for x, y in ends])
    painter.restore()


def _paint_chips(painter: QPainter, place: QRect, cell: Cell) -> None:
    left = float(place.left())
    painter.save()
    for text, tone in cell.chips:
        shown = chip_text(text, tone)
        size = chip_size(shown)
        room = place.left() + place.width() - left
        if room < scaled(_ARROW):
            break
        if size.width() > room:
            metrics = QFontMetrics(font("caption"))
            shown = metrics.elidedText(shown, Qt.TextElideMode.ElideRight, round(room) - scaled(_ARROW))
        width = min(size.width(), room)
        paint_chip(painter, QRectF(left, place.center().y() - size.height() / 2, width, size.height()), shown, tone)
        left += width + scaled(_GAP)
    painter.restore()


def _paint_bar(painter: QPainter, place: QRect, cell: Cell) -> None:
    """Paint the bar from the baseline at zero, the teacher's mark and the deviation over seeds."""
    goal, thick, middle = scaled(_BAR) * _TEACHER, scaled(_THICK), place.center().y() + 0.5
    zero = place.left() - _LEAST * goal

    def x(share: float) -> float:
        return zero + min(max(share, _LEAST), 1 / _TEACHER) * goal

    share = cell.share or 0.0
    painter.save()
    painter.fillRect(
        QRectF(zero, middle - thick / 2, x(share) - zero, thick).normalized(), QColor(role_colour("student"))
    )
    painter.setPen(QPen(QColor(role_colour("baseline")), 1))
    painter.drawLine(QPointF(zero, middle - thick), QPointF(zero, middle + thick))
    painter.setPen(QPen(QColor(role_colour("teacher")), max(1, scaled(1)), Qt.PenStyle.DotLine))
    painter.drawLine(QPointF(round(x(1.0)), middle - thick), QPointF(round(x(1.0)), middle + thick))
    if cell.deviation is not None:
        painter.setPen(QPen(QColor(tokens().text), 1))
        painter.drawLine(QPointF(x(share - cell.deviation), middle), QPointF(x(share + cell.deviation), middle))
    painter.restore()


def thumbnail(picture: np.ndarray) -> QPixmap:
    """Return a picture in the theme's colours: a grey one from the panel's colour to that of the student."""
    levels = np.ascontiguousarray(picture)
    if levels.ndim == 2:
        levels = np.ascontiguousarray(_ramp(tokens().panel, role_colour("student"))[levels])
    height, width, _ = levels.shape
    image = QImage(levels.data, width, height, 3 * width, QImage.Format.Format_RGB888)
    return QPixmap.fromImage(image.copy())


@functools.cache
def _ramp(ground: str, ink: str) -> np.ndarray:
    """Return (256, 3) colours from that of the ground to that of the ink, then to a darker or lighter one."""
    ends = [QColor(ground), QColor(ink)]
    ends.append(ends[1].darker(260) if ends[0].lightness() > ends[1].lightness() else ends[1].lighter(170))
    stops = np.array([[colour.red(), colour.green(), colour.blue()] for colour in ends], float)
    at = np.linspace(0, 2, 256)
    return np.stack([np.interp(at, (0, 1, 2), stops[:, channel]) for channel in range(3)], -1).round().astype(np.uint8)
