"""Lessons as files: what they may contain, the message for each mistake, and those that come with NFKD."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nfkd_gui.model.lab_figures import FIGURES
from nfkd_gui.model.lesson_parts import NO_PARTS, PARTS, Button, Formula, LessonHeader, Task, Text
from nfkd_gui.model.lessons import Lesson, LessonError, load_lesson, load_lessons, parse_lesson

HEADER = '+++\ntitle = "T"\nminutes = 3\norder = 1\nsummary = "S"\n+++\n'
PAGE = "# One\n\nSome text.\n"
HEAD = HEADER + PAGE
BUTTON = '```button\ntitle = "B"\n{}\n```\n'
TASK = '```task\nquestion = "Q"\nright_text = "R"\nwrong_text = "W"\n{}\n```\n'
EXAMPLES = "solution = {}\nmistake = {}\n"
ABOVE = 'lab = { figure = "step", is = "above", value = 1 }\n'


def test_a_lesson_has_pages_of_blocks():
    text = HEADER + (
        "# One\n\nFirst.\n\nSecond.\n\n```formula\ncaption: why\nx = 1\ny = 2\n```\n"
        + BUTTON.format('set = { "training.student_examples" = 30, "lab.probe" = [1.0, 2] }\ncontrol = "play"')
        + "```show\nteacher, probe\n```\n"
        + "---\n# Two\n\n```notes\nSay this.\n\n---\n\nAnd that.\n```\n"
        + TASK.format("answer = 2\ntolerance = 0.5")
        + "---\n# Three\n\n```show\nall\n```\n---\n# Four\n\n```show\nnone\n```\n"
    )
    lesson = parse_lesson(text, "a.md")
    assert [page.heading for page in lesson.pages] == ["One", "Two", "Three", "Four"]
    first, second, third, fourth = lesson.pages
    assert [type(block) for block in first.blocks] == [Text, Text, Formula, Button]
    assert first.blocks[2] == Formula(("x = 1", "y = 2"), "why")
    assert first.buttons[0].set == {"training.student_examples": 30, "lab.probe": (1.0, 2.0)}
    assert first.buttons[0].control == ("play",)
    assert first.shown == second.shown == ("teacher", "probe")
    assert third.shown == ()
    assert fourth.shown == ("none",)
    assert second.notes == "Say this.\n\n---\n\nAnd that."
    assert second.tasks[0].is_right(2.5)
    assert not second.tasks[0].is_right(2.51)


def test_all_conditions_of_a_task_must_hold():
    both = '[{ figure = "step", is = "above", value = 99 }, { figure = "student_nll", is = "below", value = 2 }]'
    task = parse_lesson(HEAD + TASK.format(f"lab = {both}\n{EXAMPLES}"), "a.md").pages[0].tasks[0]
    for step, nll, unmet in ((100, 1.9, None), (99, 1.9, "step"), (100, 2.1, "student_nll"), (0, 3, "step")):
        found = task.unmet({"step": step, "student_nll": nll}.__getitem__)
        assert (found and found.figure) == unmet


WRONG = [
    ("no header", PAGE, 0, "must begin with a header"),
    ("bad TOML in the header", "+++\ntitle = \n+++\n" + PAGE, 0, "not TOML"),
    ("a field of the header is missing", '+++\ntitle = "T"\n+++\n' + PAGE, 0, "minutes: is required"),
    ("an unknown field", HEADER.replace("order", "number"), 0, "order: is required"),
    ("a term without explanation", HEADER.replace("order", 'terms = ["flow"]\norder') + PAGE, 0, "terms.0"),
    ("a start that the lab refuses", HEADER.replace("\n+++\n", '\nstart = { "data.kind" = "digits" }\n+++\n') + PAGE, 0,
     "the lab shows data in the plane"),
    ("no heading", HEADER + "Some text.\n", 1, "must begin with a heading"),
    ("a page without text", HEAD + "---\n", 2, "must begin with a heading"),
    ("two headings", HEAD + "\n# Two\n", 1, "one heading"),
    ("an unknown block", HEAD + "```python\nprint()\n```\n", 1, "block python is not known"),
    ("a block without an end", HEAD + "```notes\nx\n", 1, "has no end"),
    ("an image", HEAD + "\n![x](y.png)\n", 1, "images are not possible"),
    ("a link", HEAD + "\n[x](https://example.org)\n", 1, "given: https://example.org"),
    ("a link in the notes", HEAD + "```notes\n[x](file:///etc/passwd)\n```\n", 1, "links are not possible"),
    ("a named link", HEAD + "\n[x]: https://example.org\n", 1, "links are not possible"),
    ("an empty formula", HEAD + "```formula\ncaption: x\n```\n", 1, "formula is empty"),
    ("a part beside none", HEAD + "```show\nnone teacher\n```\n", 1, "'none' is not a part"),
    ("an unknown part", HEAD + "```show\nteacher kitchen\n```\n", 1, "'kitchen' is not a part"),
    ("bad TOML in a button", HEAD + BUTTON.format("set = {"), 1, "button: not TOML"),
    ("a button without an action", HEAD + BUTTON.format(""), 1, "needs an action"),
    ("an unknown action", HEAD + BUTTON.format('shell = "ls"'), 1, "button: shell: there is no such field"),
    ("an unknown control", HEAD + BUTTON.format('control = "fly"'), 1, "button: control.0: must be"),
    ("an unknown run", HEAD + BUTTON.format('run = "/etc/passwd"'), 1, "button: run: must be"),
    ("an unknown path", HEAD + BUTTON.format('set = { "training.speed" = 1 }'), 1, "training.speed: there is no"),
    ("a path that is none", HEAD + BUTTON.format('set = { "__class__" = 1 }'), 1, "is not the path of a value"),
    ("paths that contradict each other", HEAD + BUTTON.format('set = { "lab.probe" = [0, 1], "lab.probe.x" = 2 }'),
     1, "contradict"),
    ("a value that is refused", HEAD + BUTTON.format('set = { "lab.position" = 3 }'), 1, "lab.position: must be"),
    ("a teacher from a file", HEAD + BUTTON.format('set = { "training.teacher_weights" = "x" }'), 1, "button:"),
    ("a task without a kind", HEAD + TASK.format(""), 1, "needs one of answer, choices and lab"),
    ("a task of two kinds", HEAD + TASK.format('answer = 1\nchoices = ["a", "b"]'), 1, "needs one of"),
    ("a right answer that is no choice", HEAD + TASK.format('choices = ["a", "b"]\nright = 2'), 1, "given: 2"),
    ("an unknown figure", HEAD + TASK.format(ABOVE.replace("step", "luck") + EXAMPLES), 1,
     "figure 'luck' is not known"),
    ("an unknown comparison", HEAD + TASK.format(ABOVE.replace("above", "near") + EXAMPLES), 1,
     "lab.0.is: must be"),
    ("a condition without examples", HEAD + TASK.format(ABOVE), 1,
     "needs a solution and a mistake"),
    ("a need that the lab does not have", HEAD + TASK.format(
        ABOVE + 'needs = { "a.b" = 1 }\n' + EXAMPLES), 1, "task: a: there is no"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "page", "reason"), [item[1:] for item in WRONG], ids=[item[0] for item in WRONG])
def test_each_mistake_gets_one_message_with_its_page(text: str, page: int, reason: str, tmp_path: Path):
    path = tmp_path / "mine.md"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LessonError) as caught:
        load_lesson(path)
    message = str(caught.value)
    assert message.startswith("mine.md, page " + str(page) if page else "mine.md: ")
    assert reason in message
    assert "\n" not in message


def test_an_unknown_lesson_is_found_when_all_are_loaded(tmp_path: Path):
    (tmp_path / "a.md").write_text(HEAD + BUTTON.format('lesson = "b"'))
    assert [str(error) for error in load_lessons(tmp_path)[1]] == ["a.md, page 1: button 'B': there is no lesson 'b'"]
    (tmp_path / "b.md").write_text(HEADER + PAGE)
    assert load_lessons(tmp_path)[1] == []


def test_a_file_that_is_no_text_is_one_error_beside_the_other_lessons(tmp_path: Path):
    (tmp_path / "a.md").write_bytes(b"\xff\xfe+++")
    (tmp_path / "b.md").write_text(HEADER + PAGE)
    lessons, errors = load_lessons(tmp_path)
    assert [lesson.name for lesson in lessons] == ["b"]
    assert [error.file for error in errors] == ["a.md"]


_PIECES = st.sampled_from([HEADER, PAGE, "---\n", "```\n", "```task\n", "```button\n", "```formula\n", "set = {", "x",
                           "+++\n", "answer = 1\n", "[a](b)", "\0", 'title = "T"\n'])  # fmt: skip


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(pieces=st.lists(_PIECES | st.text(max_size=8), max_size=12))
def test_any_text_is_a_lesson_or_one_error(pieces: list[str]):
    with contextlib.suppress(LessonError):
        assert parse_lesson("".join(pieces), "x.md").pages


# --- the lessons that come with NFKD ----------------------------------------------------------------------------------

LESSONS, ERRORS = load_lessons()
IDS = [lesson.name for lesson in LESSONS]


def test_all_lessons_load():
    assert ERRORS == []
    assert len(LESSONS) >= 11
    assert [lesson.header.order for lesson in LESSONS] == list(range(1, len(LESSONS) + 1))


@pytest.mark.parametrize("lesson", LESSONS, ids=IDS)
def test_a_lesson_has_the_right_size(lesson: Lesson):
    assert 4 <= len(lesson.pages) <= 7
    assert 3 <= lesson.header.minutes <= 8
    assert sum(len(page.buttons) for page in lesson.pages) >= 2
    assert lesson.tasks >= 2
    assert sum(bool(page.notes) for page in lesson.pages) > len(lesson.pages) / 2
    assert any(isinstance(block, Formula) for page in lesson.pages for block in page.blocks)


@pytest.mark.parametrize("lesson", LESSONS, ids=IDS)
def test_examples_of_answers_are_right_and_wrong(lesson: Lesson):
    for page in lesson.pages:
        for task in page.tasks:
            if not task.lab:
                assert task.is_right(task.right_example)
                assert not task.is_right(task.wrong_example)


def test_a_task_that_names_a_number_of_steps_checks_it():
    found = [task for lesson in LESSONS for page in lesson.pages for task in page.tasks
             if task.lab and re.search(r"step \d|\d steps", task.question)]  # fmt: skip
    assert len(found) == 3
    assert all("step" in {condition.figure for condition in task.lab} for task in found)


@pytest.mark.parametrize("number", range(len(LESSONS)), ids=IDS)
def test_no_word_is_used_before_it_is_explained(number: int):
    """A word in the list of terms of a lesson is not in the text of an earlier one."""
    explained = [term.partition(":")[0] for lesson in LESSONS[: number + 1] for term in lesson.header.terms]
    later = [term.partition(":")[0] for lesson in LESSONS[number + 1 :] for term in lesson.header.terms]
    used = [
        word
        for word in later
        if word not in explained and re.search(rf"\b{re.escape(word)}s?\b", _words(LESSONS[number]))
    ]
    assert used == []


def test_the_documentation_names_every_figure_part_and_action():
    text = Path("docs/lessons.md").read_text(encoding="utf-8")
    wanted = [*FIGURES, *PARTS, "all", *NO_PARTS, *LessonHeader.model_fields, *set(Button.model_fields) - {"title"}]
    assert [name for name in wanted if not re.search(rf"\b{name}\b", text)] == []


def _words(lesson: Lesson) -> str:
    """Return what the student reads."""
    parts: list[str] = []
    for page in lesson.pages:
        parts.append(page.heading)
        for block in page.blocks:
            match block:
                case Text(markdown=text):
                    parts.append(text)
                case Formula(caption=caption):
                    parts.append(caption)
                case Task():
                    parts += [block.question, block.right_text, block.wrong_text, *block.choices]
                case Button():
                    parts.append(block.title)
    return "\n".join(parts)
