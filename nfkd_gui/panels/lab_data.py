"""The choice of the lab's data: thumbnails of the densities, a drawing, and a file of the user."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QDragEnterEvent, QDropEvent, QIcon, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import (
    QAbstractButton,
    QFileDialog,
    QGridLayout,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from nfkd.config.datasets import kind_label, parse_data
from nfkd.config.lab import PLANE_DATA, LabConfig
from nfkd.config.problems import ConfigError
from nfkd.config.toml import toml_text
from nfkd.protocol.data import DataPreview, PreviewData
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.lab import LabPoints, ReadLabPoints
from nfkd.protocol.requests import Reply
from nfkd.protocol.roles import DATA
from nfkd.text import plain, sentence
from nfkd_gui.model.drops import drop_of
from nfkd_gui.model.lab import LabModel
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.lab_dialogs import ColumnsDialog, DrawDialog
from nfkd_gui.theme import fix_size, font, role_colour, scaled, set_space, tokens
from nfkd_gui.widgets.caption import Caption
from nfkd_gui.widgets.file_target import FileTarget, ask_path, machine_of
from nfkd_gui.widgets.icons import icon

OWN = "own"
"""Name of the thumbnail of the user's file."""
_SHORT = {
    "two_moons": "Moons", "checkerboard": "Checks", "eight_gaussians": "Gaussians", "drawn": "Draw …", OWN: "CSV …",
}  # fmt: skip
_COLUMNS, _WIDTH, _PICTURE, _NAME = 5, 64, 44, 16
_POINTS, _LINE, _LONGEST = 400, 2, 30
_PATH = re.compile(r"^data[.\w]*: ")


class DataThumb(QAbstractButton):
    """A small picture of a data set above its name."""

    def __init__(self, kind: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.kind = kind
        self._points = np.empty((0, 2))
        self.setObjectName(f"lab.data.{kind}")
        self.setText(_SHORT.get(kind) or kind_label(kind))
        self.setCheckable(True)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        fix_size(self, height=_PICTURE + _NAME + 6)

    def show_points(self, points: np.ndarray) -> None:
        """Show these points, (n, 2)."""
        self._points = points[:_POINTS]
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(scaled(_WIDTH), scaled(_PICTURE + _NAME + 6))

    def minimumSizeHint(self) -> QSize:
        return QSize(scaled(48), self.sizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        colours = tokens()
        frame = QRectF(1, 1, self.width() - 2, scaled(_PICTURE))
        chosen = self.isChecked()
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            edge = colours.accent if chosen or self.hasFocus() else colours.border
            painter.setPen(QPen(QColor(edge), 2 if chosen or self.hasFocus() else 1))
            painter.setBrush(QColor(colours.hover if self.underMouse() and not chosen else colours.raised))
            painter.drawRoundedRect(frame, scaled(4), scaled(4))
            if len(self._points):
                self._draw_points(painter, frame.adjusted(scaled(4), scaled(4), -scaled(4), -scaled(4)))
            else:
                self._draw_icon(painter, frame)
            painter.setFont(font("caption"))
            painter.setPen(QColor(colours.text if chosen else colours.muted))
            below = QRectF(0, frame.bottom() + 2, self.width(), scaled(_NAME))
            text = painter.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, self.width())
            painter.drawText(below, Qt.AlignmentFlag.AlignCenter, text)

    def _draw_points(self, painter: QPainter, frame: QRectF) -> None:
        low, high = self._points.min(axis=0), self._points.max(axis=0)
        scale = min(frame.width(), frame.height()) / max(float((high - low).max()), 1e-9)
        away = (self._points - (low + high) / 2) * (scale, -scale)
        pen = QPen(QColor(role_colour(DATA)), scaled(_LINE) * 0.75)
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        painter.setPen(pen)
        centre = frame.center()
        painter.drawPoints(QPolygonF([centre + QPointF(x, y) for x, y in away.tolist()]))

    def _draw_icon(self, painter: QPainter, frame: QRectF) -> None:
        names = {"drawn": "draw", OWN: "file"}
        if self.kind in names:
            side = scaled(18)
            place = QRectF(0, 0, side, side)
            place.moveCenter(frame.center())
            picture: QIcon = icon(names[self.kind])
            picture.paint(painter, place.toRect())


class LabData(QWidget, FileTarget):
    """Chooses the data of the lab; a table that is dropped on it is used."""

    failed = Signal(str)
    """Why a file cannot be used; empty when one could be."""

    def __init__(self, lab: LabModel, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lab, self._studio = lab, studio
        self._known: set[str] = set()
        self._drawing: Sequence[Sequence[float]] = ()
        self._points: Sequence[Sequence[float]] = ()
        self._about = ""
        self._reads = 0
        self.setAcceptDrops(True)
        self.thumbs = {kind: DataThumb(kind, self) for kind in (*PLANE_DATA, OWN)}
        self.about = Caption(parent=self)
        self.about.setObjectName("lab.own_points")
        self.about.hide()
        grid, column = QGridLayout(), QVBoxLayout(self)
        set_space(grid, 4, across=6)
        set_space(column, 4)
        column.addLayout(grid)
        column.addWidget(self.about)
        for number, (kind, thumb) in enumerate(self.thumbs.items()):
            grid.addWidget(thumb, *divmod(number, _COLUMNS))
            thumb.clicked.connect(self._choose)
            thumb.setAccessibleName(_help(kind))
            thumb.setToolTip(_help(kind))
        studio.engine_changed.connect(self.ask)

    # --- what is shown ------------------------------------------------------------------------------------------------

    def show_state(self) -> None:
        """Mark the data of the state; the last drawing stays known."""
        state = self._lab.state
        chosen = OWN if state.lab.points else state.data.kind
        for kind, thumb in self.thumbs.items():
            thumb.setChecked(kind == chosen)
        if state.data.kind == "drawn":
            self._drawing = getattr(state.data, "points", ())
        self.thumbs["drawn"].show_points(_array(self._drawing))
        if state.lab.points is not self._points:
            self._points = state.lab.points
            self.thumbs[OWN].show_points(_array(self._points))
            count = f"{len(self._points):,} points of a file"
            self.about.show_texts([self._about or count] if self._points else [])
            self.about.setVisible(bool(self._points))

    def ask(self) -> None:
        """Ask for the points of the thumbnails that have none."""
        for kind in PLANE_DATA:
            if self._studio.ready and kind not in {"drawn", *self._known}:
                config = toml_text(parse_data({"kind": kind}))
                took = partial(self._take_preview, kind)
                self._studio.ask(PreviewData(config=config), took, _ignore, key=f"lab data {kind}")

    def _take_preview(self, kind: str, reply: Reply) -> None:
        if isinstance(reply, DataPreview) and reply.points is not None:
            self._known.add(kind)
            self.thumbs[kind].show_points(reply.points)

    # --- by the user --------------------------------------------------------------------------------------------------

    def _choose(self) -> None:
        kind = next(kind for kind, thumb in self.thumbs.items() if thumb is self.sender())
        self.show_state()  # the check mark follows the state, not the click
        if kind == OWN:
            self._browse()
        elif kind == "drawn":
            self._draw()
        else:
            self._use({"data.kind": kind, "lab.points": ()})

    def _use(self, values: dict[str, Any]) -> None:
        """Choose data; a file that is still being read is no longer wanted."""
        self._reads += 1
        self.failed.emit("")
        self._lab.set_values(values)

    def _draw(self) -> None:
        dialog = DrawDialog(self._drawing, self)
        dialog.accepted.connect(self._take_drawing)
        dialog.open()

    def _take_drawing(self) -> None:
        dialog = self.sender()
        if isinstance(dialog, DrawDialog):
            points = [list(point) for point in dialog.box.canvas.points]
            self._use({"data.kind": "drawn", "data.points": points, "lab.points": ()})

    # --- files --------------------------------------------------------------------------------------------------------

    def _browse(self) -> None:
        if machine_of(self):
            ask_path(self, "A file with two columns of numbers", self.read)
            return
        dialog = QFileDialog(self.window(), "A file with two columns of numbers", str(Path.home()))
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.fileSelected.connect(self.read)
        dialog.open()

    def read(self, path: str) -> None:
        """Use the points of a file; if it has more than two columns, ask for two."""
        table = {"kind": "table", "path": path} if machine_of(self) else drop_of([path]).table
        if table.get("kind") != "table":
            self.failed.emit("Not a table: choose a CSV file with two columns of numbers.")
            return
        self._read(table)

    def _read(self, table: dict[str, Any]) -> None:
        try:
            data = toml_text(parse_data(table))
        except ConfigError as error:
            self.failed.emit(sentence(error.problems[0].message))
            return
        self._reads += 1
        took = partial(self._take_points, table, self._reads, self._lab.state)
        failed = partial(self._fail, table["path"], self._reads)
        self._studio.ask(ReadLabPoints(data=data), took, failed, key="lab points")

    def _take_points(self, table: dict[str, Any], number: int, before: LabConfig, reply: Reply) -> None:
        """Use the points of a file, unless other data was chosen since it was asked for."""
        state = self._lab.state
        same = number == self._reads and (state.data, state.lab.points) == (before.data, before.lab.points)
        if not same or not isinstance(reply, LabPoints):
            return
        if len(reply.columns) > 2:
            dialog = ColumnsDialog(table, reply.columns, self)
            dialog.accepted.connect(self._take_columns)
            dialog.open()
            return
        first, second = (plain(name, _LONGEST) for name in reply.columns)
        self._about = f"{len(reply.points):,} of {reply.rows:,} rows; {first} and {second}"
        self._use({"lab.points": [tuple(row) for row in reply.points.tolist()]})
        self._about = ""

    def _take_columns(self) -> None:
        dialog = self.sender()
        if isinstance(dialog, ColumnsDialog):
            self._read(dialog.data | {"columns": dialog.columns})

    def _fail(self, path: str, number: int, error: ErrorInfo) -> None:
        if number == self._reads:
            lines = [line.strip() for line in (error.cause or error.title).splitlines()]
            first = lines[1] if len(lines) > 1 else lines[0]  # below the number of problems
            text = _PATH.sub("", first).replace(path, plain(Path(path).name, _LONGEST))
            self.failed.emit(sentence(text))

    # --- files that are dropped ---------------------------------------------------------------------------------------

    def takes(self, paths: Sequence[str]) -> bool:
        return len(paths) == 1 and not machine_of(self) and drop_of(paths).table.get("kind") == "table"

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if self.takes([url.toLocalFile() for url in event.mimeData().urls()]):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        event.acceptProposedAction()
        self.read(event.mimeData().urls()[0].toLocalFile())


def _array(points: Sequence[Sequence[float]]) -> np.ndarray:
    return np.array(points[:_POINTS]).reshape(-1, 2)


def _help(kind: str) -> str:
    if kind == OWN:
        return "Own points: a CSV file with two columns of numbers, chosen or dropped here"
    return "Draw the data with the mouse" if kind == "drawn" else kind_label(kind)


def _ignore(_error: object) -> None:
    pass
