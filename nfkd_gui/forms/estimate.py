"""The engine's estimate of the experiment: sizes, ratio, matching, data."""

from __future__ import annotations

import math

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from nfkd.protocol.requests import Description, FlowDescription
from nfkd.protocol.roles import ASSISTANTS, role_label
from nfkd_gui.numbers import format_bytes, format_count
from nfkd_gui.theme import set_space
from nfkd_gui.widgets.labels import PlainLabel, Tone, ToneLabel, WrappedLabel, tip

_ROWS = ("Parameters", "Multiply-adds", "Memory")


class EstimateBox(QFrame):
    """Shows the sizes of teacher and student, the matching, the data, and whether the experiment can run."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("estimate")
        self._status = self._label("status")
        self._matching = self._label("matching")
        self._assistants = self._label("assistants")
        self._data = self._label("data")
        self._cells: dict[tuple[int, int], PlainLabel] = {}
        grid = self._grid = QGridLayout(self)
        set_space(grid, 2, 12, 8, 12, 8, across=12)
        grid.setColumnStretch(0, 1)
        for column, head in enumerate(("Teacher", "Student", "Ratio"), start=1):
            label = ToneLabel(head, parent=self)
            label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            grid.addWidget(label, 0, column)
        for row, head in enumerate(_ROWS, start=1):
            grid.addWidget(ToneLabel(head, parent=self), row, 0)
            for column in (1, 2, 3):
                cell = PlainLabel(parent=self)
                cell.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                grid.addWidget(cell, row, column)
                self._cells[row, column] = cell
        self._remarks = QWidget(self)
        column, line = QVBoxLayout(self._remarks), QHBoxLayout()
        set_space(column, 2)
        set_space(line, 12)
        line.addWidget(self._matching, 1)
        line.addWidget(self._data, 1)
        column.addWidget(self._assistants)
        column.addLayout(line)
        column.addWidget(self._status)
        grid.addWidget(self._remarks, len(_ROWS) + 1, 0, 1, 5)
        grid.setRowStretch(len(_ROWS) + 2, 1)
        self.show_description(None)

    def add_beside(self, widget: QWidget) -> None:
        """Add a widget beside the sizes, above the remarks."""
        self._grid.addWidget(widget, 0, 4, len(_ROWS) + 1, 1)
        self._grid.setColumnStretch(0, 0)
        self._grid.setColumnStretch(4, 1)

    def _label(self, name: str) -> WrappedLabel:
        label = WrappedLabel(parent=self)
        label.setObjectName(f"estimate.{name}")
        return label

    def show_description(self, description: Description | None, *, with_data: bool = True) -> None:
        """Show the engine's description, if there is one; leave out the data unless `with_data`."""
        teacher = description.teacher if description else None
        student = description.student if description else None
        for column, flow in ((1, teacher), (2, student)):
            for row, text in enumerate(_sizes(flow), start=1):
                self._cells[row, column].setText(text)
        for row, name in enumerate(("parameters", "multiply_adds", "memory"), start=1):
            self._cells[row, 3].setText(_ratio(teacher, student, name))
        self._assistants.setText(_format_assistants(description) if description else "")
        self._matching.setText(_format_matching(description))
        pairs = [*description.assistant_pairs, description.pairs] if description else []
        self._matching.setToolTip(tip("\n".join(pair.summary for stage in pairs for pair in stage)))
        self._data.setText(_format_data(description, with_data=with_data) if description else "")
        for label in (self._assistants, self._matching, self._data):
            label.setVisible(bool(label.text()))

    def show_status(self, text: str, tone: Tone = "muted") -> None:
        """Show whether the experiment can run, or why it cannot."""
        self._status.set_tone(tone)
        self._status.setText(text)


def _sizes(flow: FlowDescription | None) -> tuple[str, str, str]:
    if flow is None:
        return ("–", "–", "–")
    return format_count(flow.parameters), format_count(flow.multiply_adds), format_bytes(flow.memory)


def _ratio(teacher: FlowDescription | None, student: FlowDescription | None, name: str) -> str:
    if teacher is None or student is None or not getattr(student, name):
        return "–"
    ratio = getattr(teacher, name) / getattr(student, name)
    return f"{ratio:.1f} : 1" if math.isfinite(ratio) else "–"


def _format_assistants(description: Description) -> str:
    """Return a line with the sizes of each assistant."""
    lines = []
    for role, flow in zip(ASSISTANTS, description.assistants, strict=False):
        parameters, multiply_adds, memory = _sizes(flow)
        lines.append(f"{role_label(role)}: {parameters} parameters, {multiply_adds} multiply-adds, {memory}")
    return "\n".join(lines)


def _format_matching(description: Description | None) -> str:
    if description is None or not description.pairs:
        return ""
    count = len(description.pairs)
    strategy = "your own" if description.strategy == "pairs" else description.strategy.replace("_", " ")
    return f"Matching: {count:,} {'pair' if count == 1 else 'pairs'}{f' ({strategy})' if strategy else ''}"


def _format_data(description: Description, *, with_data: bool) -> str:
    available = f", {format_bytes(description.memory_available)} free" if description.memory_available else ""
    return " · ".join(
        part for part in (description.data if with_data else "", f"{description.device}{available}") if part
    )
