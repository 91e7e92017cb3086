"""The inspector panel: measured values of the shown run's flows side by side, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from nfkd.protocol.events import RunEvent, RunFailed, RunFinished, StageFinished, StageSummary
from nfkd.protocol.records import with_fd_floor
from nfkd.protocol.roles import ROLES, USUAL, Role, role_label
from nfkd.protocol.view import RunView
from nfkd_gui.model.studio import Studio
from nfkd_gui.numbers import format_count, format_duration, format_measure
from nfkd_gui.panels.base import find_stage
from nfkd_gui.theme import role_colour, scaled, set_space
from nfkd_gui.widgets.gap_bar import GapBar, GapFigures
from nfkd_gui.widgets.labels import ElidedLabel, MarkupLabel, PlainLabel, ToneLabel, TypeLabel, WrappedLabel


class _Row(NamedTuple):
    """A row of the table: a figure of `StageSummary`."""

    figure: str
    name: str
    tip: str
    format: Callable[[float], str] = format_measure


_format_small = partial(format_measure, digits=4)
_ROWS = (
    _Row("parameters", "Parameters", "Number of trained parameters.", format_count),
    _Row("multiply_adds", "Multiply-adds", "Multiply-adds of log p for one example.", format_count),
    _Row("validation", "Validation", "Mean negative log-likelihood on validation data."),
    _Row("test", "Test", "Mean negative log-likelihood on test data; lower is better."),
    _Row("test_error", "± 95 %", "Half the width of the bootstrap interval over test examples."),
    _Row("train_test_gap", "Test − train", "Difference of the likelihoods on test and training data."),
    _Row("c2st", "C2ST", "ROC AUC of a classifier that separates samples from test data; 0.5 is best."),
    _Row(
        "fd",
        "FD-local",
        "Fréchet distance of samples from test data, in features or the teacher's latents; lower is better.",
    ),
    _Row("sw", "SW", "Sliced Wasserstein distance of samples from test data; lower is better.", _format_small),
    _Row("mmd", "MMD", "Squared maximum mean discrepancy of samples and test data; lower is better.", _format_small),
    _Row("precision", "Precision", "Share of samples that are near test data."),
    _Row("recall", "Recall", "Share of test data that are near samples."),
    _Row("same_noise", "To teacher", "Mean absolute difference from the teacher's samples of the same noise."),
    _Row("best_step", "Best step", "Step whose weights were kept.", lambda step: f"{step:,}"),
    _Row("samples_per_second", "Samples/s", "Samples per second on the run's device.", format_count),
    _Row("seconds", "Time", "Wall time of the stage.", format_duration),
)
_FLOOR = "floor"
_NARROWEST = 300
_FLOOR_TIP = "The same for training data in place of samples: what a perfect flow would reach."
_EMPTY = "Open a run or press Run: its results and the verdict appear here."


class InspectorPanel(QWidget):
    """Shows the stage summaries of the shown seed."""

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._studio = studio
        self._title = ElidedLabel(tone="plain", parent=self)
        font = self._title.font()
        font.setBold(True)
        self._title.setFont(font)
        self._about = WrappedLabel(parent=self)
        self._figure = TypeLabel("figure", parent=self)
        self._figure.setObjectName("inspector.figure")
        self._caption = WrappedLabel(parent=self)
        self.gap = GapBar(self)
        self._measures = WrappedLabel(parent=self)
        self._measures.setObjectName("inspector.measures")
        self._verdict = WrappedLabel(tone="good", parent=self)
        self._verdict.setObjectName("inspector.verdict")
        self._others = WrappedLabel(parent=self)
        self._others.setObjectName("inspector.others")
        self._others.setToolTip("Other metrics: intervals of the student's gain, without a verdict.")
        self._table = QFrame(self)
        self._unit = ToneLabel(parent=self._table)
        self._floor_head = ToneLabel("Floor", parent=self._table)
        self._cells: dict[tuple[str, str], PlainLabel] = {}
        self._heads: dict[Role, MarkupLabel] = {}
        self._fill_table()
        self._lay_out()
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(0)
        self._soon.timeout.connect(self.refresh)
        studio.view_changed.connect(self._soon.start)
        studio.seed_changed.connect(lambda _seed: self._soon.start())
        studio.event_applied.connect(self._on_event)
        studio.theme_changed.connect(self._colour, Qt.ConnectionType.QueuedConnection)
        self._colour()
        self.refresh()

    def _colour(self) -> None:
        for role, head in self._heads.items():
            head.setText(f'<span style="color:{role_colour(role)}">{role_label(role)}</span>')

    def _fill_table(self) -> None:
        grid = QGridLayout(self._table)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(3)
        grid.setColumnStretch(0, 1)
        grid.addWidget(self._unit, 0, 0)
        for column, role in enumerate(ROLES, start=1):
            head = self._heads[role] = MarkupLabel(self._table)
            head.setAlignment(Qt.AlignmentFlag.AlignRight)
            head.setVisible(role in USUAL)
            grid.addWidget(head, 0, column)
        self._floor_head.setToolTip(_FLOOR_TIP)
        self._floor_head.setAlignment(Qt.AlignmentFlag.AlignRight)
        grid.addWidget(self._floor_head, 0, len(ROLES) + 1)
        for number, row in enumerate(_ROWS, start=1):
            label = ToneLabel(row.name, parent=self._table)
            label.setToolTip(row.tip)
            grid.addWidget(label, number, 0)
            for column, role in enumerate((*ROLES, _FLOOR), start=1):
                cell = PlainLabel(parent=self._table)
                cell.setObjectName(f"inspector.{role}.{row.name.lower()}")
                cell.setAlignment(Qt.AlignmentFlag.AlignRight)
                cell.setVisible(role in USUAL)
                grid.addWidget(cell, number, column)
                self._cells[role, row.figure] = cell

    def _lay_out(self) -> None:
        content = QWidget(self)
        column = QVBoxLayout(content)
        column.setContentsMargins(12, 8, 12, 8)
        column.setSpacing(8)
        head = QHBoxLayout()
        set_space(head, 8)
        head.addWidget(self._figure)
        head.addWidget(self._caption, 1)
        column.addWidget(self._title)
        column.addWidget(self._about)
        column.addLayout(head)
        for widget in (self.gap, self._verdict, self._table, self._others, self._measures):
            column.addWidget(widget)
        column.addStretch(1)
        scroll = QScrollArea(self)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setWidget(content)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setMinimumWidth(scaled(_NARROWEST))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(scroll)

    def _on_event(self, event: RunEvent) -> None:
        if isinstance(event, (StageFinished, RunFinished, RunFailed)):
            self._soon.start()

    def refresh(self) -> None:
        """Show the run's current state."""
        view = self._studio.view
        self._table.setVisible(view is not None)
        self._title.setVisible(view is not None)
        if view is None:
            self._about.setText(_EMPTY)
            for label in (self._verdict, self._others, self._measures, self._figure, self._caption, self.gap):
                label.hide()
            return
        row = view.row
        seed = f" · seed {self._studio.seed}" if row.seeds > 1 else ""
        self._title.setText(f"{row.name}{seed}")
        self._about.setText(
            " · ".join(text for text in (row.data, f"{row.teacher} → {row.student}", row.device) if text)
        )
        self._show_values(view)
        self._show_gap(view)
        self._show_verdict(view)

    def _show_values(self, view: RunView) -> None:
        unit = view.row.unit or next((item.unit for item in view.summaries() if not math.isnan(item.test)), "")
        self._unit.setText(f"in {unit}" if unit else "")
        roles = view.roles()
        for role in ROLES:
            self._heads[role].setVisible(role in roles)
            for row in _ROWS:
                self._cells[role, row.figure].setVisible(role in roles)
        for role in roles:
            stage = find_stage(view, self._studio.seed, role)
            summary = stage.summary if stage is not None else None
            for row in _ROWS:
                text = row.format(getattr(summary, row.figure)) if summary is not None else "–"
                self._cells[role, row.figure].setText(text)
        self._show_floors(view)

    def _show_floors(self, view: RunView) -> None:
        started = view.seeds.get(self._studio.seed)
        own = [summary for summary in view.summaries() if summary.seed == self._studio.seed]
        floors = with_fd_floor(started.floors, own) if started is not None else {}
        note = started.measures_note() if started is not None else ""
        self._measures.setText(note)
        self._measures.setVisible(bool(note))
        self._floor_head.setVisible(bool(floors))
        for row in _ROWS:
            cell = self._cells[_FLOOR, row.figure]
            cell.setVisible(bool(floors))
            cell.setText(row.format(floors[row.figure]) if row.figure in floors else "")

    def _show_gap(self, view: RunView) -> None:
        """Show the share of the gap in test likelihood that the student closes, over the seeds that have ended."""
        figures = gap_figures(view.summaries())
        known = not math.isnan(figures.closed)
        self._figure.setText(f"{100 * figures.closed:.0f} %".replace("-", "−") if known else "")
        seeds = len(view.verdict.seeds) if view.verdict is not None else 0
        count = f", {seeds} of {max(seeds, 3)} seeds" if 0 < seeds < 3 else ""
        self._caption.setText(f"of the gap to the teacher closed{count}" if known else "")
        self._figure.setVisible(known)
        self._caption.setVisible(known)
        self.gap.show_figures(figures)

    def _show_verdict(self, view: RunView) -> None:
        verdict = view.verdict
        if view.error is not None:
            self._verdict.set_tone("error")
            self._verdict.setText(f"{view.error.title}: {view.error.cause}")
        elif verdict is not None:
            tones = {"better": "good", "worse": "error", "inconclusive": "muted"}
            self._verdict.set_tone(tones[verdict.verdict])  # type: ignore[arg-type]
            self._verdict.setText("\n\n".join(verdict.sentences()))
        elif view.row.cause:
            self._verdict.set_tone("warning")
            self._verdict.setText(view.row.cause)
        self._verdict.setVisible(view.error is not None or verdict is not None or bool(view.row.cause))
        others = [other.summary for other in verdict.others] if verdict is not None and view.error is None else []
        self._others.setText("\n".join(("Other measures, without a verdict:", *others)))
        self._others.setVisible(bool(others))


def gap_figures(summaries: Sequence[StageSummary]) -> GapFigures:
    """Return the gap in test likelihood as a ratio of means; without a share where the teacher is not better."""
    means: dict[str, float] = {}
    for role in USUAL:
        found = [summary.test for summary in summaries if summary.stage == role and math.isfinite(summary.test)]
        if not found:
            return GapFigures()
        means[role] = sum(found) / len(found)
    gap = means["baseline"] - means["teacher"]
    if gap <= max(summary.test_error for summary in summaries if summary.stage in USUAL):
        return GapFigures()
    texts = {role: format_measure(mean) for role, mean in means.items()}
    return GapFigures((means["baseline"] - means["student"]) / gap, **texts)
