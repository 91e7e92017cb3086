"""A plane through which points, a grid and rings move from the data to the noise of a flow."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import QBrush, QColor, QMouseEvent, QResizeEvent
from PySide6.QtWidgets import QWidget

from nfkd.protocol.inspection import PlaneFlow
from nfkd_gui.plotting.plane import Extent, Plane, hue_brushes
from nfkd_gui.theme import is_dark, scaled, tokens

_LONGEST = 0.1
"""Longer segments of grid and rings, as a share of the plane, are left out: there the flow tears neighbours apart."""
_ARROWS = 120
_HEAD, _HEAD_ANGLE = 0.3, 0.5
"""Length of an arrow's head relative to the arrow, and its angle in radians."""
_RING = 17
_SMALL, _DOTS = 360, (3, 4)
"""Width below which a plane is small, and the diameter of the points of small and of large ones."""


class MovingPoints(pg.ScatterPlotItem):
    """Points of a few colours, whose positions change without making their symbols again."""

    def show_points(self, points: np.ndarray, colours: np.ndarray, brushes: list[QBrush], size: float) -> None:
        """Show (n, 2) points in the colours `brushes[colours]`, with one diameter in pixels."""
        self.setData(x=np.zeros(len(brushes)), y=np.zeros(len(brushes)), brush=brushes, size=size)
        kinds: np.ndarray = self.data  # type: ignore[assignment]
        self.data = kinds[colours]  # type: ignore[assignment] - the symbol of each colour was made once
        self.move(points)

    def move(self, points: np.ndarray) -> None:
        """Move the points, (n, 2); n is that of the last `show_points`."""
        self.prepareGeometryChange()
        spots: np.ndarray = self.data  # type: ignore[assignment]
        spots["x"], spots["y"] = points.T
        self.bounds = [None, None]
        self.invalidate()


def state_between(states: np.ndarray, position: float) -> np.ndarray:
    """Return states, (count, …), at a position between two of them, by linear interpolation."""
    below = min(int(position), len(states) - 1)
    share = position - below
    if share <= 0 or below + 1 >= len(states):
        return states[below]
    return (1 - share) * states[below] + share * states[below + 1]


class FlowPlane(Plane):
    """Shows one state of a flow of two features, or what is between two of them.

    A click or a drag asks for the probe to be moved.
    """

    probed = Signal(float, float)
    """A position that the user points at."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.flow: PlaneFlow | None = None
        self._hues = np.empty(0, int)
        self._hue_brushes = hue_brushes()
        self.position = 0.0
        self._longest = np.inf
        self.cloud = MovingPoints(size=4, pen=None, pxMode=True)
        self.grid, self.middle = self._curve(), self._curve()
        self.rings = self._curve(), self._curve()
        self.arrows = self._curve()
        self.probe = pg.ScatterPlotItem(size=_RING, pxMode=True)
        self.dot = pg.ScatterPlotItem(size=5, pxMode=True, pen=None)
        self._probe: np.ndarray | None = None
        self._held = False
        for item in (self.grid, self.middle, self.cloud, self.arrows, *self.rings, self.probe, self.dot):
            self.canvas.addItem(item, ignoreBounds=True)
        for item in (self.image, self.points, self.bars, self.marks):
            item.hide()  # of other planes
        self.setMouseEnabled(x=False, y=False)
        self.keep_aspect(keep=True)
        self.parts = {"points": True, "contours": True, "arrows": False}
        self.restyle()

    @staticmethod
    def _curve() -> pg.PlotCurveItem:
        return pg.PlotCurveItem(skipFiniteCheck=True, antialias=True)

    def restyle(self) -> None:
        super().restyle()
        if not hasattr(self, "probe"):  # called by the base class
            return
        colours = tokens()
        self._hue_brushes = hue_brushes()
        self._fill()
        self.canvas.getViewBox().setBorder(pg.mkPen(colours.border))
        faint = QColor(colours.text)
        faint.setAlpha(70 if not is_dark() else 90)
        self.grid.setPen(pg.mkPen(faint, width=1))
        self.middle.setPen(pg.mkPen(colours.muted, width=1))
        for ring, style in zip(self.rings, (Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine), strict=True):
            ring.setPen(pg.mkPen(colours.text, width=1.5, style=style))
        self.arrows.setPen(pg.mkPen(colours.text, width=1))
        halo = QColor(colours.panel)
        halo.setAlpha(160)
        self.probe.setPen(pg.mkPen(colours.accent, width=2.5))
        self.probe.setBrush(QBrush(halo))
        self.dot.setBrush(QBrush(QColor(colours.accent)))

    # --- what is shown --------------------------------------------------------------------------------------------

    def show_flow(self, flow: PlaneFlow, hues: np.ndarray) -> None:
        """Show a flow's states, whose points have the colours of `hue_brushes`; the position stays."""
        self.flow = flow
        self._hues = hues
        self._fill()
        self.go(min(self.position, len(flow.names)))

    def _fill(self) -> None:
        """Make the symbols of the points."""
        if self.flow is not None:
            size = scaled(_DOTS[self.width() >= scaled(_SMALL)])
            self.cloud.show_points(self.flow.points[0], self._hues, self._hue_brushes, size)

    def resizeEvent(self, ev: QResizeEvent | None) -> None:
        super().resizeEvent(ev)
        if hasattr(self, "probe"):  # the base class resizes before __init__ is done
            self._fill()
            self.go(self.position)

    def show_parts(self, *, points: bool, contours: bool, arrows: bool) -> None:
        """Choose what is drawn."""
        self.parts = {"points": points, "contours": contours, "arrows": arrows}
        self.go(self.position)

    def frame(self, extent: Extent) -> None:
        super().frame(extent)
        x0, x1, y0, y1 = extent
        self._longest = _LONGEST * max(x1 - x0, y1 - y0)
        self.go(self.position)

    def go(self, position: float) -> None:
        """Show the state number `position`, or what is between two states."""
        self.position = position
        flow = self.flow
        if flow is None:
            return
        self.cloud.setVisible(self.parts["points"])
        if self.parts["points"]:
            self.cloud.move(state_between(flow.points, position))
        lines = state_between(flow.grid, position)
        half = len(lines) // 2
        middle = [half // 2, half + half // 2]
        others = np.delete(lines, middle, axis=0)
        _show_lines(self.grid, others, self._longest)
        _show_lines(self.middle, lines[middle], self._longest)
        circles = state_between(flow.rings, position)
        for ring, circle in zip(self.rings, circles, strict=True):
            ring.setVisible(self.parts["contours"])
            if self.parts["contours"]:
                _show_lines(ring, circle[None], self._longest)
        self._show_arrows()
        self._show_probe()

    def _show_arrows(self) -> None:
        """Draw the way of some points through the present layer: from the state before it to that after it."""
        flow, after = self.flow, int(np.ceil(self.position))
        shown = flow is not None and self.parts["arrows"] and after > 0
        self.arrows.setVisible(shown)
        if flow is not None and shown:
            start, end = flow.points[after - 1 : after + 1, :_ARROWS]
            x, y, connect = arrow_lines(start, end)
            self.arrows.setData(x, y, connect=connect)

    def show_probe(self, states: np.ndarray | None) -> None:
        """Show a point by its states, (layers + 1, 2); None hides it."""
        self._probe = states
        self._show_probe()

    def _show_probe(self) -> None:
        states = self._probe
        at = np.empty((0, 2)) if states is None else state_between(states, self.position)[None]
        if not np.isfinite(at).all():
            at = np.empty((0, 2))
        for item in (self.probe, self.dot):
            item.setData(x=at[:, 0], y=at[:, 1])

    # --- the mouse ------------------------------------------------------------------------------------------------

    def mousePressEvent(self, ev: QMouseEvent) -> None:
        self._held = ev.button() == Qt.MouseButton.LeftButton and self._point(ev.position())
        ev.setAccepted(self._held)

    def mouseMoveEvent(self, ev: QMouseEvent) -> None:
        if self._held:
            self._point(ev.position())

    def mouseReleaseEvent(self, ev: QMouseEvent) -> None:
        del ev
        self._held = False

    def _point(self, at: QPointF) -> bool:
        """Ask for the probe at a position of the widget; return whether that is inside of the plane."""
        box = self.canvas.getViewBox()
        scene = self.mapToScene(at.toPoint())
        if self.flow is None or not (self._held or box.sceneBoundingRect().contains(scene)):
            return False
        point = box.mapSceneToView(scene)
        self.probed.emit(point.x(), point.y())
        return True


def _show_lines(curve: pg.PlotCurveItem, lines: np.ndarray, longest: float) -> None:
    """Draw lines, (count, n, 2), without their long segments."""
    points = lines.reshape(-1, 2)
    connect = np.zeros(lines.shape[:2], np.int32)
    steps = lines[:, 1:] - lines[:, :-1]
    connect[:, :-1] = (steps * steps).sum(axis=-1) <= longest**2  # also False for NaN
    curve.setData(np.nan_to_num(points[:, 0]), np.nan_to_num(points[:, 1]), connect=connect.ravel())


def arrow_lines(start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x, y and the connections of arrows from (n, 2) to (n, 2) points: each is a shaft and a head."""
    cos, sin = np.cos(_HEAD_ANGLE), np.sin(_HEAD_ANGLE)
    back = (start - end) * _HEAD
    left = end + back @ np.array([[cos, sin], [-sin, cos]])
    right = end + back @ np.array([[cos, -sin], [sin, cos]])
    lines = np.stack([start, end, left, end, right], axis=1)
    finite = np.isfinite(lines).all(axis=(1, 2))
    lines = lines[finite]
    connect = np.tile(np.array([1, 1, 0, 1, 0], np.int32), len(lines))
    return lines[..., 0].ravel(), lines[..., 1].ravel(), connect
