"""Lessons: Markdown files with a TOML header, pages, and blocks of formulas, buttons, tasks and notes.

The syntax is described in ``docs/lessons.md``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nfkd.config.lab import LabConfig
from nfkd.config.problems import ConfigError
from nfkd.config.toml import read_text
from nfkd_gui.model.lesson_parts import (
    NO_PARTS,
    PARTS,
    Block,
    Button,
    Formula,
    LabSettings,
    LessonHeader,
    SettingsError,
    Task,
    Text,
    changed,
    parsed,
    value_at,
)
from nfkd_gui.resources import resource_path

ROLE_WORDS = ("teacher", "student", "alone", "data")
"""What a coloured part of a text can be: ``[text](teacher)``."""
_MOST = 200_000  # characters of a lesson
_FILE = re.compile(r"\A\+\+\+\n(.*?)^\+\+\+[ \t]*\n(.*)\Z", re.DOTALL | re.MULTILINE)
_FENCE = re.compile(r"```\s*(\w*)\s*")
_IMAGE = re.compile(r"!\[[^\]]*\]")
_LINK = re.compile(r"\[[^\]]*\]\(([^)]*)\)")
_NAMED_LINK = re.compile(r"^\s*\[[^\]]*\]:|<https?:", re.MULTILINE)


class LessonError(ValueError):
    """A lesson cannot be used.

    Attributes
    ----------
    file
        Name of its file.
    page
        Number of the page, from 1; 0 for the header or the whole file.
    reason
        What is wrong.
    """

    def __init__(self, file: str, page: int, reason: str) -> None:
        self.file, self.page, self.reason = file, page, reason
        super().__init__(f"{file}{f', page {page}' if page else ''}: {reason}")


@dataclass(frozen=True)
class Page:
    """A page of a lesson.

    Attributes
    ----------
    shown
        Parts of the lab that are shown, of `PARTS`; empty for all, `NO_PARTS` for none.
    notes
        For the speaker, in Markdown.
    """

    heading: str
    blocks: tuple[Block, ...]
    notes: str
    shown: tuple[str, ...]

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks of the page."""
        return tuple(block for block in self.blocks if isinstance(block, Task))

    @property
    def buttons(self) -> tuple[Button, ...]:
        """The buttons of the page."""
        return tuple(block for block in self.blocks if isinstance(block, Button))


@dataclass(frozen=True)
class Lesson:
    """A lesson.

    Attributes
    ----------
    name
        Name of the file without its suffix.
    start
        The state of the lab at its beginning.
    """

    name: str
    header: LessonHeader
    pages: tuple[Page, ...]
    start: LabConfig

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return sum(len(page.tasks) for page in self.pages)

    def state(self, settings: LabSettings, needs: dict[str, Any] | None = None) -> LabConfig:
        """Return the state of the lab of a task's example, with what the task needs."""
        return changed(changed(self.start, needs or {}), settings.set)


# --- files ------------------------------------------------------------------------------------------------------------


def lessons_folder() -> Path:
    """Return the folder of the lessons that come with NFKD."""
    return resource_path("lessons")


def load_lessons(folder: Path | None = None) -> tuple[list[Lesson], list[LessonError]]:
    """Return the lessons of a folder in their order, and why others cannot be used."""
    lessons: list[Lesson] = []
    errors: list[LessonError] = []
    for path in sorted((folder or lessons_folder()).glob("*.md")):
        try:
            lessons.append(load_lesson(path))
        except LessonError as error:
            errors.append(error)
    known = {lesson.name for lesson in lessons}
    for lesson in lessons:
        errors += _unknown_lessons(lesson, known)
    return sorted(lessons, key=lambda lesson: (lesson.header.order, lesson.name)), errors


def load_lesson(path: Path) -> Lesson:
    """Return the lesson of a file.

    Raises
    ------
    LessonError
        With the first problem: its file, page, and what is wrong.
    """
    try:
        text = read_text(path)
    except ConfigError as error:
        raise LessonError(path.name, 0, error.problems[0].message.replace("not a TOML file", "no text")) from error
    return parse_lesson(text, path.name)


def parse_lesson(text: str, file: str) -> Lesson:
    """Return the lesson of a text.

    Raises
    ------
    LessonError
        With the first problem.
    """
    parts = _FILE.match(text)
    if len(text) > _MOST:
        raise LessonError(file, 0, f"is too long: {len(text):,} of at most {_MOST:,} characters")
    if parts is None:
        raise LessonError(file, 0, "must begin with a header in TOML between two lines +++")
    try:
        header: LessonHeader = parsed(LessonHeader, parts[1])
        start = changed(LabConfig.first(), header.start)
    except SettingsError as error:
        raise LessonError(file, 0, f"header: {error}") from error
    pages: list[Page] = []
    for number, lines in enumerate(_split_pages(parts[2]), 1):
        try:
            pages.append(_page(lines, start, pages[-1].shown if pages else ()))
        except SettingsError as error:
            raise LessonError(file, number, str(error)) from error
    return Lesson(Path(file).stem, header, tuple(pages), start)


def _unknown_lessons(lesson: Lesson, known: set[str]) -> Iterator[LessonError]:
    for number, page in enumerate(lesson.pages, 1):
        for button in page.buttons:
            if button.lesson and button.lesson not in known:
                reason = f"button {button.title!r}: there is no lesson {button.lesson!r}"
                yield LessonError(f"{lesson.name}.md", number, reason)


# --- pages ------------------------------------------------------------------------------------------------------------


def _split_pages(text: str) -> list[list[str]]:
    """Return the lines of each page; a line --- in a block does not end a page."""
    pages: list[list[str]] = [[]]
    inside = False
    for line in text.splitlines():
        if line.startswith("```"):
            inside = not inside
        if line.rstrip() == "---" and not inside:
            pages.append([])
        else:
            pages[-1].append(line)
    return pages


def _page(lines: list[str], start: LabConfig, shown: tuple[str, ...]) -> Page:
    heading, blocks, notes = "", [], ""
    for kind, content in _blocks(lines):
        match kind:
            case "text" if not heading:
                heading, content = _heading(content)
                blocks += _texts(content)
            case _ if not heading:
                msg = "must begin with a heading: a line with # and the title of the page"
                raise SettingsError(msg)
            case "text":
                blocks += _texts(content)
            case "formula":
                blocks.append(_formula(content))
            case "button":
                blocks.append(_button(content, start))
            case "task":
                blocks.append(_task(content, start))
            case "notes":
                notes = _checked(content.strip())
            case "show":
                shown = _shown(content)
            case _:
                msg = f"a block {kind or 'without a name'} is not known: formula, button, task, notes, show"
                raise SettingsError(msg)
    if not heading:
        msg = "must begin with a heading: a line with # and the title of the page"
        raise SettingsError(msg)
    return Page(heading, tuple(blocks), notes, shown)


def _blocks(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the kind and content of each block in fences, and the text between them as ``text``."""
    kind, content = "text", list[str]()
    for line in lines:
        if not line.startswith("```"):
            content.append(line)
            continue
        fence = _FENCE.fullmatch(line)
        if fence is None or (kind != "text" and fence[1]):
            msg = f"the line {line[:40]!r} is neither the beginning nor the end of a block"
            raise SettingsError(msg)
        if kind != "text" or "".join(content).strip():
            yield kind, "\n".join(content)
        kind, content = (fence[1] or "block", []) if kind == "text" else ("text", [])
    if kind != "text":
        msg = f"a block {kind} has no end: a line with three backticks"
        raise SettingsError(msg)
    if "".join(content).strip():
        yield kind, "\n".join(content)


def _heading(text: str) -> tuple[str, str]:
    first, _, rest = text.strip().partition("\n")
    if not first.startswith("# ") or not first[2:].strip():
        msg = "must begin with a heading: a line with # and the title of the page"
        raise SettingsError(msg)
    return first[2:].strip(), rest


def _texts(text: str) -> list[Text]:
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return [Text(_checked(paragraph.strip())) for paragraph in paragraphs if paragraph.strip()]


def _checked(text: str) -> str:
    """Return Markdown that loads nothing, or refuse it."""
    if _IMAGE.search(text):
        msg = "images are not possible in a lesson"
        raise SettingsError(msg)
    targets = [found[1] for found in _LINK.finditer(text) if found[1] not in ROLE_WORDS]
    if targets or _NAMED_LINK.search(text):
        target = f" (given: {targets[0][:60]})" if targets else ""
        msg = f"links are not possible in a lesson: only {', '.join(ROLE_WORDS)} in brackets{target}"
        raise SettingsError(msg)
    if text.startswith("#"):
        msg = "a page has one heading: begin another page with a line ---"
        raise SettingsError(msg)
    return text


def _formula(content: str) -> Formula:
    lines = [line.strip() for line in content.splitlines() if line.strip()]
    caption = lines.pop(0).removeprefix("caption:").strip() if lines and lines[0].startswith("caption:") else ""
    if not lines:
        msg = "a formula is empty"
        raise SettingsError(msg)
    return Formula(tuple(lines), caption)


def _button(content: str, start: LabConfig) -> Button:
    try:
        button: Button = parsed(Button, content)
        state = changed(start, button.set)
    except SettingsError as error:
        msg = f"button: {error}"
        raise SettingsError(msg) from error
    return button.model_copy(update={"set": {path: value_at(state, path) for path in button.set}})


def _task(content: str, start: LabConfig) -> Task:
    try:
        task: Task = parsed(Task, content)
        state = changed(start, task.needs)
        for example in (task.solution, task.mistake):
            if example is not None:
                changed(state, example.set)
    except SettingsError as error:
        msg = f"task: {error}"
        raise SettingsError(msg) from error
    return task.model_copy(update={"needs": {path: value_at(state, path) for path in task.needs}})


def _shown(content: str) -> tuple[str, ...]:
    names = tuple(name for name in re.split(r"[\s,]+", content.strip()) if name)
    if names == NO_PARTS:
        return names
    unknown = [name for name in names if name not in PARTS and name != "all"]
    if unknown or not names:
        known = ", ".join(PARTS)
        msg = f"show: {unknown[0] if unknown else 'nothing'!r} is not a part of the lab: {known}; or all, or none"
        raise SettingsError(msg)
    return () if "all" in names else names
