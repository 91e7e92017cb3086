"""The matching panel: error between matched layers of a flow and its teacher over the training."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QFontMetrics
from PySide6.QtWidgets import QComboBox, QSizePolicy, QSplitter, QVBoxLayout, QWidget

from nfkd.protocol.events import MatchingMeasured, StageStarted
from nfkd.protocol.records import LayerPair
from nfkd.protocol.roles import Role, role_label, the_role
from nfkd.text import plain
from nfkd_gui.model.csv_files import Table, matching_table
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.base import Panel
from nfkd_gui.plotting.axes import Scale, format_ticks
from nfkd_gui.plotting.match_colours import ErrorScale, log_errors, match_map
from nfkd_gui.plotting.plane import style_bar
from nfkd_gui.plotting.plots import AXIS_WIDTH, Plot
from nfkd_gui.theme import scaled, set_space, set_type, tokens
from nfkd_gui.widgets.labels import MarkupLabel, escaped, tip

_NAMED = 0.4
"""Names of the pairs may take this fraction of the map's width; longer ones are replaced by numbers."""
_LOG_FROM = 20.0
"""Ratio of the largest to the smallest error from which the axis is logarithmic."""
_LONGEST = 80
"""Characters of a pair's name beside the map."""
_FLOWS = re.compile(r"(student|teacher|assistant \d) ")
_TINY = 1e-12
_MARGIN = 8
_APART = 28
"""Pixels between two numbers at the colour scale, at least."""


class MatchingPanel(Panel):
    """Shows the error of each matched pair as a line, and all of them as a heat map: one row per pair."""

    title = "Matching"
    name = "matching"
    placeholder = "The error between each student layer and its matched teacher layer"
    event_types = (MatchingMeasured, StageStarted)
    has_numbers = True

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(studio, parent)
        self.lines: list[pg.PlotDataItem] = []
        self._legend = MarkupLabel(self.content)
        self._legend.setObjectName("matching.legend")
        set_type(self._legend, "caption")
        self._legend.setWordWrap(True)
        self._legend.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self._legend.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._choice = QComboBox(self.content)
        self._choice.setObjectName("matching.stage")
        self._choice.setAccessibleName("Flow whose layers are shown")
        self._choice.setToolTip("Compare the layers of this flow with those of the flow it learns from.")
        self._choice.activated.connect(self._choose)
        self._choice.hide()
        self._chosen: Role | None = None
        self.plot = Plot(self.content)
        self.plot.setObjectName("matching.lines")
        self.plot.put_grid_behind()
        self.plot.label("left", "Mean squared error", short="Error")
        self.plot.label("bottom", "Step of the student")
        self.heat = Plot(self.content)
        self.heat.setObjectName("matching.map")
        self.heat.label("bottom", "Step of the student")
        self.image = pg.ImageItem(axisOrder="row-major")
        self.heat.addItem(self.image)
        self.markers = [self._marker(plot) for plot in (self.plot, self.heat)]
        """At the step of the time slider, in the plot and in the map; hidden while the newest pictures are shown."""
        self.bar = pg.ColorBarItem(colorMap=match_map(), interactive=False, width=16)
        self.bar.setImageItem(self.image, insert_in=self.heat.canvas)
        self.heat.canvas.getViewBox().invertY(True)
        self.heat.setMouseEnabled(x=False, y=False)
        self.plot.least, self.heat.least = (96, 80), (96, 72)
        self.heat.resized.connect(self.mark_dirty)  # the width decides whether names fit
        studio.timeline.changed.connect(self.mark_dirty)
        self._lay_out()
        self.restyle()

    @staticmethod
    def _marker(plot: Plot) -> pg.InfiniteLine:
        marker = pg.InfiniteLine(angle=90, movable=False)
        marker.setZValue(2)
        marker.hide()
        plot.canvas.addItem(marker, ignoreBounds=True)
        return marker

    def _lay_out(self) -> None:
        self._canvas = QWidget(self.content)
        split = QSplitter(Qt.Orientation.Vertical, self._canvas)
        split.addWidget(self.plot)
        split.addWidget(self.heat)
        split.setSizes([3000, 2000])
        layout = QVBoxLayout(self.content)
        set_space(layout, 8, _MARGIN)
        layout.addWidget(self._choice, alignment=Qt.AlignmentFlag.AlignRight)
        layout.addWidget(self._canvas, 1)
        picture = QVBoxLayout(self._canvas)
        set_space(picture, 8)
        picture.addWidget(self._legend)
        picture.addWidget(split, 1)

    def restyle(self) -> None:
        self.plot.restyle()
        self.heat.restyle()
        self.heat.canvas.showGrid(x=False, y=False)  # grid lines would look like borders of rows
        style_bar(self.bar)
        self.bar.setColorMap(match_map())
        for marker in self.markers:
            marker.setPen(pg.mkPen(tokens().text, width=1, style=Qt.PenStyle.DashLine))

    def has_content(self) -> bool:
        return bool(self._measured())

    def _measured(self) -> list[Role]:
        """Return the flows that have measured matching errors."""
        return [role for role in self.roles() if (stage := self.stage(role)) is not None and stage.matching_steps]

    def _choose(self) -> None:
        self._chosen = self._choice.currentData()
        self.mark_dirty()

    def _shown_role(self, measured: list[Role]) -> Role:
        """Return the chosen flow; without a choice that of the time slider, or the newest."""
        position = self.studio.timeline.position
        for role in (self._chosen, position.stage if position is not None else None):
            if role is not None and role in measured:
                return role
        return measured[-1]

    def _offer(self, measured: list[Role]) -> Role:
        """Fill the choice of flows, hide it if there is only one, and return the shown flow."""
        role = self._shown_role(measured)
        if [self._choice.itemData(index) for index in range(self._choice.count())] != measured:
            self._choice.clear()
            for each in measured:
                self._choice.addItem(role_label(each), each)
        self._choice.setCurrentIndex(measured.index(role))
        self._choice.setVisible(len(measured) > 1)
        self.plot.label("bottom", f"Step of {the_role(role)}")
        self.heat.label(
            "bottom", f"Step of {the_role(role)}; colour: log₁₀ of the error", short=f"Step of {the_role(role)}"
        )
        return role

    def draw(self) -> None:
        measured = self._measured()
        if not measured or self.view is None:
            return
        role = self._offer(measured)
        stage = self.stage(role)
        if stage is None:
            return
        pairs = self._pairs(role)
        steps = np.array(stage.matching_steps, np.float64)
        errors = np.stack(stage.matching_errors)
        errors = np.where(np.isfinite(errors), errors, np.nan)  # gaps where the training diverged
        self._draw_lines(pairs, steps, errors)
        self._draw_map(pairs, steps, errors)
        self._mark(role, pairs, errors.shape[1])

    def _pairs(self, role: Role) -> list[LayerPair]:
        return self.view.find_pairs(self.studio.seed, role) if self.view is not None else []

    # --- for the menu ---------------------------------------------------------------------------------------------

    def drawing(self) -> QWidget:
        return self._canvas

    def numbers(self) -> dict[str, Table]:
        return {
            role_label(role): matching_table(self._pairs(role), list(steps), np.stack(stage.matching_errors))
            for role in self._measured()
            if (stage := self.stage(role)) is not None and (steps := stage.matching_steps)
        }

    def shown_step(self) -> int | None:
        measured = self._measured()
        if not measured:
            return None
        role = self._shown_role(measured)
        found = None if self.studio.timeline.is_live else self.studio.timeline.matching(role)
        stage = self.stage(role)
        return found[0] if found is not None else stage.matching_steps[-1] if stage is not None else None

    # --- drawing --------------------------------------------------------------------------------------------------

    def _draw_lines(self, pairs: list[LayerPair], steps: np.ndarray, errors: np.ndarray) -> None:
        colours = _colours(errors.shape[1])
        finite = errors[np.isfinite(errors) & (errors > 0)]
        self.plot.canvas.setLogMode(y=bool(len(finite)) and float(finite.max() / finite.min()) > _LOG_FROM)
        while len(self.lines) < errors.shape[1]:
            self.lines.append(self.plot.plot([], [], symbol="o", symbolSize=4, connect="finite"))
        for index, line in enumerate(self.lines):
            used = index < errors.shape[1]
            known = used and np.isfinite(errors[:, index]).any()  # pyqtgraph fails on marks that are all NaN
            line.setData(steps if known else [], np.maximum(errors[:, index], _TINY) if known else [])
            if used:
                idle = index < len(pairs) and pairs[index].weight == 0  # measured but not trained on
                style = Qt.PenStyle.DashLine if idle else Qt.PenStyle.SolidLine
                line.setPen(pg.mkPen(colours[index], width=2, style=style))
                line.setSymbolBrush(pg.mkBrush(colours[index]))
                line.setSymbolPen(None)

    def _mark(self, role: Role, pairs: list[LayerPair], count: int) -> None:
        """Mark the step of the time slider, and name the pairs with their errors at that step."""
        timeline = self.studio.timeline
        found = None if timeline.is_live else timeline.matching(role)
        for marker in self.markers:
            marker.setVisible(found is not None)
            if found is not None:
                marker.setValue(found[0])
        first = "" if timeline.is_live else "Not trained yet at this step"
        if found is not None:
            first = f"Step {found[0]:,}"
        errors = [f"{error:.3g}" for error in found[1]] if found is not None else [""] * count
        names = self._fitting_names(pairs[:count], [first, *errors])
        named = [
            f'<span style="color:{colour}">■</span>&nbsp;{escaped(name)}{f" <b>{error}</b>" if error else ""}'
            for colour, name, error in zip(_colours(count), names, errors, strict=False)
        ]
        self._legend.setText(" &nbsp; ".join([*([f"<b>{first}</b>"] if first else []), *named]))
        self._legend.setToolTip(tip("\n".join(_numbered(pair.summary for pair in pairs))))

    def _fitting_names(self, pairs: list[LayerPair], others: list[str]) -> list[str]:
        """Return the longest names of the pairs that fit into one line beside other texts: else their numbers."""
        metrics = QFontMetrics(self._legend.font())
        numbers = [str(number) for number, _ in enumerate(pairs, start=1)]
        for names in (_numbered(pair.summary for pair in pairs), _numbered(map(_short, pairs))):
            width = sum(metrics.horizontalAdvance(f"■ {text} \xa0 ") for text in [*names, *others])
            if width <= self.width() - scaled(2 * _MARGIN):
                return names
        return numbers

    def _draw_map(self, pairs: list[LayerPair], steps: np.ndarray, errors: np.ndarray) -> None:
        edges = _edges(steps)
        # All columns of an image have the same width: uneven steps are resampled on a fine even grid.
        grid = np.linspace(edges[0], edges[-1], 4 * len(steps) + 1)
        columns = np.clip(np.searchsorted(edges, (grid[:-1] + grid[1:]) / 2) - 1, 0, len(steps) - 1)
        logs, scale = log_errors(errors).T, ErrorScale.of([errors]) or ErrorScale()
        levels = scale.low, scale.high
        self.image.setImage(logs[:, columns], autoLevels=False, levels=levels)
        self.image.setRect(QRectF(edges[0], 0, edges[-1] - edges[0], logs.shape[0]))
        if self.bar.levels() != levels:
            self.bar.setLevels(levels)
        self._number_bar()
        self._name_rows(pairs)
        self.heat.canvas.getViewBox().setRange(xRange=(edges[0], edges[-1]), yRange=(0, logs.shape[0]), padding=0)

    def _number_bar(self) -> None:
        """Write as many round numbers beside the colour scale as have room, but at least one."""
        most = max(1, int(self.heat.canvas.getViewBox().height() // scaled(_APART)))
        low, high = self.bar.levels()
        values = Scale().ticks(low, high, most) or Scale().ticks(low, high, most + 1)
        self.bar.axis.setTicks([list(zip(values, format_ticks(values), strict=True))])

    def _name_rows(self, pairs: list[LayerPair]) -> None:
        names = [_short(pair) for pair in pairs]
        metrics = QFontMetrics(self.heat.font())
        width = max((metrics.horizontalAdvance(name) for name in names), default=0) + scaled(24)
        fits = width <= _NAMED * self.heat.width()
        axis = self.heat.canvas.getAxis("left")
        axis.setWidth(max(width, scaled(AXIS_WIDTH)) if fits else scaled(AXIS_WIDTH))
        axis.setTicks([[(row + 0.5, name if fits else str(row + 1)) for row, name in enumerate(names)]])


def _colours(count: int) -> list[str]:
    colours = np.asarray(match_map().getLookupTable(0.0, 1.0, nPts=count, alpha=False))
    return [QColor(*(int(channel) for channel in colour)).name() for colour in colours]


def _edges(steps: np.ndarray) -> np.ndarray:
    """Return the borders of the columns: halfway between steps, and the first and last step."""
    if len(steps) == 1:
        return np.array([steps[0] - 0.5, steps[0] + 0.5])
    middles = (steps[1:] + steps[:-1]) / 2
    return np.concatenate([[steps[0]], middles, [steps[-1]]])


def _numbered(names: Iterable[str]) -> list[str]:
    """Return names with the numbers that the map shows where it has no room for names."""
    return [f"{number}: {name}" for number, name in enumerate(names, start=1)]


def _short(pair: LayerPair) -> str:
    return _FLOWS.sub("", plain(pair.summary, _LONGEST))
