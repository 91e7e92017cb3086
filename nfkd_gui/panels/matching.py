"""How far each student layer is from the teacher layer that it faces, over time."""

from __future__ import annotations

import re

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QFontMetrics
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QSizePolicy, QSplitter, QVBoxLayout, QWidget

from nfkd.protocol.events import MatchingMeasured, RunEvent, StageStarted
from nfkd.protocol.records import LayerPair
from nfkd.protocol.roles import Role, role_label, the_role
from nfkd.text import plain
from nfkd_gui.panels.base import SPACE, Panel, StudioPort
from nfkd_gui.plotting.plane import colour_map, style_bar
from nfkd_gui.plotting.plots import AXIS_WIDTH, Plot
from nfkd_gui.theme import is_dark
from nfkd_gui.widgets.labels import MarkupLabel, escaped

MAP = "cividis"
_NAMED = 0.4
"""The greatest part of the map's width that the pairs' words may take; else their numbers name them."""
_DECADE = 20.0
_LONGEST = 80
"""Characters of a pair's words beside the map."""
_FLOWS = re.compile(r"(student|teacher|assistant \d) ")
_TINY = 1e-12


class MatchingPanel(Panel):
    """A line for each matched pair of layers, and the same as a map: pairs down, steps across, error as colour."""

    title = "Matching"
    name = "matching"
    waits_for = "The error between each student layer and the teacher layer that it faces"

    def __init__(self, studio: StudioPort, parent: QWidget | None = None) -> None:
        super().__init__(studio, parent)
        self.lines: list[pg.PlotDataItem] = []
        self._words = MarkupLabel(self.content)
        self._words.setWordWrap(True)
        self._words.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self._words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._choice = QComboBox(self.content)
        self._choice.setObjectName("matching.stage")
        self._choice.setAccessibleName("Flow whose layers are shown")
        self._choice.setToolTip("Whose layers are compared with those of the flow that it learns from.")
        self._choice.activated.connect(self._choose)
        self._choice.hide()
        self._chosen: Role | None = None
        self.plot = Plot(self.content)
        self.plot.setObjectName("matching.lines")
        self.plot.label("left", "Mean squared error")
        self.plot.label("bottom", "Step of the student")
        self.heat = Plot(self.content)
        self.heat.setObjectName("matching.map")
        self.heat.label("bottom", "Step of the student")
        self.image = pg.ImageItem(axisOrder="row-major")
        self.heat.addItem(self.image)
        self.bar = pg.ColorBarItem(colorMap=colour_map(MAP), interactive=False, label="log₁₀ error", width=16)
        self.bar.setImageItem(self.image, insert_in=self.heat.canvas)
        self.heat.canvas.getViewBox().invertY(True)
        self.heat.setMouseEnabled(x=False, y=False)
        self.heat.resized.connect(self.mark)  # its names depend on the room
        self._lay_out()
        self.restyle()

    def _lay_out(self) -> None:
        split = QSplitter(Qt.Orientation.Vertical, self.content)
        split.addWidget(self.plot)
        split.addWidget(self.heat)
        split.setSizes([3000, 2000])
        layout = QVBoxLayout(self.content)
        layout.setContentsMargins(SPACE, SPACE, SPACE, SPACE)
        layout.setSpacing(SPACE)
        line = QHBoxLayout()
        line.addWidget(self._words, 1)
        line.addWidget(self._choice, alignment=Qt.AlignmentFlag.AlignTop)
        layout.addLayout(line)
        layout.addWidget(split, 1)

    def restyle(self) -> None:
        self.plot.restyle()
        self.heat.restyle()
        self.heat.canvas.showGrid(x=False, y=False)  # lines would part the rows of the map where no row ends
        style_bar(self.bar)

    def concerns(self, event: RunEvent) -> bool:
        return isinstance(event, (MatchingMeasured, StageStarted))

    def has_content(self) -> bool:
        return bool(self._measured())

    def _measured(self) -> list[Role]:
        """Return the flows whose layers have been compared with those of the flow that they learn from."""
        return [role for role in self.roles() if (stage := self.stage(role)) is not None and stage.matching_steps]

    def _choose(self) -> None:
        self._chosen = self._choice.currentData()
        self.mark()

    def _offer(self, measured: list[Role]) -> Role:
        """Offer the flows that there are where there are several; return the one that is shown."""
        role = self._chosen if self._chosen in measured else measured[-1]
        if [self._choice.itemData(place) for place in range(self._choice.count())] != measured:
            self._choice.clear()
            for each in measured:
                self._choice.addItem(role_label(each), each)
        self._choice.setCurrentIndex(measured.index(role))
        self._choice.setVisible(len(measured) > 1)
        for plot in (self.plot, self.heat):
            plot.label("bottom", f"Step of {the_role(role)}")
        return role

    def draw(self) -> None:
        measured = self._measured()
        if not measured or self.view is None:
            return
        role = self._offer(measured)
        stage = self.stage(role)
        if stage is None:
            return
        pairs = self.view.pairs(self.studio.seed, role) or self.view.pairs(min(self.view.seeds, default=1), role)
        steps = np.array(stage.matching_steps, np.float64)
        errors = np.stack(stage.matching_errors)
        errors = np.where(np.isfinite(errors), errors, np.nan)  # a training that diverges leaves gaps
        self._draw_lines(pairs, steps, errors)
        self._draw_map(pairs, steps, errors)

    def _draw_lines(self, pairs: list[LayerPair], steps: np.ndarray, errors: np.ndarray) -> None:
        colours = _colours(errors.shape[1])
        finite = errors[np.isfinite(errors) & (errors > 0)]
        self.plot.canvas.setLogMode(y=bool(len(finite)) and float(finite.max() / finite.min()) > _DECADE)
        while len(self.lines) < errors.shape[1]:
            self.lines.append(self.plot.plot([], [], symbol="o", symbolSize=4, connect="finite"))
        for place, line in enumerate(self.lines):
            there = place < errors.shape[1]
            known = there and np.isfinite(errors[:, place]).any()  # pyqtgraph cannot bound marks that are all gaps
            line.setData(steps if known else [], np.maximum(errors[:, place], _TINY) if known else [])
            if there:
                idle = place < len(pairs) and pairs[place].weight == 0  # measured, and not trained on
                style = Qt.PenStyle.DashLine if idle else Qt.PenStyle.SolidLine
                line.setPen(pg.mkPen(colours[place], width=2, style=style))
                line.setSymbolBrush(pg.mkBrush(colours[place]))
                line.setSymbolPen(None)
        named = [
            f'<span style="color:{colour}">■</span> {number}: {escaped(pair.summary)}'
            for number, (colour, pair) in enumerate(zip(colours, pairs, strict=False), start=1)
        ]
        self._words.setText(" &nbsp; ".join(named))

    def _draw_map(self, pairs: list[LayerPair], steps: np.ndarray, errors: np.ndarray) -> None:
        edges = _edges(steps)
        # A row of the picture has one width for every column: steps are drawn on a fine even grid instead.
        grid = np.linspace(edges[0], edges[-1], 4 * len(steps) + 1)
        columns = np.clip(np.searchsorted(edges, (grid[:-1] + grid[1:]) / 2) - 1, 0, len(steps) - 1)
        logs = np.log10(np.maximum(errors, _TINY)).T
        known = logs[np.isfinite(logs)]
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
        high = max(high, low + 0.1)
        self.image.setImage(logs[:, columns], autoLevels=False, levels=(low, high))
        self.image.setRect(QRectF(edges[0], 0, edges[-1] - edges[0], logs.shape[0]))
        if self.bar.levels() != (low, high):
            self.bar.setLevels((low, high))
        self._name_rows(pairs)
        self.heat.canvas.getViewBox().setRange(xRange=(edges[0], edges[-1]), yRange=(0, logs.shape[0]), padding=0)

    def _name_rows(self, pairs: list[LayerPair]) -> None:
        names = [_short(pair) for pair in pairs]
        metrics = QFontMetrics(self.heat.font())
        wide = max((metrics.horizontalAdvance(name) for name in names), default=0) + 3 * SPACE
        roomy = wide <= _NAMED * self.heat.width()
        axis = self.heat.canvas.getAxis("left")
        axis.setWidth(max(wide, AXIS_WIDTH) if roomy else AXIS_WIDTH)
        axis.setTicks([[(place + 0.5, name if roomy else str(place + 1)) for place, name in enumerate(names)]])


def _colours(count: int) -> list[str]:
    table = colour_map("viridis")
    ends = (0.35, 0.95) if is_dark() else (0.1, 0.75)
    colours = np.asarray(table.getLookupTable(*ends, nPts=count, alpha=False))
    return [QColor(*(int(part) for part in colour)).name() for colour in colours]


def _edges(steps: np.ndarray) -> np.ndarray:
    """Return the borders between steps: halfway, and as far beyond the two ends."""
    if len(steps) == 1:
        return np.array([steps[0] - 0.5, steps[0] + 0.5])
    middles = (steps[1:] + steps[:-1]) / 2
    return np.concatenate([[steps[0]], middles, [steps[-1]]])


def _short(pair: LayerPair) -> str:
    return _FLOWS.sub("", plain(pair.summary, _LONGEST))
