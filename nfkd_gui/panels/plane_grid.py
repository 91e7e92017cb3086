"""Planes of several flows side by side, as large as they fit."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QSizePolicy, QStackedWidget, QVBoxLayout, QWidget

from nfkd.protocol.roles import role_label
from nfkd_gui.plotting.plane import Extent, Plane, has_numbers
from nfkd_gui.theme import scaled, set_space, set_type, tokens
from nfkd_gui.widgets.caption import Caption
from nfkd_gui.widgets.labels import ColourLabel, ToneLabel

_HEAD, _AXIS = 24, 32
"""Pixels of a cell that the plane's content does not have: above it, and for each axis with numbers."""

_MAX_ASPECT = 5
"""Features whose ranges differ by a larger factor have axes in scales of their own."""
_SMALLEST = 128
_ENOUGH = 0.85


class PlaneCell(QWidget):
    """A plane below the name of its flow and a caption, or the words that say why there is none."""

    picked = Signal(str, int)
    """The flow, and the number of the point that was clicked."""

    def __init__(self, role: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.role = role
        self._colour = ""
        self.title = ColourLabel(role_label(role), parent=self)
        set_type(self.title, "strong")
        self.title.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.title.setMinimumWidth(1)
        self.caption = Caption(parent=self)
        self._reason = ToneLabel(parent=self)
        self._reason.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.plane = Plane(self)
        self.plane.picked.connect(self._pick)
        self.pages = QStackedWidget(self)
        self.pages.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.pages.addWidget(self._reason)
        self.pages.addWidget(self.plane)
        head = QHBoxLayout()
        set_space(head, 8)
        head.addWidget(self.title)
        head.addWidget(self.caption, 1)
        column = QVBoxLayout(self)
        set_space(column, 2)
        column.addLayout(head)
        column.addWidget(self.pages, 1)
        column.addStretch(0)
        self.restyle()

    def show_plane(self, texts: Sequence[str]) -> Plane:
        """Show the plane with a caption, from long to short, and return it."""
        self.caption.show_texts(texts)
        self.pages.setCurrentWidget(self.plane)
        return self.plane

    def show_reason(self, reason: str) -> None:
        """Show why there is nothing, in place of the plane."""
        self.caption.show_texts(())
        self._reason.setText(reason)
        self.pages.setCurrentWidget(self._reason)

    def minimumSizeHint(self) -> QSize:
        """Return one size for all cells, whatever their texts: a layout gives more room to those that need more."""
        return QSize(1, 1)

    def _pick(self, number: int) -> None:
        self.picked.emit(self.role, number)

    def rename(self, label: str, colour: str) -> None:
        """Show another name, in a colour as ``#RRGGBB``, than those of the flow."""
        self._colour = colour
        self.title.setText(label)
        self._colour_title()

    def restyle(self) -> None:
        """Apply the current theme."""
        self._colour_title()
        self.plane.restyle()

    def _colour_title(self) -> None:
        self.title.show_colour(self._colour or tokens().roles.get(self.role, tokens().text))


class _Cells(dict[str, PlaneCell]):
    """Cells by flow; each is made when it is first needed, since plots take long to make."""

    def __init__(self, parent: PlaneGrid) -> None:
        super().__init__()
        self._parent = parent

    def __missing__(self, role: str) -> PlaneCell:
        cell = self[role] = PlaneCell(role, self._parent)
        cell.picked.connect(self._parent.picked)
        return cell


class PlaneGrid(QWidget):
    """Lays cells out in as many columns as show their planes largest."""

    picked = Signal(str, int)
    """The flow, and the number of the point that was clicked."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.cells = _Cells(self)
        self._shown: list[str] = []
        self._aspect = 1.0
        self._across = 0
        self._keeps_aspect = False
        self._grid = QGridLayout(self)
        self._grid.setSizeConstraint(QGridLayout.SizeConstraint.SetNoConstraint)
        set_space(self._grid, 8)

    def show_roles(self, roles: Sequence[str], extent: Extent | None = None) -> None:
        """Show the cells of some flows; their planes have the proportions of `extent`, or fill any room without it.

        They fill any room, too, if the features differ too much in their scales.
        """
        x0, x1, y0, y1 = extent or (0.0, 1.0, 0.0, 1.0)
        aspect = (y1 - y0) / (x1 - x0)
        if not 1 / _MAX_ASPECT < aspect < _MAX_ASPECT:
            extent, aspect = None, 1.0
        for role in roles:
            self.cells[role].plane.keep_aspect(extent is not None)
        if (list(roles), aspect) != (self._shown, self._aspect):
            self._shown, self._aspect, self._across = list(roles), aspect, 0
        self._keeps_aspect = extent is not None
        self._arrange()
        self._limit_heights()

    def _arrange(self) -> None:
        if not self._shown or (across := self._best()) == self._across:
            return
        self._across = across
        down = -(-len(self._shown) // across)
        for role, cell in list(self.cells.items()):
            cell.setVisible(role in self._shown)
            if role in self._shown:
                self._grid.addWidget(cell, *divmod(self._shown.index(role), across))
        for index in range(len(self.cells)):
            self._grid.setColumnStretch(index, 1 if index < across else 0)
            self._grid.setRowStretch(index, 1 if index < down else 0)

    def _limit_heights(self) -> None:
        """Make all planes equally large, to the pixel, for equal ticks; let none be higher than its content."""
        down = -(-len(self._shown) // max(self._across, 1))
        left = [(room - (count - 1) * self._grid.spacing()) % count if count > 0 else 0
                for room, count in ((self.width(), self._across), (self.height(), down))]  # fmt: skip
        self._grid.setContentsMargins(0, 0, *left)
        width, height = self.width() / max(self._across, 1), self.height() / max(down, 1) - scaled(_HEAD)
        axis = _axis(width, height)
        most = (width - axis) * self._aspect + axis if self._keeps_aspect else height
        for role in self._shown:
            self.cells[role].pages.setMaximumHeight(max(1, int(min(height, most))))

    def _best(self) -> int:
        """Return the number of columns with the largest planes.

        Several full rows are better than one that leaves half of the room empty, if their planes are hardly smaller.
        """
        count = len(self._shown)

        def side(across: int) -> float:
            down = -(-count // across)
            width, height = self.width() / across, self.height() / down - scaled(_HEAD)
            axis = _axis(width, height)
            return min(width - axis, (height - axis) / self._aspect)

        best = max(range(1, count + 1), key=side)
        enough = _ENOUGH * side(best)
        full = [across for across in range(1, count + 1) if count % across == 0 and side(across) >= enough]
        return min(full, default=best)

    def minimumSizeHint(self) -> QSize:
        return QSize(scaled(_SMALLEST), scaled(_SMALLEST))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrange()
        self._limit_heights()

    def restyle(self) -> None:
        """Apply the current theme."""
        for cell in self.cells.values():
            cell.restyle()


def _axis(width: float, height: float) -> int:
    """Return the room of an axis in a cell."""
    return scaled(_AXIS) if has_numbers(width, height) else 0
