"""Every lesson in the real window: each button works, and each task refuses a wrong answer and accepts a right one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLineEdit, QRadioButton, QScrollArea, QWidget

from nfkd_gui.model.lab import LabModel
from nfkd_gui.model.lesson_parts import Button, LabSettings, Task, value_at
from nfkd_gui.model.lessons import Lesson, load_lessons
from nfkd_gui.panels.lab_view import PARTS
from nfkd_gui.panels.lesson_task import AnswerBox
from nfkd_gui.window.learn import LearnWorkspace
from nfkd_gui.window.main_window import MainWindow
from tests.core.tiny import moons

LESSONS, ERRORS = load_lessons()
Do = Callable[[Any], Any]


def child(parent: QWidget, kind: type, name: str) -> Any:
    found = parent.findChild(kind, name)
    assert isinstance(found, kind), name
    return found


def click(learn: LearnWorkspace, name: str) -> None:
    button = child(learn, QWidget, name)
    assert button.isEnabled(), name
    child(learn, QScrollArea, "lesson.scroll").ensureWidgetVisible(button)
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


async def press_button(user: Any, learn: LearnWorkspace, number: int, button: Button) -> None:
    """Press a button, and see that the lab does what it says."""
    lab, wanted = learn.lab, list[str]()
    learn.run_wanted.connect(wanted.append)
    before = lab.frame.number if lab.frame is not None else -1
    click(learn, f"lesson.button.{number}")
    learn.run_wanted.disconnect(wanted.append)
    for path, value in button.set.items():
        assert value_at(lab.state, path) == value, (button.title, path)
    assert wanted == ([button.run] if button.run else [])
    if "play" in button.control or button.steps:
        await user.reach(lab.frame_changed, lambda: _goes_on(lab, before))
        assert lab.frame is not None
        assert not lab.frame.message, button.title
        lab.control("pause")
        await user.reach(lab.frame_changed, lambda: not lab.playing)


def _goes_on(lab: LabModel, before: int) -> bool:
    """Return whether steps were made since a frame."""
    frame = lab.frame
    if frame is None or not lab.settled or frame.number <= before:
        return False
    return frame.playing or frame.step > 0 or frame.phase == "done"


async def set_lab(user: Any, learn: LearnWorkspace, lesson: Lesson, task: Task, settings: LabSettings) -> None:
    """Bring the lab into the state of an example."""
    lab = learn.lab
    state = lesson.state(settings, task.needs)
    lab.control("pause")
    lab.open_state(state)
    lab.control("restart")
    await user.reach(lab.frame_changed, lambda: lab.settled and lab.frame is not None and not _students_play(lab))
    if settings.steps:
        lab.control("step", settings.steps)
        await user.reach(lab.frame_changed, lambda: lab.settled and has_made(lab, settings.steps))
        assert lab.frame is not None
        assert not lab.frame.message
    if state.lab.probe:
        await user.reach(lab.probe_changed, lambda: lab.probe is not None and lab.probe.point == tuple(state.lab.probe))


def _students_play(lab: LabModel) -> bool:
    """Return whether the students have made steps, or make them."""
    return lab.playing or (lab.frame is not None and lab.frame.phase != "teacher" and lab.frame.step > 0)


def has_made(lab: LabModel, steps: int) -> bool:
    """Return whether the students have made some steps."""
    return lab.frame is not None and lab.frame.phase != "teacher" and lab.frame.step == steps


async def answer(user: Any, learn: LearnWorkspace, lesson: Lesson, task: Task, number: int, *, right: bool) -> str:
    """Give a right or a wrong answer, check it, and return the verdict."""
    value = task.right_example if right else task.wrong_example
    match task.kind:
        case "number":
            field = child(learn, QLineEdit, f"lesson.field.{number}")
            field.setText("")
            QTest.keyClicks(field, f"{value:g}")
        case "choice":
            child(learn, QRadioButton, f"lesson.choice.{number}.{value:.0f}").click()
        case "lab":
            settings = task.solution if right else task.mistake
            assert settings is not None
            await set_lab(user, learn, lesson, task, settings)
    click(learn, f"lesson.check.{number}")
    return child(learn, AnswerBox, f"lesson.answer.{number}").verdict


def follow(learn: LearnWorkspace, lesson: Lesson, index: int, number: int, button: Button) -> None:
    """Press a button that opens another lesson, and come back to the page."""
    click(learn, f"lesson.button.{number}")
    assert learn.lesson.lesson is not None
    assert learn.lesson.lesson.name == button.lesson != lesson.name
    learn.lesson.show_contents()
    click(learn, f"lesson.card.{lesson.name}")
    assert learn.lesson.index == index


async def see_run(user: Any, window: MainWindow, name: str) -> None:
    """See the recorded run of a lesson in Train, and return to the lesson."""
    studio = window.studio
    await user.reach(studio.view_changed, lambda: studio.view is not None and Path(studio.view.row.run).name == name)
    assert window.workspace == "train"
    window.open_workspace("learn")


async def walk(user: Any, window: MainWindow, lesson: Lesson) -> None:
    """Go through a lesson from page to page."""
    window.open_workspace("learn")
    learn = window.learn
    await user.reach(learn.lab.frame_changed, lambda: learn.lab.info is not None and learn.lab.frame is not None)
    click(learn, f"lesson.card.{lesson.name}")
    learn.lesson.open_lesson(lesson.name, 0)  # an earlier test may have read some pages
    task_number = 0
    for index, page in enumerate(lesson.pages):
        assert learn.lesson.index == index
        shown = {part for part in (page.shown or PARTS) if part in {"controls", "scrubber"}}
        view = learn.view
        assert {name for name in ("controls", "scrubber") if getattr(view, name).isVisible()} == shown
        for number, button in enumerate(page.buttons):
            if not button.lesson:
                await press_button(user, learn, number, button)
            if button.run:
                await see_run(user, window, button.run)
        for task in page.tasks:
            assert await answer(user, learn, lesson, task, task_number, right=False) == "wrong", task.question
            assert await answer(user, learn, lesson, task, task_number, right=True) == "right", task.question
            task_number += 1
        for number, button in enumerate(page.buttons):
            if button.lesson:
                follow(learn, lesson, index, number, button)
        if index < len(lesson.pages) - 1:
            click(learn, "lesson.next")
    assert learn.lab.error is None


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_lesson(user: Any, do: Do, lesson: Lesson, tmp_path: Path) -> None:
    moons().save(tmp_path / "tiny.toml")  # the engine measures the times of the experiment beside the lab

    async def story() -> None:
        await walk(user, await user.open(tmp_path / "tiny.toml"), lesson)

    do(story())


def test_there_are_enough_lessons_and_none_is_broken() -> None:
    assert not ERRORS
    assert len(LESSONS) >= 10
