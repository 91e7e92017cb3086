"""The list of lessons, how far the user is in each, and the words that they explain."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from nfkd_gui.model.lesson_progress import LessonProgress
from nfkd_gui.model.lessons import Lesson, LessonError
from nfkd_gui.panels.lesson_page import MARGIN, PageBar
from nfkd_gui.panels.lesson_text import KINDS, TALK, LessonText
from nfkd_gui.theme import set_space, set_type
from nfkd_gui.widgets.chip import Chip
from nfkd_gui.widgets.labels import ToneLabel, TypeLabel, WrappedLabel


class LessonCard(QFrame):
    """Offers a lesson; a click, Enter or the space bar opens it."""

    chosen = Signal(str)
    """The name of the lesson."""

    def __init__(
        self,
        lesson: Lesson,
        number: int,
        progress: LessonProgress,
        kinds: dict[str, str],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._lesson = lesson
        header = lesson.header
        solved, begun = len(progress.solved(lesson)), progress.begun(lesson)
        self.setObjectName(f"lesson.card.{lesson.name}")
        self.setProperty("card", True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        tasks = f"{solved} of {lesson.tasks} tasks"
        self.setAccessibleName(f"Lesson {number}, {header.title}, {header.minutes} minutes, {tasks}")
        title = TypeLabel(kinds["strong"], f"{number}. {header.title}", self)
        title.setWordWrap(True)
        minutes = ToneLabel(f"{header.minutes} min", "muted", self)
        set_type(minutes, kinds["caption"])
        head = QHBoxLayout()
        set_space(head, 8)
        head.addWidget(title, 1)
        head.addWidget(minutes, alignment=Qt.AlignmentFlag.AlignTop)
        summary = WrappedLabel(header.summary, "muted", self)
        summary.setTextInteractionFlags(Qt.TextInteractionFlag.NoTextInteraction)
        set_type(summary, kinds["body"])
        column = QVBoxLayout(self)
        set_space(column, 4, 12, 8, 12, 12)
        column.addLayout(head)
        column.addWidget(summary)
        if begun:
            column.addWidget(self._foot(progress, tasks, kinds))

    def _foot(self, progress: LessonProgress, tasks: str, kinds: dict[str, str]) -> QWidget:
        foot, lesson = QWidget(self), self._lesson
        row = QHBoxLayout(foot)
        set_space(row, 12, 0, 4, 0, 0)
        bar = PageBar(foot)
        bar.show_pages(progress.page(lesson) + 1, len(lesson.pages))
        row.addWidget(bar, 1)
        if progress.done(lesson):
            chip = Chip(foot)
            chip.show_text("Done", "good", f"All {lesson.tasks} tasks are solved.")
            row.addWidget(chip)
        else:
            label = ToneLabel(tasks, "muted", foot)
            set_type(label, kinds["caption"])
            row.addWidget(label)
        return foot

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self.chosen.emit(self._lesson.name)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in {Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space}:
            self.chosen.emit(self._lesson.name)
        else:
            super().keyPressEvent(event)


class LessonContents(QWidget):
    """Lists the lessons, the words that they explain, and files that cannot be used."""

    chosen = Signal(str)
    """The name of a lesson."""

    def __init__(
        self,
        lessons: list[Lesson],
        errors: list[LessonError],
        progress: LessonProgress,
        *,
        talk: bool,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        kinds = TALK if talk else KINDS
        column = QVBoxLayout(self)
        set_space(column, 8, 0, 0, MARGIN, 0)
        column.addWidget(TypeLabel(kinds["title"], "Lessons", self))
        for number, lesson in enumerate(lessons, 1):
            card = LessonCard(lesson, number, progress, kinds, self)
            card.chosen.connect(self.chosen)
            column.addWidget(card)
        for error in errors:
            column.addWidget(WrappedLabel(str(error), "warning", self))
        words = sorted((term for lesson in lessons for term in lesson.header.terms), key=str.casefold)
        if words:
            column.addSpacing(8)
            column.addWidget(TypeLabel(kinds["strong"], "Words", self))
        for word in words:
            term, _, meaning = word.partition(": ")
            column.addWidget(LessonText(f"**{term}**: {meaning}", kinds["body"], self))
        column.addStretch(1)
