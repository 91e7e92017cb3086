"""The four parts of the likelihood panel: histograms, scatter, most and least likely examples, and QQ plot."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pyqtgraph.GraphicsScene.mouseEvents import MouseClickEvent
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStackedLayout,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from nfkd.protocol.inspection import Extremes, LikelihoodReport
from nfkd.protocol.roles import DATA, Role, role_label
from nfkd.text import plain
from nfkd_gui.model.likelihoods import auc, finite, histograms, outside, pearson, span
from nfkd_gui.numbers import format_measure, format_together
from nfkd_gui.plotting.example_grid import ExampleGrid
from nfkd_gui.plotting.line_set import Drawn, LineSet
from nfkd_gui.plotting.plots import Plot
from nfkd_gui.theme import role_colour, scaled, set_space, set_type, tokens
from nfkd_gui.widgets.labels import MarkupLabel, ToneLabel, escaped
from nfkd_gui.widgets.quadrants import Part

_BINS = 50
_LONGEST = 40
_MARGIN = 0.03
_FIXED, _FEATURES = 3, 3
"""Columns of the table of extreme examples before those of the features, and the most features."""
_ROW, _ROWS = 26, 5
"""Height of a row in pixels, and rows of each kind."""
UNITS = ("nats", "reported")
"""Log p in nats, or the likelihood that the run reports."""


def in_unit(report: LikelihoodReport, values: np.ndarray, unit: str) -> np.ndarray:
    """Return log p as it is, or as the reported likelihood."""
    return values if unit == "nats" else report.nll_offset - report.nll_scale * values


def axis_of(report: LikelihoodReport, unit: str) -> tuple[str, str]:
    """Return name and unit of the axis."""
    return ("log p", "nats") if unit == "nats" else ("Negative log-likelihood", report.unit)


class LegendPlot(QWidget):
    """A plot with a line of coloured names above it."""

    def __init__(self, name: str, label: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.legend = MarkupLabel(self)
        self.legend.setObjectName(f"{name}.legend")
        self.legend.setWordWrap(True)
        set_type(self.legend, "caption")
        self.plot = Plot(self)
        self.plot.setObjectName(name)
        self.plot.setAccessibleName(label)
        self.plot.setMouseEnabled(x=False, y=False)
        self.plot.put_grid_behind()
        self.lines = LineSet(self.plot)
        column = QVBoxLayout(self)
        set_space(column, 2)
        column.addWidget(self.legend)
        column.addWidget(self.plot, 1)

    def show_lines(self, lines: Mapping[str, Drawn], names: Mapping[str, tuple[str, str]]) -> None:
        """Show lines, and names with their colours and what is added to them."""
        self.lines.show(lines)
        texts = [
            f'<span style="color:{lines[key].colour}">{escaped(plain(name, _LONGEST))}</span>{escaped(more)}'
            for key, (name, more) in names.items()
        ]
        self.legend.setText(" &nbsp; ".join(texts))
        self.legend.setVisible(bool(texts))

    def frame(self, x: tuple[float, float], y: tuple[float, float], margin: float = _MARGIN) -> None:
        """Set the visible range with a margin."""
        (x0, x1), (y0, y1) = x, y
        across, up = margin * (x1 - x0), margin * (y1 - y0)
        self.plot.canvas.getViewBox().setRange(xRange=(x0 - across, x1 + across), yRange=(y0 - up, y1 + up), padding=0)


class Histograms(Part):
    """Histograms of log p of each set under one flow."""

    def __init__(self, parent: QWidget) -> None:
        self.chart = LegendPlot("likelihood.histograms", "Histograms of log p")
        self.chart.plot.label("left", "Share of the set", "%", "Share")
        super().__init__("Sets under one flow", self.chart, parent)

    def show_report(self, report: LikelihoodReport, role: Role, unit: str) -> None:
        """Show the sets of a report under a flow."""
        self.title.setText(f"Sets under the {role_label(role).lower()}")
        sets = {name: in_unit(report, values, unit) for name, values in report.log_prob[role].items()}
        within = span(sets)
        edges, shares = histograms(sets, _BINS, within)
        colours = tokens()
        looks = {"train": (colours.muted, Qt.PenStyle.DashLine, False), "test": (role_colour(DATA), None, True)}
        lines = {}
        for name, heights in shares.items():
            colour, style, filled = looks.get(name, (colours.accent, None, True))
            lines[name] = Drawn(edges, heights, colour, style or Qt.PenStyle.SolidLine, filled=filled)
        counts = {
            name: (f"{name.capitalize()}{' (dashed)' * (name == 'train')}", f" {len(values):,}")
            for name, values in sets.items()
        }
        self.chart.show_lines({name: lines[name] for name in reversed(lines)}, counts)
        highest = max(float(heights.max()) for heights in shares.values())
        self.chart.frame(within, (0.0, 1.05 * highest or 1.0), 0.0)
        self.chart.plot.label("bottom", *axis_of(report, unit))
        left = outside(sets, within)
        more = f"{left:,} values beyond the plot" if left else ""
        second = [name for name in sets if name not in ("train", "test")]
        if second:
            log_prob = report.log_prob[role]
            area = f"AUC of test against {second[0]} {format_measure(auc(log_prob['test'], log_prob[second[0]]))}"
            help_ = f"{area}: 0.5 is chance, 1 tells all foreign examples; below 0.5 the flow prefers them"
            texts = [f"{help_}. {more}.", f"{help_}.", f"{area} (0.5 is chance).", area]
        else:
            texts = [f"Choose a second data set for the detection of foreign examples. {more}".strip(), more]
        self.caption.show_texts(texts)


class Scatter(Part):
    """Log p of test examples under two flows."""

    picked = Signal(int)
    """The number of the test example whose point was clicked."""

    def __init__(self, parent: QWidget) -> None:
        self.chart = LegendPlot("likelihood.scatter", "Log p of test examples under two flows")
        self.chart.plot.setToolTip("Click a point to inspect the example.")
        self._points, self._indices = np.empty((0, 2)), np.empty(0, int)
        super().__init__("Student against teacher", self.chart, parent)
        self.chart.plot.canvas.scene().sigMouseClicked.connect(self._pick)

    def _pick(self, click: MouseClickEvent) -> None:
        if (number := self.chart.plot.point_at(click, self._points)) is not None:
            self.picked.emit(int(self._indices[number]))

    def show_report(self, report: LikelihoodReport, first: Role, second: Role, unit: str) -> None:
        """Show a flow over another one; while there is only one, say so."""
        self.chart.setVisible(first != second)
        if first == second:
            self.title.setText("Flows against each other")
            self.caption.show_texts(["Another flow will be compared here once it is trained", "Needs another flow"])
            return
        across, up = (in_unit(report, report.log_prob[role]["test"], unit) for role in (first, second))
        self.title.setText(f"{role_label(second)} against {role_label(first).lower()}")
        kept = np.isfinite(across) & np.isfinite(up)
        low, high = span({"x": across[kept], "y": up[kept]})
        diagonal = Drawn(np.array([low, high]), np.array([low, high]), tokens().muted, Qt.PenStyle.DashLine, 1.0)
        self._points, self._indices = np.stack([across, up], axis=1)[kept], report.test_indices[kept]
        points = Drawn(across[kept], up[kept], role_colour(second), points=4)
        self.chart.show_lines({"equal": diagonal, "points": points}, {})
        self.chart.frame((low, high), (low, high))
        name, unit_text = axis_of(report, unit)
        short = "log p" if unit == "nats" else "NLL"
        self.chart.plot.label("bottom", f"{name}, {role_label(first).lower()}", unit_text)
        self.chart.plot.label("left", f"{short}, {role_label(second).lower()}", unit_text, role_label(second))
        r = format_measure(pearson(across, up))
        count = f"{int(kept.sum()):,} test examples"
        summary = f"Correlation {r} (Pearson) over {count}; dashed: equal"
        self.caption.show_texts([f"{summary}; click a point to inspect it", summary, f"Correlation {r}, {count}"])


class Quantiles(Part):
    """QQ plot of the latents of every flow against the standard normal."""

    def __init__(self, parent: QWidget) -> None:
        self.chart = LegendPlot("likelihood.qq", "Quantiles of the latents against those of the standard normal")
        self.chart.plot.label("bottom", "Quantile of the standard normal")
        self.chart.plot.label("left", "Quantile of the latents", short="Latents")
        super().__init__("Latents against the standard normal", self.chart, parent)

    def show_report(self, report: LikelihoodReport) -> None:
        """Show all flows that have latents."""
        quantiles = report.quantiles
        latents = {role: values for role, values in report.latents.items() if len(finite(values))}
        ends = np.array([quantiles[0], quantiles[-1]])
        lines = {"normal": Drawn(ends, ends, tokens().muted, Qt.PenStyle.DashLine, 1.0)}
        lines |= {role: Drawn(quantiles, values, role_colour(role)) for role, values in latents.items()}
        self.chart.show_lines(lines, {role: (role_label(role), "") for role in latents})
        values = [ends, *map(finite, latents.values())]
        low, high = (float(end(np.concatenate(values))) for end in (np.min, np.max))
        self.chart.frame((float(ends[0]), float(ends[1])), (low, high))
        self.caption.show_texts(
            ["All dimensions of the test examples together; dashed: standard normal", "Dashed: normal"]
        )


class ExtremesTable(QTableWidget):
    """A row for each example; features for which there is no room are left out."""

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.fit()

    def fit(self) -> None:
        """Show as many features as there is room for."""
        header, right = self.horizontalHeader(), 0
        for column in range(self.columnCount()):
            header.showSection(column)  # hidden sections have no size
            right += max(header.sectionSizeHint(column), self.sizeHintForColumn(column))
            header.setSectionHidden(column, column >= _FIXED and right > self.viewport().width())


class ExtremesPart(Part):
    """The most and the least likely test examples under one flow: images, or rows of a table."""

    picked = Signal(int)
    """The number of the test example that was chosen."""

    def __init__(self, parent: QWidget) -> None:
        body = QWidget()
        self._indices: dict[str, np.ndarray] = {}
        self.grids = {
            "most": ExampleGrid("likelihood.most", "Most likely test examples", body),
            "least": ExampleGrid("likelihood.least", "Least likely test examples", body),
        }
        self._heads = {name: ToneLabel(parent=body) for name in self.grids}
        self.table = self._make_table(body)
        self._pages = QStackedLayout(body)
        set_space(self._pages, 0)
        images = QWidget(body)
        column = QVBoxLayout(images)
        set_space(column, 4)
        for name, grid in self.grids.items():
            set_type(self._heads[name], "caption")
            column.addWidget(self._heads[name])
            column.addWidget(grid, 1)
        self._pages.addWidget(images)
        self._pages.addWidget(self.table)
        super().__init__("Most and least likely test examples", body, parent)
        self.restyle()
        self.grids["most"].picked.connect(self._pick_most)
        self.grids["least"].picked.connect(self._pick_least)

    def _make_table(self, parent: QWidget) -> ExtremesTable:
        table = ExtremesTable(parent)
        table.setObjectName("likelihood.extremes")
        table.setAccessibleName("Most and least likely test examples")
        table.setToolTip("Click a row, or press Return, to inspect the example.")
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setShowGrid(False)
        table.setTabKeyNavigation(False)
        table.verticalHeader().hide()
        table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        set_type(table.horizontalHeader(), "caption")
        table.horizontalHeader().setHighlightSections(False)
        table.cellClicked.connect(self._pick_row)
        table.cellActivated.connect(self._pick_row)
        return table

    def restyle(self) -> None:
        """Apply the current scale."""
        self.table.verticalHeader().setDefaultSectionSize(scaled(_ROW))

    def show_report(self, report: LikelihoodReport, role: Role, unit: str, names: list[str], themed: object) -> None:
        """Show the extremes under a flow; `themed` turns grey images to the theme's colours."""
        extremes = report.extremes[role]
        self._indices = {"most": extremes.most, "least": extremes.least}
        order = np.sort(finite(report.log_prob[role]["test"]))
        values = {"most": in_unit(report, order[::-1], unit), "least": in_unit(report, order, unit)}
        values = {name: values[name][: len(found)] for name, found in self._indices.items()}
        unit_text = axis_of(report, unit)[1]
        short = "log p" if unit == "nats" else "NLL"
        if names:
            self._fill_table(extremes, values, f"{short} ({unit_text})", names)
        else:
            pictures = {"most": extremes.most_examples, "least": extremes.least_examples}
            for which, grid in self.grids.items():
                grid.show_examples(themed(pictures[which]))  # type: ignore[operator]
                ends = (
                    [format_measure(float(value), 2) for value in values[which][[0, -1]]] if len(values[which]) else []
                )
                self._heads[which].setText(f"{which.capitalize()} likely: {short} {' to '.join(ends)} {unit_text}")
        self._pages.setCurrentIndex(int(bool(names)))
        count = len(report.log_prob[role]["test"])
        where = f"Of {count:,} test examples under the {role_label(role).lower()}"
        self.caption.show_texts([f"{where}; click one to inspect it", where])

    def _fill_table(self, extremes: Extremes, values: dict[str, np.ndarray], head: str, names: list[str]) -> None:
        pairs = (("most", extremes.most_examples), ("least", extremes.least_examples))
        rows = [
            (which, int(index), float(value), example)
            for which, examples in pairs
            for index, value, example in list(zip(self._indices[which], values[which], examples, strict=True))[:_ROWS]
        ]
        shown = names[:_FEATURES]
        features = [format_together([float(example[column]) for *_, example in rows]) for column in range(len(shown))]
        self.table.setRowCount(len(rows))
        self.table.setColumnCount(_FIXED + len(shown))
        self.table.setHorizontalHeaderLabels(["", "Example", head, *(plain(name, _LONGEST) for name in shown)])
        for row, (which, index, value, _) in enumerate(rows):
            texts = [which, f"{index:,}", format_measure(value, 2), *(column[row] for column in features)]
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text if column else f"{text} likely")
                item.setData(Qt.ItemDataRole.UserRole, index)
                if column:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.table.setItem(row, column, item)
        self.table.fit()

    def _pick_row(self, row: int, _column: int) -> None:
        self.picked.emit(self.table.model().index(row, 0).data(Qt.ItemDataRole.UserRole))

    def _pick_most(self, number: int) -> None:
        self.picked.emit(int(self._indices["most"][number]))

    def _pick_least(self, number: int) -> None:
        self.picked.emit(int(self._indices["least"][number]))
