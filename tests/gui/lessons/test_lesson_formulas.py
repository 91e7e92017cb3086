"""Formulas of lessons: those that come with NFKD can be read, and one with a mistake says where it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QLabel

from nfkd_gui.model.lessons import load_lessons
from nfkd_gui.panels.lesson import LessonPanel

LESSONS, _ = load_lessons()
OpenPanel = Callable[..., LessonPanel]
BAD = """+++
title = "Bad"
minutes = 3
order = 1
summary = "A lesson for tests."
+++
# First

```formula
x = 1
```
---
# Second

```formula
x = \\frac{1}{
```
"""


def test_a_formula_that_cannot_be_read_says_where_it_is(tmp_path: Path, open_panel: OpenPanel):
    folder = tmp_path / "lessons"
    folder.mkdir()
    (folder / "bad.md").write_text(BAD)
    panel = open_panel(folder)
    panel.open_lesson("bad", 0)
    assert not panel.findChildren(QLabel, "lesson.problem")
    panel.go_on()
    [label] = panel.findChildren(QLabel, "lesson.problem")
    assert label.text() == "bad.md, page 2: the formula cannot be read: x = \\frac{1}{"


@pytest.mark.parametrize("lesson", LESSONS, ids=[lesson.name for lesson in LESSONS])
def test_every_formula_can_be_read(lesson: Any, open_panel: OpenPanel):
    panel = open_panel()
    for index in range(len(lesson.pages)):
        panel.open_lesson(lesson.name, index)
        assert [label.text() for label in panel.findChildren(QLabel, "lesson.problem")] == []
