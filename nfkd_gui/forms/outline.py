"""The outline of the experiment: one row for each section, with a summary and the number of its problems."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QEvent, QRect, QSize, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QPushButton, QScrollArea, QVBoxLayout, QWidget

from nfkd.config import ConfigProblem
from nfkd.text import sentence
from nfkd_gui.model.experiment import Experiment
from nfkd_gui.model.summaries import summary_of
from nfkd_gui.theme import font, scaled, set_space, tokens
from nfkd_gui.widgets.icons import icon
from nfkd_gui.widgets.labels import ClampedLabel, ToneLabel, WrappedLabel, tip

SECTIONS = {
    "": ("Experiment", "experiment"),
    "data": ("Data", "data"),
    "teacher": ("Teacher", "teacher"),
    "assistants": ("Assistants", "assistants"),
    "student": ("Student", "student"),
    "distillation": ("Loss", "distillation"),
    "training": ("Training", "training"),
    "seeds": ("Seeds", "seeds"),
    "compute": ("Compute", "compute"),
    "monitor": ("Monitoring", "monitor"),
}
"""Title and icon of each section, by the name of its field; the first is name and description."""
_ROW, _BADGE = 48, 18
_MOST = 4
"""Problems that are listed; more are counted."""
_SHORT, _LINES = 80, 3  # characters of a problem that is shown whole, and lines of others


class Outline(QWidget):
    """Lists the sections; a click, or Up and Down, selects one."""

    selected = Signal(str)
    """The name of a section."""
    problem_clicked = Signal(str)
    """The path of a field with a problem."""

    def __init__(self, experiment: Experiment, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("outline")
        self._experiment = experiment
        self.rows = {name: _OutlineRow(name, self) for name in SECTIONS}
        rows = QWidget(self)
        column = QVBoxLayout(rows)
        set_space(column, 0)
        for row in self.rows.values():
            column.addWidget(row)
            row.clicked.connect(self.select)
            row.moved.connect(self._move)
        column.addStretch(1)
        scroll = QScrollArea(self)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(rows)
        self._foot = _ProblemList(self)
        self._foot.clicked.connect(self.problem_clicked)
        whole = QVBoxLayout(self)
        set_space(whole, 0)
        whole.addWidget(scroll, 1)
        whole.addWidget(self._foot)
        experiment.checked.connect(self.refresh)
        experiment.replaced.connect(self.refresh)
        self.refresh()
        self.select("data")

    def select(self, name: str) -> None:
        """Select a section."""
        for row in self.rows.values():
            row.set_selected(row.name == name)
        self.selected.emit(name)

    def _move(self, step: int) -> None:
        """Select the next or the previous section."""
        names = list(self.rows)
        chosen = next(index for index, row in enumerate(self.rows.values()) if row.is_selected)
        name = names[min(max(chosen + step, 0), len(names) - 1)]
        self.rows[name].setFocus()
        self.select(name)

    def refresh(self) -> None:
        """Show the summaries and the numbers of problems."""
        experiment = self._experiment
        problems = experiment.problems
        warnings = list(experiment.description.warnings) if experiment.description is not None else []
        remarks = [ConfigProblem(warning.path, warning.message) for warning in warnings]
        document: dict[str, Any] = experiment.document  # without the defaults, if it is not valid
        if experiment.config is not None:
            document = experiment.config.model_dump()
        for name, row in self.rows.items():
            value: Any = document if not name else document.get(name)
            row.show_summary(summary_of(name, value, experiment.latest))
            row.show_counts(_count(name, problems), _count(name, remarks))
        self._foot.show_problems(problems, remarks)


def _count(name: str, problems: list[ConfigProblem]) -> int:
    return sum(section_of(problem.path) == name for problem in problems)


def section_of(path: str) -> str:
    """Return the name of the section that a field belongs to."""
    first = path.partition(".")[0]
    return first if first in SECTIONS else ""


class _OutlineRow(QWidget):
    """A section: icon, title, summary and badge."""

    clicked = Signal(str)
    moved = Signal(int)

    def __init__(self, name: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.name = name
        self.setObjectName(f"outline.{name or 'experiment'}")
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.is_selected = False
        self._summary, self._errors, self._remarks, self._hovered = "", 0, 0, False
        self.setAccessibleName(SECTIONS[name][0])
        self.setSizePolicy(self.sizePolicy().horizontalPolicy(), self.sizePolicy().verticalPolicy().Fixed)

    @property
    def summary(self) -> str:
        """The text below the title."""
        return self._summary

    @property
    def badge(self) -> str:
        """The number in the badge; empty without problems."""
        return str(self._errors or self._remarks or "")

    def set_selected(self, selected: bool) -> None:
        self.is_selected = selected
        self.update()

    def show_summary(self, text: str) -> None:
        self._summary = text
        self.setToolTip(tip(text))
        self.setAccessibleDescription(text)
        self.update()

    def show_counts(self, errors: int, remarks: int) -> None:
        self._errors, self._remarks = errors, remarks
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(scaled(240), scaled(_ROW))

    def minimumSizeHint(self) -> QSize:
        return QSize(scaled(160), scaled(_ROW))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        del event
        self.setFocus()
        self.clicked.emit(self.name)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in {Qt.Key.Key_Return, Qt.Key.Key_Space, Qt.Key.Key_Enter}:
            self.clicked.emit(self.name)
        elif event.key() in {Qt.Key.Key_Up, Qt.Key.Key_Down}:
            self.moved.emit(-1 if event.key() == Qt.Key.Key_Up else 1)
        else:
            super().keyPressEvent(event)

    def event(self, event: QEvent) -> bool:
        if event.type() in {QEvent.Type.Enter, QEvent.Type.Leave}:
            self._hovered = event.type() == QEvent.Type.Enter
            self.update()
        return super().event(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        colours, painter, box = tokens(), QPainter(self), self.rect()
        if self.is_selected or self._hovered:
            painter.fillRect(box, QColor(colours.soft if self.is_selected else colours.hover))
        if self.is_selected:
            painter.fillRect(QRect(0, 0, scaled(3), box.height()), QColor(colours.accent))
        title, picture = SECTIONS[self.name]
        side = scaled(16)
        icon(picture).paint(painter, QRect(scaled(16), (box.height() - side) // 2, side, side))
        left, badge = scaled(44), self._badge_width()
        room = box.width() - left - badge - scaled(16)
        self._text(painter, QRect(left, scaled(6), room, scaled(18)), title, "strong" if self.is_selected else "body")
        painter.setPen(QColor(colours.muted))
        self._text(painter, QRect(left, scaled(25), room, scaled(15)), self._summary, "caption")
        if badge:
            self._paint_badge(painter, badge)
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)  # the badge has set one
            painter.setPen(QColor(colours.accent))
            painter.drawRect(box.adjusted(0, 0, -1, -1))
        painter.end()

    def _text(self, painter: QPainter, box: QRect, text: str, kind: str) -> None:
        painter.setFont(font(kind))
        shown = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, box.width())
        painter.drawText(box, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, shown)

    def _badge_width(self) -> int:
        return scaled(_BADGE + 8 * (len(self.badge) - 1)) if self.badge else 0

    def _paint_badge(self, painter: QPainter, width: int) -> None:
        colours, height = tokens(), scaled(_BADGE)
        ground, ink = (colours.error_soft, colours.error) if self._errors else (colours.warn_soft, colours.warn)
        box = QRect(self.width() - width - scaled(12), (self.height() - height) // 2, width, height)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(ground))
        painter.drawRoundedRect(box, height / 2, height / 2)
        painter.setPen(QColor(ink))
        painter.setFont(font("caption"))
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, self.badge)


class _ProblemList(QFrame):
    """The problems and remarks at the foot of the outline; each leads to its field."""

    clicked = Signal(str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("outline.problems")
        self._heading = ToneLabel(parent=self)
        self._heading.setObjectName("outline.count")
        self._column = QVBoxLayout(self)
        set_space(self._column, 4, 16, 12, 12, 12)
        self._column.addWidget(self._heading)
        self._entries: list[QWidget] = []

    def show_problems(self, problems: list[ConfigProblem], remarks: list[ConfigProblem]) -> None:
        """Show the problems; if there are none, the remarks."""
        for entry in self._entries:
            entry.hide()
            entry.deleteLater()
        self._entries = []
        shown, tone = (problems, "error") if problems else (remarks, "warning")
        kind = "problem" if problems else "remark"
        self.setVisible(bool(shown))
        self._heading.set_tone(tone)  # type: ignore[arg-type]
        self._heading.setText(f"{len(shown)} {kind}{'' if len(shown) == 1 else 's'}")
        for problem in shown[:_MOST]:
            self._add(problem)

    def _add(self, problem: ConfigProblem) -> None:
        message, short = sentence(problem.message), len(problem.message) <= _SHORT
        text = WrappedLabel(message, "plain", self) if short else ClampedLabel(message, _LINES, self, "plain")
        text.setToolTip("" if short else tip(message))
        link = QPushButton(f"Go to {problem.path.replace('_', ' ').replace('.', ' › ') or 'the experiment'}", self)
        link.setObjectName(f"outline.problem.{problem.path}")
        link.setProperty("link", True)
        link.setCursor(Qt.CursorShape.PointingHandCursor)
        link.clicked.connect(lambda: self.clicked.emit(problem.path))
        for widget in (text, link):
            self._column.addWidget(widget)
            self._entries.append(widget)
            widget.show()
