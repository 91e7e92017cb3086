"""The panel of the lessons: pages, tasks, buttons, keys, progress and the view for an audience."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractButton, QApplication, QLabel, QLineEdit, QRadioButton, QWidget

from nfkd.protocol.lab import LabProbe, ProbePath
from nfkd_gui.model.lab_figures import FIGURES, figure
from nfkd_gui.model.lesson_parts import Button
from nfkd_gui.model.lessons import load_lessons
from nfkd_gui.model.preferences import load_preferences
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.lesson import TALK_WIDTH, WIDTH, LessonPanel
from nfkd_gui.panels.lesson_task import AnswerBox, TaskBox, number_of
from nfkd_gui.theme import apply_theme
from tests.gui.lessons.conftest import RecordingLab

LESSONS, _ = load_lessons()
OpenPanel = Callable[..., LessonPanel]
SHORT = """+++
title = "Short"
minutes = 3
order = 1
summary = "A lesson for tests."
start = { "training.student_examples" = 50 }
+++
# First

The [teacher](teacher) & <b>data</b>.

```show
teacher, controls
```
```button
title = "Set"
reset = true
set = { "training.student_examples" = 30 }
control = ["restart", "play"]
steps = 7
```
```button
title = "Digits"
run = "digits"
```
---
# Second

```task
question = "Half of 3,000?"
answer = 1500
right_text = "Yes."
wrong_text = "Divide by two."
```
```notes
For the speaker.
```
---
# Third

```task
question = "Close the gap."
lab = [{ figure = "gap_closed", is = "above", value = 0.5 }, { figure = "step", is = "above", value = 19 }]
needs = { "training.student_examples" = 50 }
solution = { steps = 1 }
mistake = { steps = 1 }
right_text = "Closed."
wrong_text = "Train on."
```
"""


def find(panel: QWidget, name: str, kind: type = QWidget) -> Any:
    """Return the visible widget of a name."""
    [found] = [widget for widget in panel.findChildren(kind, name) if widget.isVisible()]
    return found


def only(found: Any) -> Any:
    """Return what was found; fail if nothing was."""
    assert found is not None
    return found


def answer(panel: QWidget, number: int) -> AnswerBox:
    return panel.findChildren(AnswerBox, f"lesson.answer.{number}")[-1]


@pytest.fixture
def short(tmp_path: Path, open_panel: OpenPanel) -> LessonPanel:
    """The panel with one short lesson, at its first page."""
    folder = tmp_path / "lessons"
    folder.mkdir()
    (folder / "short.md").write_text(SHORT)
    panel = open_panel(folder)
    panel.open_lesson("short")
    return panel


@pytest.mark.parametrize("lesson", LESSONS, ids=[lesson.name for lesson in LESSONS])
def test_every_number_and_choice_is_refused_when_wrong_and_accepted_when_right(
    lesson: Any, open_panel: OpenPanel, qtbot: Any
):
    panel = open_panel()
    number = 0
    for index, page in enumerate(lesson.pages):
        panel.open_lesson(lesson.name, index)
        for task in page.tasks:
            for value, verdict in ((task.wrong_example, "wrong"), (task.right_example, "right")):
                if task.kind == "choice":
                    button = panel.findChildren(QRadioButton, f"lesson.choice.{number}.{int(value)}")[-1]
                    button.setChecked(True)
                elif task.kind == "number":
                    field = panel.findChildren(QLineEdit, f"lesson.field.{number}")[-1]
                    field.setText(f"{value:.6g}")
                else:
                    continue
                panel.findChildren(QAbstractButton, f"lesson.check.{number}")[-1].click()
                assert answer(panel, number).verdict == verdict, task.question
            number += 1


STATES = [
    (lesson, page, index, task)
    for lesson in LESSONS
    for index, page in enumerate(lesson.pages)
    for task in page.tasks
    if task.solution is not None and not task.solution.steps
]


@pytest.mark.parametrize(("lesson", "page", "index", "task"), STATES, ids=[task.question[:30] for *_, task in STATES])
def test_tasks_about_what_is_shown_read_the_lab(
    lesson: Any, page: Any, index: int, task: Any, open_panel: OpenPanel, lab: RecordingLab, script: Any
):
    if task.lab[0].figure.startswith("probe"):
        return  # the engine computes it: the walk through the lessons checks it
    panel = open_panel()
    panel.open_lesson(lesson.name, index)
    [box] = [box for box in panel.findChildren(TaskBox) if box.isVisible() and box._task == task]
    for settings, verdict in ((task.mistake, "wrong"), (task.solution, "right")):
        lab.set_values(settings.set)
        box.check()
        assert only(box.findChild(AnswerBox)).verdict == verdict


def test_a_task_about_training_reads_the_curves(short: LessonPanel, lab: RecordingLab):
    short.open_lesson("short", 2)
    check = find(short, "lesson.check.1")
    check.click()
    assert answer(short, 1).verdict == "wrong"
    assert "does not show this yet" in answer(short, 1).text.text()
    lab.show_curves(10, teacher=[1.0], baseline=[3.0, 2.0], student=[3.0, 1.8])
    check.click()
    assert "Train on. Now: share of the gap that the student closes = 0.2" in answer(short, 1).text.text()
    lab.show_curves(10, teacher=[1.0], baseline=[3.0, 2.0], student=[3.0, 1.3])
    check.click()
    assert "Train on. Now: step of the students = 10" in answer(short, 1).text.text()
    lab.show_curves(20, teacher=[1.0], baseline=[3.0, 2.0], student=[3.0, 1.3])
    check.click()
    assert answer(short, 1).verdict == "right"


def test_a_task_needs_its_settings(short: LessonPanel, lab: RecordingLab):
    short.open_lesson("short", 2)
    lab.show_curves(20, teacher=[1.0], baseline=[3.0, 2.0], student=[3.0, 1.3])
    lab.set_values({"training.student_examples": 60})
    find(short, "lesson.check.1").click()
    assert answer(short, 1).verdict == "wrong"
    assert "other settings" in answer(short, 1).text.text()


def test_an_answer_below_the_window_is_scrolled_to(open_panel: OpenPanel, qtbot: Any):
    panel = open_panel()
    panel.resize(panel.width(), 300)
    panel.open_lesson(LESSONS[0].name, 0)
    find(panel, "lesson.check.0").click()
    box, view = answer(panel, 0), panel._scroll.viewport()
    qtbot.waitUntil(lambda: view.rect().contains(box.rect().translated(box.mapTo(view, box.rect().topLeft()))))


def test_an_answer_that_is_no_number_is_no_wrong_answer(short: LessonPanel, qtbot: Any):
    short.go_on()
    field = find(short, "lesson.field.0")
    field.setText("many")
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert "Write a number" in answer(short, 0).text.text()


@pytest.mark.parametrize(
    ("text", "value"),
    [("1,500", 1500), (" -2.5 ", -2.5), ("−2", -2), ("1e3", 1000), ("0.7", 0.7), ("7,", None), ("", None)],
)
def test_numbers_as_students_write_them(text: str, value: float | None):
    assert (number_of(text) == value) if value is not None else number_of(text) != number_of(text)


def test_a_button_sets_the_lab_in_order(short: LessonPanel, lab: RecordingLab):
    lab.controls.clear()
    lab.set_values({"monitor.temperature": 0.3})
    find(short, "lesson.button.0").click()
    assert lab.state.training.student_examples == 30
    assert lab.state.monitor.temperature == 1.0  # the lesson's start
    assert lab.controls == [("restart", 1), ("play", 1), ("step", 7)]


def test_the_run_and_the_parts_are_left_to_the_window(short: LessonPanel, qtbot: Any):
    with qtbot.waitSignal(short.run_wanted) as run:
        find(short, "lesson.button.1").click()
    assert run.args == ["digits"]
    with qtbot.waitSignal(short.parts_wanted) as parts:
        short.go_on()
    assert parts.args == [["teacher", "controls"]]
    with qtbot.waitSignal(short.parts_wanted) as parts:
        short.show_contents()
    assert parts.args == [[]]


def test_every_button_of_every_lesson_can_be_pressed(open_panel: OpenPanel, lab: RecordingLab):
    panel = open_panel()
    for lesson in LESSONS:
        for page in lesson.pages:
            for button in page.buttons:
                panel.open_lesson(lesson.name, 0)
                lab.error = None
                panel.press(button)
                assert lab.error is None


def test_a_lesson_of_another_lesson_opens(open_panel: OpenPanel):
    panel = open_panel()
    panel.open_lesson(LESSONS[1].name)
    panel.press(Button(title="x", lesson=LESSONS[0].name))
    assert panel.lesson is not None
    assert panel.lesson.name == LESSONS[0].name


def test_keys_turn_the_pages(short: LessonPanel, qtbot: Any):
    short.activateWindow()
    short.setFocus()
    qtbot.waitUntil(short.hasFocus)
    keys = Qt.Key
    for key, index in ((keys.Key_PageDown, 1), (keys.Key_Right, 2), (keys.Key_Left, 1), (keys.Key_PageUp, 0)):
        qtbot.keyClick(short, key)
        assert short.index == index


def test_arrows_move_the_cursor_of_a_field(short: LessonPanel, qtbot: Any):
    short.go_on()
    field = find(short, "lesson.field.0")
    short.activateWindow()
    field.setFocus()
    qtbot.waitUntil(field.hasFocus)
    qtbot.keyClicks(field, "15")
    qtbot.keyClick(field, Qt.Key.Key_Left)
    assert (short.index, field.cursorPosition()) == (1, 1)


def test_arrows_choose_among_the_choices(open_panel: OpenPanel, qtbot: Any):
    panel = open_panel()
    panel.open_lesson(LESSONS[0].name, 2)
    first, second, third = (find(panel, f"lesson.choice.2.{number}") for number in range(3))
    panel.activateWindow()
    first.setFocus()
    qtbot.waitUntil(first.hasFocus)
    for button, key, chosen in (
        (first, Qt.Key.Key_Right, second),
        (second, Qt.Key.Key_Right, third),
        (third, Qt.Key.Key_Right, third),
        (third, Qt.Key.Key_Left, second),
        (second, Qt.Key.Key_Up, first),
    ):
        qtbot.keyClick(button, key)
        assert chosen.isChecked()
        assert panel.index == 2
    qtbot.keyClick(first, Qt.Key.Key_PageDown)
    assert panel.index == 3


def test_progress_is_kept_in_the_preferences(
    short: LessonPanel, studio: Studio, qtbot: Any, tmp_path: Path, lab: RecordingLab
):
    short.go_on()
    find(short, "lesson.field.0").setText("1500")
    find(short, "lesson.check.0").click()
    assert load_preferences(tmp_path / "studio.json").lessons == {"short": [1, 0]}
    again = LessonPanel(lab, studio, tmp_path / "lessons")
    qtbot.addWidget(again)
    again.open_lesson("short")
    assert again.index == 1
    assert only(again.findChild(AnswerBox, "lesson.answer.0")).verdict == "right"
    again.show_contents()
    assert "1 of 2 tasks" in only(again.findChild(QWidget, "lesson.card.short")).accessibleName()


def test_the_list_opens_a_lesson_by_click_and_by_key(short: LessonPanel, qtbot: Any):
    short.show_contents()
    qtbot.mouseClick(find(short, "lesson.card.short"), Qt.MouseButton.LeftButton)
    assert short.lesson is not None
    find(short, "lesson.list").click()
    assert short.lesson is None
    qtbot.keyClick(find(short, "lesson.card.short"), Qt.Key.Key_Return)
    assert short.lesson is not None


def test_after_the_last_page_comes_the_next_lesson(open_panel: OpenPanel):
    panel = open_panel()
    panel.open_lesson(LESSONS[0].name, len(LESSONS[0].pages) - 1)
    panel.go_on()
    assert (panel.lesson, panel.index) == (panel.lessons[1], 0)
    panel.open_lesson(LESSONS[-1].name, len(LESSONS[-1].pages) - 1)
    panel.go_on()
    assert panel.lesson is None


def test_the_view_for_an_audience_is_larger_and_has_the_notes(short: LessonPanel):
    short.go_on()
    size = find(short, "lesson.heading").font().pixelSize()
    assert short.width() == WIDTH
    assert not short.findChildren(QWidget, "lesson.notes")
    short.present(True)
    assert short.width() == TALK_WIDTH
    assert find(short, "lesson.heading").font().pixelSize() == 1.5 * size
    notes = [label.text() for label in find(short, "lesson.notes").findChildren(QLabel)]
    assert notes[0] == "Speaker notes"
    assert any("For the speaker." in text for text in notes)
    assert short.index == 1
    short.present(False)
    assert short.width() == WIDTH


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_roles_have_their_colours_and_foreign_markup_is_text(
    theme: str, short: LessonPanel, qapp: QApplication, qtbot: Any
):
    colours = {"light": "#0068A8", "dark": "#4DB2E8"}
    apply_theme(qapp, theme)
    text = next(label.text() for label in short.findChildren(QLabel) if "The " in label.text())
    assert f"color:{colours[theme]}" in text
    assert "&amp; &lt;b&gt;data&lt;/b&gt;" in text


def test_every_control_has_a_name(open_panel: OpenPanel):
    panel = open_panel()
    for lesson in LESSONS:
        for index in range(len(lesson.pages)):
            panel.open_lesson(lesson.name, index)
            for kind in (QAbstractButton, QLineEdit):
                for widget in panel.findChildren(kind):
                    assert widget.objectName().startswith("lesson.")
                    assert widget.accessibleName() or widget.text()
            names = [widget.objectName() for widget in only(panel._scroll.widget()).findChildren(QAbstractButton)]
            assert len(names) == len(set(names))


def test_texts_fit_the_width(open_panel: OpenPanel):
    panel = open_panel()
    for talk in (False, True):
        panel.present(talk)
        for lesson in LESSONS:
            for index in range(len(lesson.pages)):
                panel.open_lesson(lesson.name, index)
                page = only(panel._scroll.widget())
                assert page.minimumSizeHint().width() <= panel._scroll.viewport().width(), (lesson.name, index, talk)


def test_figures_of_the_probe_add_up(lab: RecordingLab):
    import numpy as np

    lab.state = lab.state.with_values({"lab.probe": (0.0, 0.0), "lab.off": ("teacher.step1", "student.step1")})
    path = ProbePath(states=np.array([[0, 0], [3, 4.0]]), log_dets=np.array([0.5, -1.5]), base_log_prob=-2.0)
    lab.probe = LabProbe(lab="1", point=(0.0, 0.0), flows={"teacher": path})
    values = {name: figure(lab, name) for name in FIGURES}
    assert values["probe_log_prob_teacher"] == -3.0
    assert values["probe_latent_radius_teacher"] == 5.0
    assert values["probe_log_prob_student"] != values["probe_log_prob_student"]  # NaN
    assert (values["layers_off"], values["teacher_layers_off"]) == (2, 1)
    assert (values["teacher_layers"], values["student_layers"], values["student_examples"]) == (6, 2, 100)
