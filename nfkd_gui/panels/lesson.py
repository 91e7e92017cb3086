"""The lessons: their list, and the pages of one, which set the lab and check what the student finds in it."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from nfkd_gui.model.lab import LabModel
from nfkd_gui.model.lesson_parts import Button
from nfkd_gui.model.lesson_progress import LessonProgress
from nfkd_gui.model.lessons import Lesson, Page, load_lessons
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.lesson_contents import LessonContents
from nfkd_gui.panels.lesson_page import MARGIN, PageBar, PageView
from nfkd_gui.panels.lesson_text import LessonButton
from nfkd_gui.theme import fix_size, set_space, set_type
from nfkd_gui.widgets.buttons import quiet_button
from nfkd_gui.widgets.labels import ToneLabel

WIDTH, TALK_WIDTH = 400, 560
_KEYS = {
    "next": (Qt.Key.Key_PageDown, Qt.Key.Key_Right),
    "back": (Qt.Key.Key_PageUp, Qt.Key.Key_Left),
}


class LessonPanel(QFrame):
    """Shows the list of lessons, or a page of a lesson.

    Page Down and Right go to the next page, Page Up and Left back.

    Parameters
    ----------
    lab
        The lab that the lessons set and read.
    studio
        Keeps the progress in its preferences.
    folder
        Of the lessons; those that come with NFKD if None.

    Attributes
    ----------
    lesson
        The lesson that is shown; None for the list.
    index
        Index of the shown page.
    """

    parts_wanted = Signal(list)
    """Names of the parts of the lab that the page shows, of `PARTS`; empty for all, `NO_PARTS` for none."""
    run_wanted = Signal(str)
    """The name of a recorded run to show."""
    page_changed = Signal()

    def __init__(
        self, lab: LabModel, studio: Studio, folder: Path | None = None, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("lesson")
        self.setProperty("panel", True)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self._lab, self._progress = lab, LessonProgress(studio)
        self.lessons, self.errors = load_lessons(folder)
        self.lesson: Lesson | None = None
        self.index = 0
        self._talk = False
        self._scroll = QScrollArea(self)
        self._scroll.setObjectName("lesson.scroll")
        self._scroll.setWidgetResizable(True)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._where, self._page_of, self._bar = ToneLabel(parent=self), ToneLabel(parent=self), PageBar(self)
        self._back = LessonButton("back", "Back", "back", parent=self)
        self._next = LessonButton("next", "Next", "forward", parent=self)
        self._list = quiet_button("Lessons", self)
        self._lay_out()
        self._listen()
        self.show_contents()

    def _lay_out(self) -> None:
        self._head, self._foot = QWidget(self), QWidget(self)
        head = QVBoxLayout(self._head)
        set_space(head, 8, 0, 0, MARGIN, 12)
        row = QHBoxLayout()
        for label in (self._where, self._page_of):
            set_type(label, "caption")
            row.addWidget(label)
        row.insertStretch(1, 1)
        head.addLayout(row)
        head.addWidget(self._bar)
        self._list.setObjectName("lesson.list")
        self._list.setToolTip("Show the list of lessons.")
        self._next.make_primary()
        self._next.setLayoutDirection(Qt.LayoutDirection.RightToLeft)  # the arrow stands after the text
        foot = QHBoxLayout(self._foot)
        set_space(foot, 8, 0, 12, MARGIN, 0)
        foot.addWidget(self._back)
        foot.addStretch(1)
        foot.addWidget(self._list)
        foot.addWidget(self._next)
        column = QVBoxLayout(self)
        set_space(column, 0, 24, 16, 24 - MARGIN, 16)
        for widget, stretch in ((self._head, 0), (self._scroll, 1), (self._foot, 0)):
            column.addWidget(widget, stretch)
        fix_size(self, width=WIDTH)

    def _listen(self) -> None:
        self._back.setToolTip("The page before (Page Up or Left).")
        self._back.clicked.connect(self.go_back)
        self._next.clicked.connect(self.go_on)
        self._list.clicked.connect(self.show_contents)
        for name, act in (("next", self.go_on), ("back", self.go_back)):
            for key in _KEYS[name]:
                shortcut = QShortcut(QKeySequence(key), self)
                shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
                shortcut.activated.connect(act)

    # --- for the workspace --------------------------------------------------------------------------------------------

    @property
    def page(self) -> Page | None:
        """The page that is shown; None for the list."""
        return None if self.lesson is None else self.lesson.pages[self.index]

    def present(self, on: bool) -> None:
        """Show everything larger, for an audience, with the speaker's notes; or as before."""
        if on != self._talk:
            self._talk = on
            fix_size(self, width=TALK_WIDTH if on else WIDTH)
            for label in (self._where, self._page_of):
                set_type(label, "talk_caption" if on else "caption")
            for button in (self._back, self._next, self._list):
                set_type(button, "talk" if on else "body")
            self._show()

    def show_contents(self) -> None:
        """Show the list of lessons."""
        self.lesson, self.index = None, 0
        self._show()

    def open_lesson(self, name: str, index: int | None = None) -> None:
        """Open a lesson where it was left, or at a page, and set the lab to its start.

        Raises
        ------
        KeyError
            If there is no lesson of that name.
        """
        found = next((lesson for lesson in self.lessons if lesson.name == name), None)
        if found is None:
            raise KeyError(name)
        self.lesson = found
        self.index = self._progress.page(found) if index is None else index
        self._lab.control("pause")
        self._lab.open_state(found.start)
        self._show()

    def go_on(self) -> None:
        """Show the next page; after the last, the next lesson, or the list after the last lesson."""
        if self.lesson is None:
            return
        if self.index < len(self.lesson.pages) - 1:
            self._go(self.index + 1)
        elif (after := self._lesson_after()) is not None:
            self.open_lesson(after.name, 0)
        else:
            self.show_contents()

    def go_back(self) -> None:
        """Show the page before."""
        if self.lesson is not None and self.index:
            self._go(self.index - 1)

    def press(self, button: Button) -> None:
        """Do what a button of a lesson says."""
        if self.lesson is None:
            return
        if button.reset:
            self._lab.open_state(self.lesson.start)
        if button.set:
            self._lab.set_values(button.set)
        for action in button.control:
            self._lab.control(action)
        if button.steps:
            self._lab.control("step", button.steps)
        if button.run:
            self.run_wanted.emit(button.run)
        if button.lesson:
            self.open_lesson(button.lesson)

    # --- pages --------------------------------------------------------------------------------------------------------

    def _lesson_after(self) -> Lesson | None:
        index = self.lessons.index(self.lesson) + 1 if self.lesson is not None else 0
        return self.lessons[index] if index < len(self.lessons) else None

    def _go(self, index: int) -> None:
        self.index = index
        self._show()

    def _show(self) -> None:
        lesson, page = self.lesson, self.page
        self._head.setVisible(lesson is not None)
        self._foot.setVisible(lesson is not None)
        if lesson is None or page is None:
            shown = LessonContents(self.lessons, self.errors, self._progress, talk=self._talk)
            shown.chosen.connect(self.open_lesson)
        else:
            self._progress.reach(lesson, self.index)
            self._show_place(lesson)
            shown = PageView(lesson, self.index, self._lab, self._progress.solved(lesson), talk=self._talk)
            shown.pressed.connect(self.press)
            shown.solved.connect(self._solve)
            shown.answered.connect(self._reveal_answer, Qt.ConnectionType.QueuedConnection)
        self._scroll.setWidget(shown)
        self._scroll.verticalScrollBar().setValue(0)
        self.parts_wanted.emit([] if page is None else list(page.shown))
        self.page_changed.emit()

    def _show_place(self, lesson: Lesson) -> None:
        count = len(lesson.pages)
        self._where.setText(f"Lesson {self.lessons.index(lesson) + 1} of {len(self.lessons)}")
        self._page_of.setText(f"{self.index + 1} of {count}")
        self._bar.show_pages(self.index + 1, count)
        self._back.setEnabled(self.index > 0)
        last, after = self.index == count - 1, self._lesson_after()
        self._next.setText("Next" if not last else "Next lesson" if after is not None else "Finish")
        self._next.setAccessibleName(self._next.text())
        self._next.setToolTip("Page Down or Right" if not last else f"“{after.header.title}”" if after else "")

    def _reveal_answer(self) -> None:
        """Scroll to the newest answer, once the page has its new height; another page may be shown by then."""
        page = self._scroll.widget()
        if isinstance(page, PageView) and page.newest_answer is not None:
            self._scroll.ensureWidgetVisible(page.newest_answer)

    def _solve(self, number: int) -> None:
        if self.lesson is not None:
            self._progress.solve(self.lesson, number)
