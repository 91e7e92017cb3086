"""A layout that wraps its items into lines, as text is wrapped, and a bar of controls with this layout."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPoint, QRect, QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QLayout, QLayoutItem, QWidget

from nfkd_gui.theme import set_space


class FlowLayout(QLayout):
    """Lays items out from left to right and wraps them at the width.

    Parameters
    ----------
    spacing
        Pixels between items and between lines, at 100 %.
    """

    def __init__(self, spacing: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._items: list[QLayoutItem] = []
        set_space(self, spacing)

    def addItem(self, item: QLayoutItem) -> None:
        self._items.append(item)

    def count(self) -> int:
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:  # type: ignore[override]
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:  # type: ignore[override]
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def expandingDirections(self) -> Qt.Orientation:
        return Qt.Orientation(0)

    def height_in(self, width: int) -> int:
        """Return the height of the lines at this width."""
        return self._place(QRect(0, 0, width, 0), apply=False)

    def setGeometry(self, rect: QRect) -> None:
        super().setGeometry(rect)
        self._place(rect, apply=True)

    def sizeHint(self) -> QSize:
        sizes = [item.sizeHint() for item in self._shown()]
        width = sum(size.width() + self.spacing() for size in sizes)
        return QSize(width, max((size.height() for size in sizes), default=0))

    def minimumSize(self) -> QSize:
        size = QSize()
        for item in self._shown():
            size = size.expandedTo(item.minimumSize())
        return size

    def _shown(self) -> list[QLayoutItem]:
        return [item for item in self._items if not item.isEmpty()]

    def _place(self, rect: QRect, *, apply: bool) -> int:
        """Place the items in a rectangle, or only measure them; return their height."""
        lines: list[list[tuple[QLayoutItem, int]]] = [[]]
        right = 0
        for item in self._shown():
            width = min(item.sizeHint().width(), max(rect.width(), item.minimumSize().width()))
            if lines[-1] and right + width > rect.width():
                lines.append([])
                right = 0
            lines[-1].append((item, width))
            right += width + self.spacing()
        top = rect.top()
        for line in lines:
            height = max((item.sizeHint().height() for item, _width in line), default=0)
            if apply:
                self._place_line(line, rect.left(), top, height)
            top += height + self.spacing()
        return top - self.spacing() - rect.top()

    def _place_line(self, line: list[tuple[QLayoutItem, int]], left: int, top: int, height: int) -> None:
        for item, width in line:
            size = QSize(width, item.sizeHint().height())
            item.setGeometry(QRect(QPoint(left, top + (height - size.height()) // 2), size))
            left += width + self.spacing()


class ControlBar(QWidget):
    """Controls that wrap into lines; the bar's height follows its width.

    The bar sets its height itself and does not report `heightForWidth` to Qt: Qt would then give the whole panel its
    preferred height, even where plots and pictures could be smaller.

    Parameters
    ----------
    spacing
        Pixels between controls and between lines, at 100 %.
    """

    def __init__(self, spacing: int, parent: QWidget) -> None:
        super().__init__(parent)
        self._spacing = spacing
        self._lines = FlowLayout(spacing, self)

    def add(self, *widgets: QWidget) -> None:
        """Add widgets that stay on one line, such as a label and its control."""
        if len(widgets) == 1:
            self._lines.addWidget(widgets[0])
            return
        group = QWidget(self)
        row = QHBoxLayout(group)
        set_space(row, self._spacing)
        for widget in widgets:
            row.addWidget(widget)
        self._lines.addWidget(group)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.LayoutRequest:  # a widget was shown, hidden or resized
            self._fit()
        return super().event(event)

    def _fit(self) -> None:
        height = self._lines.height_in(self.width())
        if height != self.minimumHeight():
            self.setFixedHeight(height)
