"""The table of the inspector: the figures of every flow, as means over seeds, side by side."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QVBoxLayout, QWidget

from nfkd.protocol.roles import ROLES, USUAL, Role, role_label
from nfkd.protocol.view import RunView
from nfkd_gui.model.run_report import mean_figures, mean_floors, seeds_of
from nfkd_gui.numbers import format_count, format_duration, format_measure
from nfkd_gui.theme import role_colour, scaled, set_space, set_type, tokens
from nfkd_gui.widgets.labels import MarkupLabel, PlainLabel, ToneLabel

_ROW, _GAP = 17, 8
"""Pixels: height of a row, and the space between rows and columns; together a row is 25 high."""


class _Row(NamedTuple):
    """A row of the table: a figure of `mean_figures`."""

    figure: str
    name: str
    tip: str
    format: Callable[[float], str] = format_measure


_format_small = partial(format_measure, digits=4)
_ROWS = (
    _Row("parameters", "Parameters", "Number of trained parameters.", format_count),
    _Row("multiply_adds", "Multiply-adds", "Multiply-adds of log p for one example.", format_count),
    _Row("test", "Test", "Mean negative log-likelihood on test data; lower is better."),
    _Row("over_seeds", "± over seeds", "Standard deviation of the test figure over seeds."),
    _Row("test_error", "± 95 %", "Half the width of the bootstrap interval over test examples."),
    _Row("validation", "Validation", "Mean negative log-likelihood on validation data."),
    _Row("train_test_gap", "Test − train", "Difference of the likelihoods on test and training data."),
    _Row("c2st", "C2ST", "ROC AUC of a classifier that separates samples from test data; 0.5 is best."),
    _Row(
        "fd",
        "FD-local",
        "Fréchet distance of samples from test data, in features or the teacher's latents; lower is better.",
        partial(format_measure, digits=1),
    ),
    _Row("sw", "SW", "Sliced Wasserstein distance of samples from test data; lower is better.", _format_small),
    _Row("mmd", "MMD", "Squared maximum mean discrepancy of samples and test data; lower is better.", _format_small),
    _Row("precision", "Precision", "Share of samples that are near test data."),
    _Row("recall", "Recall", "Share of test data that are near samples."),
    _Row("same_noise", "To teacher", "Mean absolute difference from the teacher's samples of the same noise."),
    _Row("best_step", "Best step", "Step whose weights were kept.", lambda step: f"{step:,.0f}"),
    _Row("samples_per_second", "Samples/s", "Samples per second on the run's device.", format_count),
    _Row("seconds", "Time", "Wall time of the stage.", format_duration),
)
_FLOOR = "floor"
_FLOOR_TIP = "The same for training data in place of samples: what a perfect flow would reach."


class FigureTable(QFrame):
    """Shows one row for each figure and one column for each flow of the run."""

    def __init__(self, name: str, parent: QWidget) -> None:
        super().__init__(parent)
        self._about = ToneLabel(parent=self)
        set_type(self._about, "caption")
        self._floor_head = MarkupLabel(self)
        set_type(self._floor_head, "caption")
        self._cells: dict[tuple[str, str], PlainLabel] = {}
        self._heads: dict[Role, MarkupLabel] = {}
        whole = QVBoxLayout(self)
        set_space(whole, 0)
        whole.addWidget(self._about)
        self._grid = QGridLayout()
        set_space(self._grid, _GAP)
        whole.addLayout(self._grid)
        self._fill(name)
        self.restyle()

    def _fill(self, name: str) -> None:
        self._grid.setColumnStretch(0, 1)
        for column, role in enumerate(ROLES, start=1):
            head = self._heads[role] = MarkupLabel(self)
            set_type(head, "caption")
            self._add(head, 0, column)
            head.setVisible(role in USUAL)
        self._floor_head.setToolTip(_FLOOR_TIP)
        self._add(self._floor_head, 0, len(ROLES) + 1)
        for number, row in enumerate(_ROWS, start=1):
            label = ToneLabel(row.name, parent=self)
            label.setToolTip(row.tip)
            self._grid.addWidget(label, number, 0)
            for column, role in enumerate((*ROLES, _FLOOR), start=1):
                cell = ToneLabel(parent=self) if role == _FLOOR else PlainLabel(parent=self)
                cell.setObjectName(f"{name}.{role}.{row.name.lower()}")
                if role == "student":
                    set_type(cell, "strong")
                self._add(cell, number, column)
                cell.setVisible(role in USUAL)
                self._cells[role, row.figure] = cell

    def _add(self, label: PlainLabel | MarkupLabel, row: int, column: int) -> None:
        label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._grid.addWidget(label, row, column)

    def restyle(self) -> None:
        """Apply the current theme."""
        for number in range(len(_ROWS) + 1):
            self._grid.setRowMinimumHeight(number, scaled(_ROW))
        self._floor_head.setText(f'<span style="color:{tokens().muted}">Floor</span>')
        for role, head in self._heads.items():
            head.setText(f'<span style="color:{role_colour(role)}">{role_label(role)}</span>')

    def show_run(self, view: RunView) -> None:
        """Show the figures of a run."""
        seeds, unit = seeds_of(view), view.row.unit
        unit = unit or next((summary.unit for summary in view.summaries() if summary.unit), "")
        about = [f"mean of {seeds} seeds" if seeds > 1 else "", f"in {unit}" if unit else ""]
        self._about.setText(", ".join(part for part in about if part))
        roles, figures, floors = view.roles(), mean_figures(view.summaries()), mean_floors(view)
        for role in ROLES:
            self._heads[role].setVisible(role in roles)
            for row in _ROWS:
                cell, values = self._cells[role, row.figure], figures.get(role)
                cell.setVisible(role in roles)
                cell.setText(row.format(values[row.figure]) if values is not None else "–")
        self._floor_head.setVisible(bool(floors))
        for row in _ROWS:
            cell = self._cells[_FLOOR, row.figure]
            cell.setVisible(bool(floors))
            cell.setText(row.format(floors[row.figure]) if row.figure in floors else "")

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        painter = QPainter(self)
        painter.setPen(QColor(tokens().border))
        for number in range(len(_ROWS)):
            line = self._grid.cellRect(number, 0).bottom() + scaled(_GAP) // 2
            painter.drawLine(0, line, self.width(), line)
        painter.end()
