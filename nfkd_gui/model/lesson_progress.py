"""How far the user is in each lesson; kept in the preferences."""

from __future__ import annotations

from nfkd_gui.model.lessons import Lesson
from nfkd_gui.model.studio import Studio


class LessonProgress:
    """Reads and writes the page that was reached in a lesson and the tasks that were solved."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def page(self, lesson: Lesson) -> int:
        """Return the index of the page on which the lesson was left."""
        return min(self._known(lesson)[0], len(lesson.pages) - 1)

    def begun(self, lesson: Lesson) -> bool:
        """Return whether the lesson was opened before."""
        return lesson.name in self._studio.preferences.lessons

    def solved(self, lesson: Lesson) -> set[int]:
        """Return the numbers of the solved tasks, counted through the lesson from 0."""
        return {number for number in self._known(lesson)[1:] if number < lesson.tasks}

    def done(self, lesson: Lesson) -> bool:
        """Return whether all tasks are solved and the last page was reached."""
        return len(self.solved(lesson)) == lesson.tasks and self.page(lesson) == len(lesson.pages) - 1

    def reach(self, lesson: Lesson, page: int) -> None:
        """Keep the page that is shown."""
        if not self.begun(lesson) or self._known(lesson)[0] != page:
            self._keep(lesson, page, self.solved(lesson))

    def solve(self, lesson: Lesson, number: int) -> None:
        """Keep that a task is solved."""
        if number not in self.solved(lesson):
            self._keep(lesson, self._known(lesson)[0], self.solved(lesson) | {number})

    def _known(self, lesson: Lesson) -> list[int]:
        return self._studio.preferences.lessons.get(lesson.name) or [0]

    def _keep(self, lesson: Lesson, page: int, solved: set[int]) -> None:
        lessons = self._studio.preferences.lessons | {lesson.name: [page, *sorted(solved)]}
        self._studio.prefer(lessons=lessons)
