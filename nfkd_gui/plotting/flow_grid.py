"""Images of several flows: a row for each flow, and in each column what comes from the same noise or position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PySide6.QtCore import QEvent, QPoint, QRect, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetrics, QHelpEvent, QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from nfkd.protocol.flags import USABLE, describe_flag
from nfkd_gui.plotting.grid_row import GridRow, paint_flag, strip_of
from nfkd_gui.plotting.grid_shape import CELL, GAP, GROUP_GAP, ROW_GAP, GridShape, fit_paths, fit_samples
from nfkd_gui.theme import font, scaled, tokens
from nfkd_gui.widgets.caption import fitting

_FRAME = 2
"""Pixels above and below the images for the frame around a column."""
_LABELS = 0.34
"""The names may take this fraction of the width."""
_TAG = 8
"""Pixels: distance of the names, and of the text of an empty row from its border."""
_STEPS = {
    Qt.Key.Key_Left: (0, -1), Qt.Key.Key_Right: (0, 1), Qt.Key.Key_Up: (-1, 0), Qt.Key.Key_Down: (1, 0),
}  # fmt: skip
"""Rows down and images to the right, by key."""


class _Cell(NamedTuple):
    """An image at its place: its row, and its number among the row's images."""

    row: int
    number: int


class FlowGrid(QWidget):
    """Shows images of several flows as large as they fit; pixels are never blended."""

    chosen = Signal(int)
    """The column that was pressed: the number of the noise, or of the frame on its path."""
    picked = Signal(str, int)
    """The row and the number of the image that was pressed."""

    def __init__(self, item: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._item = item
        self._head: GridRow | None = None
        self._rows: list[GridRow] = []
        self._length = 0
        self._order: np.ndarray | None = None
        self._strips: dict[str, QImage] = {}
        self._shape = GridShape(0, 0, 0, 0)
        self._hovered = -1
        self._cursor = _Cell(0, 0)
        self.marked = -1
        """The column with a frame around it; −1 for none."""
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(f"Images of all flows, by {item}")
        self.setAccessibleDescription("The arrow keys choose an image, Return opens it in the sample inspector.")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def show_rows(
        self,
        rows: Sequence[GridRow],
        *,
        head: GridRow | None = None,
        length: int = 0,
        order: np.ndarray | None = None,
        ink: bool = False,
    ) -> None:
        """Show flows.

        Parameters
        ----------
        rows
            The flows, from top to bottom.
        head
            Images above all groups whose columns mean nothing, such as those of the data.
        length
            Frames of a path; each path begins a group. 0 for samples, which fill the lines.
        order
            (n,) numbers of the samples in the order in which they are shown.
        ink
            Whether grey images are shown dark on light.
        """
        self._head, self._rows, self._length, self._order = head, list(rows), length, order
        every = [*rows, *([head] if head is not None else [])]
        self._strips = {row.role: strip_of(row.images, ink=ink) for row in every if row.images is not None}
        self._fit()
        self.update()

    def mark(self, column: int) -> None:
        """Draw a frame around a column."""
        if column != self.marked:
            self.marked = column
            self.update()

    def minimumSizeHint(self) -> QSize:
        return QSize(scaled(160), scaled(96))

    def sizeHint(self) -> QSize:
        return QSize(scaled(400), scaled(240))

    # --- geometry -------------------------------------------------------------------------------------------------

    def _known(self) -> np.ndarray | None:
        every = [*self._rows, *([self._head] if self._head is not None else [])]
        return next((row.images for row in every if row.images is not None), None)

    def _fit(self) -> None:
        images = self._known()
        if images is None or not self._rows:
            self._shape = GridShape(0, 0, 0, 0)
            return
        count, aspect = len(images), images.shape[2] / images.shape[3]
        counts = [len(row.images) for row in self._rows if row.images is not None]
        count = counts[0] if counts else count
        room = (max(1, self.width() - self._label_width()), max(1, self.height() - 2 * _FRAME))
        if self._length:
            self._shape = fit_paths(self._length, count // self._length, len(self._rows), room, aspect)
        else:
            head = self._head is not None
            self._shape = fit_samples(count, len(self._rows), room, aspect, head=head, cell=scaled(CELL))

    def _label_width(self) -> int:
        every = [*([self._head] if self._head is not None else []), *self._rows]
        names = QFontMetrics(font("strong"))
        captions = QFontMetrics(font("caption"))
        widths = [names.horizontalAdvance(row.title) for row in every]
        captioned = [row.caption for row in self._rows if row.images is not None]
        shortest = [next((text for text in reversed(texts) if text), "") for texts in captioned]
        widths += [captions.horizontalAdvance(text) for text in shortest]
        return min(max(widths, default=0) + scaled(_TAG) + 2, int(_LABELS * self.width()))

    def _top(self, group: int, row: int) -> int:
        """Return the upper edge of a row; row −1 is that of the head."""
        shape = self._shape
        if row < 0:
            return _FRAME
        head = _FRAME + (shape.height + GROUP_GAP if self._head is not None else 0)
        height = len(self._rows) * (shape.height + ROW_GAP) - ROW_GAP + GROUP_GAP
        return head + group * height + row * (shape.height + ROW_GAP)

    def _number(self, group: int, column: int) -> int:
        """Return the number of the image in a column of a group, or −1 if there is none."""
        shape = self._shape
        if not self._length:
            place = group * shape.columns + column
            count = next((len(row.images) for row in self._rows if row.images is not None), 0)
            if place >= count:
                return -1
            return int(self._order[place]) if self._order is not None else place
        lines = -(-self._length // shape.columns)
        path, line = divmod(group, lines)
        frame = line * shape.columns + column
        return path * self._length + frame if frame < self._length else -1

    def cell_rect(self, group: int, row: int, column: int) -> QRect:
        """Return the place of an image; row −1 is the head."""
        shape = self._shape
        left = self._label_width() + column * (shape.width + GAP)
        return QRect(left, self._top(group, row), shape.width, shape.height)

    @property
    def shape(self) -> GridShape:
        """The grid that is shown."""
        return self._shape

    def _cell_at(self, point: QPoint) -> _Cell | None:
        shape = self._shape
        for row in range(-1 if self._head is not None else 0, len(self._rows)):
            for group in range(shape.groups if row >= 0 else 1):
                for column in range(shape.columns):
                    if self.cell_rect(group, row, column).contains(point):
                        number = column if row < 0 else self._number(group, column)
                        return _Cell(row, number) if number >= 0 else None
        return None

    # --- painting -------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
        if self._head is not None:
            self._paint_label(painter, self._head, self._top(0, -1), first=True)
            self._paint_images(painter, self._head, 0, -1)
        for group in range(self._shape.groups):
            for index, row in enumerate(self._rows):
                self._paint_label(painter, row, self._top(group, index), first=group == 0)
                self._paint_images(painter, row, group, index)
        for column in {self.marked, self._hovered} - {-1}:
            self._paint_mark(painter, column)
        if self.hasFocus() and (place := self._cursor_rect()) is not None:
            painter.setPen(QPen(QColor(tokens().accent), 3))
            painter.drawRect(place.adjusted(-1, -1, 0, 0))
        painter.end()

    def _paint_label(self, painter: QPainter, row: GridRow, top: int, *, first: bool) -> None:
        width, height = self._label_width() - scaled(_TAG), self._shape.height
        painter.setFont(font("strong"))
        painter.setPen(QColor(row.ink))
        name = QFontMetrics(font("strong"))
        shown = name.elidedText(row.title, Qt.TextElideMode.ElideMiddle, width)
        small = QFontMetrics(font("caption"))
        caption = fitting(row.caption, small, width) if first and row.images is not None else ""
        both = bool(caption) and name.height() + small.height() <= height
        lines = name.height() + (small.height() if both else 0)
        top += max(0, height - lines) // 2
        painter.drawText(QRect(0, top, width, name.height()), int(Qt.AlignmentFlag.AlignVCenter), shown)
        if both:
            painter.setFont(font("caption"))
            painter.setPen(QColor(tokens().muted))
            place = QRect(0, top + name.height(), width, small.height())
            painter.drawText(place, int(Qt.AlignmentFlag.AlignVCenter), caption)

    def _paint_images(self, painter: QPainter, row: GridRow, group: int, index: int) -> None:
        strip = self._strips.get(row.role)
        if strip is None or row.images is None:
            self._paint_empty(painter, row, group, index)
            return
        width, count = row.images.shape[3], len(row.images)
        for column in range(self._shape.columns):
            number = column if index < 0 else self._number(group, column)
            if 0 <= number < count:
                place = self.cell_rect(group, index, column)
                painter.drawImage(place, strip, QRect(number * width, 0, width, strip.height()))
                flag = int(row.flags[number]) if row.flags is not None else USABLE
                if describe_flag(flag):
                    paint_flag(painter, place, flag)

    def _paint_empty(self, painter: QPainter, row: GridRow, group: int, index: int) -> None:
        last = self.cell_rect(group, index, self._shape.columns - 1)
        place = self.cell_rect(group, index, 0).united(last).adjusted(0, 0, -1, -1)
        painter.setPen(QPen(QColor(tokens().border), 1, Qt.PenStyle.DashLine))
        painter.drawRect(place)
        if group == 0 and row.caption:
            painter.setPen(QColor(tokens().muted))
            painter.setFont(font("caption"))
            inner = place.adjusted(scaled(_TAG), 0, -scaled(_TAG), 0)
            shown = fitting(row.caption, QFontMetrics(font("caption")), inner.width())
            painter.drawText(inner, int(Qt.AlignmentFlag.AlignVCenter), shown)

    def _paint_mark(self, painter: QPainter, chosen: int) -> None:
        painter.setPen(QPen(QColor(tokens().accent), _FRAME))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        drawn = [index for index, row in enumerate(self._rows) if row.images is not None]
        if not drawn:
            return
        for group in range(self._shape.groups):
            for column in range(self._shape.columns):
                number = self._number(group, column)
                if number >= 0 and self._column_of(number) == chosen:
                    first, last = (self.cell_rect(group, row, column) for row in (drawn[0], drawn[-1]))
                    painter.drawRect(first.united(last).adjusted(-1, -1, 0, 0))

    def _column_of(self, number: int) -> int:
        return number % self._length if self._length else number

    # --- the pointer ----------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QEvent) -> None:  # type: ignore[override]
        super().resizeEvent(event)  # type: ignore[arg-type]
        self._fit()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        found = self._cell_at(event.position().toPoint())
        hovered = self._column_of(found.number) if found is not None and found.row >= 0 else -1
        if hovered != self._hovered:
            self._hovered = hovered
            self.update()
        if hovered >= 0 and event.buttons() & Qt.MouseButton.LeftButton:
            self.chosen.emit(hovered)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        found = self._cell_at(event.position().toPoint())
        if found is None or event.button() != Qt.MouseButton.LeftButton:
            return
        if found.row >= 0:
            self.chosen.emit(self._column_of(found.number))
        self._cursor = found
        self._pick()

    def _pick(self) -> None:
        """Report the image under the cursor."""
        row = self._row_at(self._cursor.row)
        if row is not None and row.images is not None and 0 <= self._cursor.number < len(row.images):
            self.picked.emit(row.role, self._cursor.number)

    def _row_at(self, index: int) -> GridRow | None:
        """Return a row; −1 is the head."""
        if index < 0:
            return self._head
        return self._rows[index] if index < len(self._rows) else None

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = _STEPS.get(Qt.Key(event.key()))
        if step is not None:
            self._move(*step)
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._pick()
        else:
            super().keyPressEvent(event)

    def _move(self, down: int, right: int) -> None:
        """Move the cursor by a row or an image, and mark its column."""
        row = self._row_at(self._cursor.row + down)
        if row is None or row.images is None:
            return
        places = list(range(len(row.images)))
        if self._order is not None and self._cursor.row + down >= 0:
            places = [int(number) for number in self._order]
        known = self._cursor.number if self._cursor.number in places else places[0]
        number = places[min(max(places.index(known) + right, 0), len(places) - 1)]
        self._cursor = _Cell(self._cursor.row + down, number)
        if self._cursor.row >= 0:
            self.chosen.emit(self._column_of(number))
        self.update()

    def _cursor_rect(self) -> QRect | None:
        """Return the place of the image under the cursor, if it is shown."""
        for group in range(self._shape.groups if self._cursor.row >= 0 else 1):
            for column in range(self._shape.columns):
                number = column if self._cursor.row < 0 else self._number(group, column)
                if number == self._cursor.number:
                    return self.cell_rect(group, self._cursor.row, column)
        return None

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._hovered = -1
        self.update()

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            QToolTip.showText(event.globalPos(), self.describe_at(event.pos()), self)
            return True
        return super().event(event)

    def describe_at(self, point: QPoint) -> str:
        """Return what is at a point: the flow, the number, what is wrong with the image, and log p."""
        found = self._cell_at(point)
        if found is None:
            return ""
        row = self._head if found.row < 0 else self._rows[found.row]
        if row is None or row.images is None:
            return ""
        item = self._item if found.row >= 0 else "example"
        parts = [f"{row.title}, {item} {self._column_of(found.number) + 1}"]
        if row.flags is not None and (problem := describe_flag(int(row.flags[found.number]))):
            parts.append(problem)
        if row.log_prob is not None and found.number < len(row.log_prob):
            parts.append(f"log p {row.log_prob[found.number]:.1f} nats".replace("-", "−"))
        return "\n".join(parts)
