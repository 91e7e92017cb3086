"""The page of the flow panel for images and longer vectors: the states of one example after each layer."""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Mapping, Sequence

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QSize, Signal
from PySide6.QtGui import QColor, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from nfkd.protocol.inspection import FlowStates, LayerStates
from nfkd.protocol.roles import Role
from nfkd_gui.model.layer_columns import LayerColumns, pictured
from nfkd_gui.panels.flow_detail import LayerDetail
from nfkd_gui.panels.flow_film import HOLD
from nfkd_gui.plotting.layer_chain import ChainRow, Join, LayerChain
from nfkd_gui.plotting.match_colours import ErrorScale
from nfkd_gui.plotting.plots import Plot
from nfkd_gui.plotting.state_pictures import example_image, state_image
from nfkd_gui.theme import fix_size, font, role_colour, scaled, set_space, tokens
from nfkd_gui.widgets.labels import ToneLabel

_DETAIL, _DETAIL_WIDTH = 860, 320
"""Width of the page from which it has the detail, and the detail's width."""
_LEAST, _PLOT = (240, 132), 216
"""The smallest page, and the height from which it has the plot."""
_NUMBER = re.compile(r"(.*?)\s*(\d+)$")
_LETTERS = 6
"""Longest label that is written over a picture."""


class LayersPage(QWidget):
    """Shows the states of two flows in two rows, and the log-determinant so far below them."""

    chosen = Signal(int)
    """A column that the user clicked."""
    rest_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.canvas = QWidget(self)
        """What is saved as a picture: states and log-determinants."""
        self.chain = LayerChain(self.canvas)
        self.chain.chosen.connect(self.chosen)
        self.plot = Plot(self.canvas)
        self.plot.setObjectName("flow.log_det")
        self.plot.setMouseEnabled(x=False, y=False)
        self.plot.label("left", "log-det so far", "nats", short="log-det")
        self.plot.canvas.getAxis("bottom").setStyle(showValues=False)
        self.plot.canvas.getAxis("left").setZValue(-1)  # else its grid would hide marks at a line of the grid
        self.plot.least = (96, 72)
        self.plot.resized.connect(self._frame)
        self.lines: dict[Role, pg.PlotDataItem] = {}
        self._ends: dict[Role, pg.TextItem] = {}
        self._pointer = pg.InfiniteLine(angle=90, movable=False)
        self.plot.canvas.addItem(self._pointer, ignoreBounds=True)
        self.notes = ToneLabel(parent=self.canvas)
        self.notes.setObjectName("flow.notes")
        self.notes.hide()
        self.detail = LayerDetail(self)
        self.detail.rest_chosen.connect(self.rest_chosen)
        fix_size(self.detail, _DETAIL_WIDTH)
        self.states: LayerStates | None = None
        self.columns = LayerColumns()
        self.column = 0
        self._roles = list[Role]()
        self._ink, self._rest = False, "mean"
        column = QVBoxLayout(self.canvas)
        set_space(column, 8)
        column.addWidget(self.chain, 3)
        column.addWidget(self.plot, 2)
        column.addStretch(0)
        column.addWidget(self.notes)
        line = QHBoxLayout(self)
        set_space(line, 16)
        line.addWidget(self.canvas, 1)
        line.addWidget(self.detail)
        self.restyle()

    def show_states(
        self,
        states: LayerStates,
        roles: Sequence[Role],
        columns: LayerColumns,
        errors: Mapping[tuple[int, int], float],
        scale: ErrorScale | None,
        *,
        ink: bool,
        rest: str,
    ) -> None:
        """Show an example on its way through one or two flows; `errors` are those of matched states, on a scale."""
        self.states, self.columns, self._ink, self._rest = states, columns, ink, rest
        self._roles = list[Role](role for role in roles if role in states.flows)
        placed = dict(zip(roles, columns.states, strict=False))
        rows = [_chain_row(role, states.flows[role], placed[role], ink=ink) for role in self._roles]
        joins = _joins(columns, errors, scale) if len(rows) == 2 else []
        self.chain.show_rows(rows, joins, columns.last)
        self._draw_lines(placed)
        missing = [role for role in roles if role not in states.flows]
        self.notes.setText(" ".join(f"{role.capitalize()}: not trained yet." for role in missing))
        self.notes.setVisible(bool(missing))
        self.go(self.column)

    def forget(self) -> None:
        """Drop the states: another run is shown."""
        self.states = None

    def _draw_lines(self, columns: Mapping[Role, Sequence[int]]) -> None:
        flows = self.states.flows if self.states is not None else {}
        for role, line in self.lines.items():
            self._ends[role].setVisible(role in self._roles)
            if role not in self._roles:
                line.setData([], [])
        for role in self._roles:
            line = self.lines.get(role)
            if line is None:
                line = self.lines[role] = self.plot.plot([], [], connect="finite", symbol="o", symbolSize=5)
                self._ends[role] = pg.TextItem(anchor=(0, 0.5))
                self.plot.canvas.addItem(self._ends[role], ignoreBounds=True)
            values = np.array([0.0, *(layer.log_det for layer in pictured(flows[role]))])
            known = np.isfinite(values)
            x = np.array([self.chain.position(column) for column in columns[role]])
            line.setData(x[known], values[known])
            end = self._ends[role]
            end.setText(f"{values[-1]:.3g}".replace("-", "−"), color=role_colour(role))
            end.setFont(font("caption"))
            if known[-1]:
                end.setPos(x[-1], values[-1])
            line.setPen(pg.mkPen(role_colour(role), width=2))
            line.setSymbolBrush(pg.mkBrush(role_colour(role)))
            line.setSymbolPen(None)
        self._frame()

    def _frame(self) -> None:
        """Put the points below their states."""
        self.plot.canvas.getViewBox().setXRange(-0.5, self.chain.reach, padding=0)

    def go(self, column: int) -> None:
        """Mark the states of a column."""
        self.column = column
        self._pointer.setValue(self.chain.position(column))
        if self.states is None:
            return
        marks = self.marks()
        self.chain.mark([marks[role] for role in self._roles])
        if not self.detail.isHidden():
            flows = self.states.flows
            shown: list[tuple[Role, FlowStates, int]] = [(role, flows[role], marks[role]) for role in self._roles]
            self.detail.show_states(shown, ink=self._ink, rest=self._rest)

    def poses(self) -> Generator[int]:
        """Mark each layer from the data to the noise; yields for how many frames of a film it is shown."""
        before = self.column
        for column in range(self.columns.last + 1):
            self.go(column)
            yield HOLD
        self.go(before)

    def marks(self) -> dict[Role, int]:
        """Return the present state of each flow."""
        numbers = [number for number, columns in enumerate(self.columns.states) if columns]
        found = zip(self._roles, numbers, strict=False)
        return {role: self.columns.state_at(number, self.column) for role, number in found}

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.plot.setVisible(self.height() >= scaled(_PLOT))
        wide = self.width() >= scaled(_DETAIL)
        if wide == self.detail.isHidden():
            self.detail.setVisible(wide)
            self.go(self.column)

    def minimumSizeHint(self) -> QSize:
        return QSize(scaled(_LEAST[0]), scaled(_LEAST[1]))

    def restyle(self) -> None:
        """Apply the current theme."""
        self.plot.restyle()
        self.plot.canvas.showGrid(x=False, y=True, alpha=1.0)
        self._pointer.setPen(pg.mkPen(tokens().accent))
        self.detail.restyle()


def _chain_row(role: Role, flow: FlowStates, columns: Sequence[int], *, ink: bool) -> ChainRow:
    layers = pictured(flow)
    example = example_image(flow.example, ink=ink) if flow.example.ndim > 1 else state_image(flow.state)
    pictures = [example, *(state_image(layer.value) for layer in layers)]
    found = [_NUMBER.fullmatch(layer.label) for layer in layers]
    levels = ["", *(match[1].replace(" step", ", step") if match and " " in match[1] else "" for match in found)]
    named = enumerate(zip(layers, found, strict=True), start=1)
    numbers = ["", *(match[2] if match else _short(layer.label, number) for number, (layer, match) in named)]
    splits = [number for number in range(1, len(layers)) if layers[number].splits > layers[number - 1].splits]
    return ChainRow(role, pictures, columns, levels, numbers, splits)


def _short(label: str, number: int) -> str:
    """Return the label of a layer without a number, or its place in the flow if there is no room for the label."""
    return label if len(label) <= _LETTERS else str(number)


def _joins(columns: LayerColumns, errors: Mapping[tuple[int, int], float], scale: ErrorScale | None) -> list[Join]:
    """Return the lines between matched states in the colours of their errors; others are grey."""
    known = {pair: error for pair, error in errors.items() if scale is not None and math.isfinite(error)}
    return [
        Join(*pair, scale.colour(known[pair]) if scale is not None and pair in known else QColor(tokens().control))
        for pair in columns.matched
    ]
