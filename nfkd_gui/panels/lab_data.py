"""The choice of the lab's data: thumbnails of the densities, a drawing, and a file of the user."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QDragEnterEvent, QDropEvent, QIcon, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import (
    QAbstractButton,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QGridLayout,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from nfkd.config.datasets import kind_label, parse_data
from nfkd.config.lab import PLANE_DATA
from nfkd.config.problems import ConfigError
from nfkd.config.toml import toml_text
from nfkd.protocol.data import DataPreview, PreviewData
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.lab import LabPoints, ReadLabPoints
from nfkd.protocol.requests import Reply
from nfkd.protocol.roles import DATA
from nfkd_gui.model.drops import drop_of
from nfkd_gui.model.lab import LabModel
from nfkd_gui.model.studio import Studio
from nfkd_gui.theme import fix_size, font, role_colour, scaled, set_space, tokens
from nfkd_gui.widgets.dialogs import without_icons
from nfkd_gui.widgets.drawing_box import DrawingBox
from nfkd_gui.widgets.file_target import FileTarget
from nfkd_gui.widgets.icons import icon

OWN = "own"
"""Name of the thumbnail of the user's file."""
_SHORT = {
    "two_moons": "Moons", "checkerboard": "Checks", "eight_gaussians": "Gaussians", "drawn": "Draw …", OWN: "Own CSV …",
}  # fmt: skip
_COLUMNS, _WIDTH, _PICTURE, _NAME = 5, 64, 44, 16
_POINTS, _LINE = 400, 2
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


class DrawDialog(QDialog):
    """Asks for points that the user draws."""

    def __init__(self, points: Sequence[Sequence[float]], parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Draw the data")
        self.box = DrawingBox(self)
        self.box.setObjectName("lab.drawing")
        self.box.set_value([list(point) for point in points])
        buttons = QDialogButtonBox(self)
        self.use = buttons.addButton("Use", QDialogButtonBox.ButtonRole.AcceptRole)
        self.use.setObjectName("lab.drawing_use")
        buttons.addButton(QDialogButtonBox.StandardButton.Cancel)
        without_icons(buttons)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        self.box.changed.connect(self._enable)
        column = QVBoxLayout(self)
        set_space(column, 12, 12)
        column.addWidget(self.box, 1)
        column.addWidget(buttons)
        self.resize(scaled(460), scaled(520))
        self._enable()

    def _enable(self) -> None:
        self.use.setEnabled(bool(self.box.canvas.points))


class LabData(QWidget, FileTarget):
    """Chooses the data of the lab; a table that is dropped on it is used."""

    failed = Signal(str)
    """Why a file cannot be used; empty when one could be."""

    def __init__(self, lab: LabModel, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lab, self._studio = lab, studio
        self._asked: set[str] = set()
        self.setAcceptDrops(True)
        self.thumbs = {kind: DataThumb(kind, self) for kind in (*PLANE_DATA, OWN)}
        grid = QGridLayout(self)
        set_space(grid, 4, across=6)
        for number, (kind, thumb) in enumerate(self.thumbs.items()):
            grid.addWidget(thumb, *divmod(number, _COLUMNS))
            thumb.clicked.connect(self._choose)
            thumb.setAccessibleName(_help(kind))
            thumb.setToolTip(_help(kind))
        studio.engine_changed.connect(self.ask)

    # --- what is shown ------------------------------------------------------------------------------------------------

    def show_state(self) -> None:
        """Mark the data of the state."""
        state = self._lab.state
        chosen = OWN if state.lab.points else state.data.kind
        for kind, thumb in self.thumbs.items():
            thumb.setChecked(kind == chosen)
        self.thumbs[OWN].show_points(np.array(state.lab.points[:_POINTS]).reshape(-1, 2))
        drawn = getattr(state.data, "points", ()) if state.data.kind == "drawn" else ()
        self.thumbs["drawn"].show_points(np.array(drawn[:_POINTS]).reshape(-1, 2))

    def ask(self) -> None:
        """Ask for the points of the thumbnails, once."""
        for kind in PLANE_DATA:
            if self._studio.ready and kind != "drawn" and kind not in self._asked:
                self._asked.add(kind)
                config = toml_text(parse_data({"kind": kind}))
                self._studio.ask(PreviewData(config=config), _Receiver(self, kind).take, _ignore)

    def take(self, kind: str, preview: DataPreview) -> None:
        """Show the points of a kind of data."""
        if preview.points is not None:
            self.thumbs[kind].show_points(preview.points)

    # --- by the user --------------------------------------------------------------------------------------------------

    def _choose(self) -> None:
        kind = next(kind for kind, thumb in self.thumbs.items() if thumb is self.sender())
        self.show_state()  # the check mark follows the state, not the click
        if kind == OWN:
            self._browse()
        elif kind == "drawn":
            self._draw()
        else:
            self.failed.emit("")
            self._lab.set_values({"data.kind": kind, "lab.points": ()})

    def _draw(self) -> None:
        data = self._lab.state.data
        points = getattr(data, "points", ()) if data.kind == "drawn" else ()
        dialog = DrawDialog(points, self)
        dialog.accepted.connect(self._take_drawing)
        dialog.open()

    def _take_drawing(self) -> None:
        dialog = self.sender()
        if isinstance(dialog, DrawDialog):
            self.failed.emit("")
            points = [list(point) for point in dialog.box.canvas.points]
            self._lab.set_values({"data.kind": "drawn", "data.points": points, "lab.points": ()})

    def _browse(self) -> None:
        dialog = QFileDialog(self.window(), "A file with two columns of numbers", str(Path.home()))
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.fileSelected.connect(self.read)
        dialog.open()

    def read(self, path: str) -> None:
        """Use the points of a file."""
        drop = drop_of([path])
        if drop.table.get("kind") != "table":
            self.failed.emit("Not a table: choose a CSV file with two columns of numbers.")
            return
        try:
            data = toml_text(parse_data(drop.table))
        except ConfigError as error:
            self.failed.emit(error.problems[0].message)
            return
        self._studio.ask(ReadLabPoints(data=data), self._take_points, self._fail, key="lab points")

    def _take_points(self, reply: Reply) -> None:
        if isinstance(reply, LabPoints):
            self.failed.emit("")
            self._lab.set_values({"lab.points": [tuple(row) for row in reply.points.tolist()]})

    def _fail(self, error: ErrorInfo) -> None:
        lines = [line.strip() for line in (error.cause or error.title).splitlines()]
        first = lines[1] if len(lines) > 1 else lines[0]  # below the number of problems
        text = _PATH.sub("", first)
        self.failed.emit(f"{text[:1].upper()}{text[1:]}")

    # --- files that are dropped ---------------------------------------------------------------------------------------

    def takes(self, paths: Sequence[str]) -> bool:
        return len(paths) == 1 and drop_of(paths).table.get("kind") == "table"

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if self.takes([url.toLocalFile() for url in event.mimeData().urls()]):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        event.acceptProposedAction()
        self.read(event.mimeData().urls()[0].toLocalFile())


class _Receiver:
    """Hands the preview of a kind of data over."""

    def __init__(self, data: LabData, kind: str) -> None:
        self._data, self._kind = data, kind

    def take(self, reply: Reply) -> None:
        if isinstance(reply, DataPreview):
            self._data.take(self._kind, reply)


def _help(kind: str) -> str:
    if kind == OWN:
        return "Own points: a CSV file with two columns of numbers, chosen or dropped here"
    return "Draw the data with the mouse" if kind == "drawn" else kind_label(kind)


def _ignore(_error: object) -> None:
    pass
