"""The engine's estimate of the experiment: sizes, ratio, matching, data."""

from __future__ import annotations

import math

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QGridLayout, QWidget

from nfkd.protocol.requests import Description, FlowDescription
from nfkd.protocol.roles import ASSISTANTS, role_label
from nfkd_gui.numbers import format_bytes, format_count
from nfkd_gui.theme import set_space
from nfkd_gui.widgets.caption import Caption
from nfkd_gui.widgets.labels import ElidedLabel, PlainLabel, Tone, ToneLabel, tip

_ROWS = ("Parameters", "Multiply-adds", "Memory")


class EstimateBox(QFrame):
    """Shows the sizes of teacher and student, the matching, the data, and whether the experiment can run."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("estimate")
        self._status = ElidedLabel(parent=self)
        self._status.setObjectName("estimate.status")
        self._details = Caption(parent=self)
        self._details.setObjectName("estimate.details")
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
        for row, label in enumerate((self._details, self._status), start=len(_ROWS) + 1):
            grid.addWidget(label, row, 0, 1, 5)
        grid.setRowStretch(len(_ROWS) + 3, 1)
        self.show_description(None)

    def add_beside(self, widget: QWidget) -> None:
        """Add a widget beside the sizes, above the remarks."""
        self._grid.addWidget(widget, 0, 4, len(_ROWS) + 1, 1)
        self._grid.setColumnStretch(0, 0)
        self._grid.setColumnStretch(4, 1)

    def show_description(self, description: Description | None, *, with_data: bool = True) -> None:
        """Show the engine's description, if there is one; leave out the data unless `with_data`."""
        teacher = description.teacher if description else None
        student = description.student if description else None
        for column, flow in ((1, teacher), (2, student)):
            for row, text in enumerate(_sizes(flow), start=1):
                self._cells[row, column].setText(text)
        for row, name in enumerate(("parameters", "multiply_adds", "memory"), start=1):
            self._cells[row, 3].setText(_ratio(teacher, student, name))
        details = _format_details(description, with_data=with_data) if description else []
        self._details.show_texts([" · ".join(details[:count]) for count in range(len(details), 0, -1)])
        pairs = [*description.assistant_pairs, description.pairs] if description else []
        self._details.setToolTip(tip("\n".join([*details, *(pair.summary for stage in pairs for pair in stage)])))

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


def _format_details(description: Description, *, with_data: bool) -> list[str]:
    """Return the assistants, the matching, and the data and the device; the most important first."""
    found = _format_assistants(description)
    found += [_format_matching(description), _format_data(description, with_data=with_data)]
    return [text for text in found if text]


def _format_assistants(description: Description) -> list[str]:
    """Return the sizes of each assistant."""
    lines = []
    for role, flow in zip(ASSISTANTS, description.assistants, strict=False):
        parameters, multiply_adds, memory = _sizes(flow)
        lines.append(f"{role_label(role)}: {parameters} parameters, {multiply_adds} multiply-adds, {memory}")
    return lines


def _format_matching(description: Description) -> str:
    if not description.pairs:
        return ""
    count = len(description.pairs)
    strategy = "your own" if description.strategy == "pairs" else description.strategy.replace("_", " ")
    return f"Matching: {count:,} {'pair' if count == 1 else 'pairs'}{f' ({strategy})' if strategy else ''}"


def _format_data(description: Description, *, with_data: bool) -> str:
    available = f", {format_bytes(description.memory_available)} free" if description.memory_available else ""
    return " · ".join(
        part for part in (description.data if with_data else "", f"{description.device}{available}") if part
    )
