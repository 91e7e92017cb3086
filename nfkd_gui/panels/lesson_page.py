"""A page of a lesson: heading, text, formulas, tasks and buttons, and the speaker's notes."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QSizePolicy, QVBoxLayout, QWidget

from nfkd_gui.model.lab import LabModel
from nfkd_gui.model.lesson_parts import Button, Formula, Task, Text
from nfkd_gui.model.lessons import Lesson, LessonError
from nfkd_gui.panels.lesson_task import TaskBox
from nfkd_gui.panels.lesson_text import KINDS, TALK, LessonButton, LessonText
from nfkd_gui.plotting.formula import FormulaError, FormulaView
from nfkd_gui.theme import scaled, set_space, set_type, tokens
from nfkd_gui.widgets.flow_layout import ControlBar
from nfkd_gui.widgets.labels import ToneLabel, WrappedLabel

_FORMULA, _TALK_FORMULA = 15, 22
_BAR, _GAP = 3, 4
MARGIN = 12
"""At the right of a page, for the scroll bar."""


class PageBar(QWidget):
    """Shows how many pages were read: one segment a page."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._done, self._pages = 0, 1
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_pages(self, done: int, pages: int) -> None:
        """Show that `done` of some pages were read."""
        self._done, self._pages = done, pages
        self.setAccessibleName(f"Page {done} of {pages}")
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(scaled(160), scaled(_BAR))

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        gap = scaled(_GAP)
        width = (self.width() - gap * (self._pages - 1)) / self._pages
        for number in range(self._pages):
            painter.setBrush(QColor(tokens().fill if number < self._done else tokens().track))
            painter.drawRect(QRectF(number * (width + gap), 0, width, self.height()))
        painter.end()


class PageView(QWidget):
    """Shows a page of a lesson.

    Parameters
    ----------
    index
        Of the page.
    solved
        Numbers of the tasks that were solved before.
    talk
        Whether the page is shown to an audience: larger, with the speaker's notes below.
    """

    pressed = Signal(object)
    """A `Button` was pressed."""
    solved = Signal(int)
    """A task was solved; carries its number."""
    answered = Signal()
    """An answer is shown, in `newest_answer`."""

    def __init__(
        self, lesson: Lesson, index: int, lab: LabModel, solved: set[int], *, talk: bool, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        page = lesson.pages[index]
        self._lesson, self._index, self._lab, self._talk = lesson, index, lab, talk
        self.newest_answer: QWidget | None = None
        self._kinds = TALK if talk else KINDS
        self._column = QVBoxLayout(self)
        set_space(self._column, 12, 0, 0, MARGIN, 0)
        title = LessonText(page.heading, self._kinds["title"], self)
        title.setObjectName("lesson.heading")
        self._column.addWidget(title)
        self._row: ControlBar | None = None
        self._buttons, number = 0, sum(len(before.tasks) for before in lesson.pages[:index])
        for block in page.blocks:
            if isinstance(block, Task):
                self._add_task(block, number, known=number in solved)
                number += 1
            else:
                self._add(block)
        if talk and page.notes:
            self._add_notes(page.notes)
        self._column.addStretch(1)

    def _add(self, block: Text | Formula | Button) -> None:
        if isinstance(block, Button):
            self._add_button(block)
            return
        self._row = None
        match block:
            case Text(markdown=text):
                self._column.addWidget(LessonText(text, self._kinds["body"], self))
            case Formula():
                self._column.addWidget(self._formula(block))

    def _add_button(self, button: Button) -> None:
        """Add a button; those that follow each other share a row."""
        if self._row is None:
            self._row = ControlBar(8, self)
            self._column.addWidget(self._row)
        picture = "run" if "play" in button.control else "restart" if button.reset else ""
        shown = LessonButton(f"button.{self._buttons}", button.title, picture, self._kinds["body"], self._row)
        shown.clicked.connect(lambda: self.pressed.emit(button))
        self._row.add(shown)
        self._buttons += 1

    def _add_task(self, task: Task, number: int, *, known: bool) -> None:
        self._row = None
        box = TaskBox(task, number, self._lab, self._kinds, self)
        if known:
            box.show_solved()
        box.answered.connect(lambda: self._show_answer(box))
        box.solved.connect(lambda: self.solved.emit(number))
        self._column.addSpacing(scaled(4))
        self._column.addWidget(box)

    def _show_answer(self, box: TaskBox) -> None:
        self.newest_answer = box.answer
        self.answered.emit()

    def _formula(self, formula: Formula) -> QWidget:
        """Return the box of a formula; of one that cannot be read it says so, with its file and page."""
        box = QFrame(self)
        box.setProperty("raised", True)
        column = QVBoxLayout(box)
        set_space(column, 8, 16, 12, 16, 12)
        if formula.caption:
            caption = ToneLabel(formula.caption, "muted", box)
            caption.setWordWrap(True)
            set_type(caption, self._kinds["caption"])
            column.addWidget(caption)
        try:
            view: QWidget = FormulaView(formula.lines, _TALK_FORMULA if self._talk else _FORMULA, box)
        except FormulaError as error:
            problem = LessonError(f"{self._lesson.name}.md", self._index + 1, str(error))
            view = WrappedLabel(str(problem), "warning", box)
            view.setObjectName("lesson.problem")
        column.addWidget(view)
        return box

    def _add_notes(self, notes: str) -> None:
        text = QWidget(self)
        text.setObjectName("lesson.notes")
        line = QFrame(text)
        line.setProperty("line", True)
        caption = ToneLabel("Speaker notes", "muted", text)
        set_type(caption, "strong")
        column = QVBoxLayout(text)
        set_space(column, 8)
        column.addWidget(line)
        column.addWidget(caption)
        for paragraph in notes.split("\n\n"):
            column.addWidget(LessonText(paragraph, "body", text))
        self._column.addWidget(text)
