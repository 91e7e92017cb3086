"""A plane of the lab: the density or the samples of a flow at the data, its points and grid on the way to the noise."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from PySide6.QtGui import QPaintEvent
from PySide6.QtWidgets import QWidget

from nfkd.config.lab import LabSection
from nfkd.protocol.inspection import PlaneFlow
from nfkd.protocol.lab import LabPicture
from nfkd.protocol.roles import DATA, Role
from nfkd_gui.plotting.flow_plane import FlowPlane, arrow_lines, state_between
from nfkd_gui.plotting.plane import Extent, highest_of, noise_hues
from nfkd_gui.theme import role_colour, scaled, tokens

_DOT, _DOTS, _ARROWS, _NEAREST = 5, 400, 60, 4
"""Diameter of the training points, most of them, number of arrows, and of the states from which a place of the data
is found."""
_FINER, _DEPTH = 4, 20.0
"""Pixels of a density for each cell, and nats below its peak that are drawn."""
_RING_ALPHA = 150


class LabPlane(FlowPlane):
    """Shows a flow of the lab at a share of its way from the data (0) to the noise (1).

    Attributes
    ----------
    painted
        How often the plane was painted.
    """

    def __init__(self, role: Role, parent: QWidget | None = None) -> None:
        self.role: Role = role
        self.painted = 0
        self._look = LabSection()
        self._picture: LabPicture | None = None
        self._extent: Extent = (-1.0, 1.0, -1.0, 1.0)
        super().__init__(parent)
        self.path = pg.PlotCurveItem(skipFiniteCheck=True, antialias=True)
        self.canvas.addItem(self.path, ignoreBounds=True)
        self.points.setSize(scaled(_DOT))
        self.points.setZValue(1)
        for item in (self.probe, self.dot):
            item.setZValue(3)
        for side in ("left", "bottom"):
            self.canvas.hideAxis(side)
        self.restyle()

    # --- what is shown ------------------------------------------------------------------------------------------------

    def show_data(self, points: np.ndarray, extent: Extent, half: float) -> None:
        """Show training points, (n, 2), and set the limits to ±`half`; densities fill `extent`."""
        self._extent = extent
        self.show_points(points[:_DOTS], role_colour(DATA))
        self.frame((-half, half, -half, half))
        self.go(self.position)

    def show_picture(self, picture: LabPicture, noise: np.ndarray) -> None:
        """Show a flow as it is now, whose samples come from (n, 2) noise; the share of the way stays."""
        share = self.share
        self._picture = picture
        self._draw_density()
        self.position = share * len(picture.plane.names)
        self.show_flow(picture.plane, noise_hues(noise))

    def show_look(self, look: LabSection) -> None:
        """Choose what is drawn."""
        self._look = look
        self.show_parts(points=True, contours=look.contours, arrows=look.arrows)

    @property
    def share(self) -> float:
        """Position on the way from the data (0) to the noise (1)."""
        return 0.0 if self.flow is None else self.position / max(len(self.flow.names), 1)

    def go_to(self, share: float) -> None:
        """Show the flow at a share of its way."""
        if self.flow is not None:
            self.go(share * len(self.flow.names))

    def go(self, position: float) -> None:
        at_data, look = position == 0, self._look
        self.parts["points"] = not at_data or look.show == "samples"
        super().go(position)
        self.image.setVisible(at_data and look.show == "density" and self._picture is not None)
        self.points.setVisible(at_data and look.data)
        for item in (self.grid, self.middle):
            item.setVisible(look.grid)

    def place_of(self, x: float, y: float) -> tuple[float, float] | None:
        """Return the place of the data whose state is at a position, by interpolation between the known states.

        None if no state is known.
        """
        if self.flow is None or self.position == 0:
            return x, y
        state = np.concatenate([state_between(s, self.position).reshape(-1, 2) for s in _states(self.flow)])
        data = np.concatenate([s[0].reshape(-1, 2) for s in _states(self.flow)])
        known = np.isfinite(state).all(axis=1) & np.isfinite(data).all(axis=1)
        if not known.any():
            return None
        away = ((state[known] - (x, y)) ** 2).sum(axis=1)
        near = np.argsort(away)[:_NEAREST]
        weights = 1 / (away[near] + 1e-9)
        place = (weights[:, None] * data[known][near]).sum(axis=0) / weights.sum()
        return float(place[0]), float(place[1])

    # --- items --------------------------------------------------------------------------------------------------------

    def _draw_density(self) -> None:
        if self._picture is not None:
            log_prob = self._picture.density
            self.draw_density(finer(log_prob), self._extent, self.role, highest_of(log_prob) or 1.0)

    def _show_arrows(self) -> None:
        """Draw how the next layer moves some points: from where they are to the state after it."""
        flow = self.flow
        after = int(self.position) + 1
        shown = flow is not None and self._look.arrows and after < len(flow.points)
        self.arrows.setVisible(shown)
        if flow is not None and shown:
            start, end = state_between(flow.points[:, :_ARROWS], self.position), flow.points[after, :_ARROWS]
            x, y, connect = arrow_lines(start, end)
            self.arrows.setData(x, y, connect=connect)

    def _show_probe(self) -> None:
        super()._show_probe()
        states = self._probe
        way = np.empty((0, 2)) if states is None else probe_way(states, self.position)
        self.path.setData(way[:, 0], way[:, 1])

    def _fit_axes(self) -> None:
        """Leave the axes out: all planes of the lab have the same limits."""

    def restyle(self) -> None:
        super().restyle()
        if not hasattr(self, "path"):  # called by the base class
            return
        self._grid.setContentsMargins(1, 1, 1, 1)
        self.points.setPen(pg.mkPen(tokens().panel, width=1))
        for ring in self.rings:
            pen = pg.mkPen(ring.opts["pen"])
            colour = pen.color()
            colour.setAlpha(_RING_ALPHA)
            pen.setColor(colour)
            ring.setPen(pen)
        self.path.setPen(pg.mkPen(tokens().accent, width=1.5))
        self.show_points(self._points, role_colour(DATA))
        self._draw_density()
        self.go(self.position)

    def paintEvent(self, ev: QPaintEvent) -> None:
        super().paintEvent(ev)
        self.painted += 1


def _states(flow: PlaneFlow) -> tuple[np.ndarray, np.ndarray]:
    return flow.points, flow.grid


def finer(log_prob: np.ndarray) -> np.ndarray:
    """Return log p between the centres of its cells, by linear interpolation along both axes."""
    finite = log_prob[np.isfinite(log_prob)]
    rows = np.clip(log_prob, float(finite.max()) - _DEPTH, None) if len(finite) else log_prob
    return _between(_between(rows).T).T


def _between(rows: np.ndarray) -> np.ndarray:
    """Return `_FINER` rows for each row; the outer ones repeat the first and the last row."""
    at = np.clip((np.arange(len(rows) * _FINER) + 0.5) / _FINER - 0.5, 0, len(rows) - 1)
    below = np.minimum(at.astype(int), len(rows) - 2)
    share = (at - below).astype(rows.dtype)[:, None]
    return (1 - share) * rows[below] + share * rows[below + 1]


def probe_way(states: np.ndarray, position: float) -> np.ndarray:
    """Return the line of a point through its states, (layers + 1, 2), up to a position between two of them."""
    way = np.concatenate([states[: int(position) + 1], state_between(states, position)[None]])
    return way if np.isfinite(way).all() else np.empty((0, 2))
