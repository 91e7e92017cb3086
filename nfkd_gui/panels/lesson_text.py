"""The text of lessons: a small part of Markdown as a label, with the colours of the roles."""

from __future__ import annotations

import re

from PySide6.QtCore import QEvent, QSize
from PySide6.QtWidgets import QPushButton, QSizePolicy, QWidget

from nfkd.protocol.roles import DATA
from nfkd_gui.theme import role_colour, set_type
from nfkd_gui.widgets.icons import icon
from nfkd_gui.widgets.labels import MarkupLabel, escaped

KINDS = {"title": "title", "strong": "strong", "body": "body", "caption": "caption"}
"""Kinds of text, and what they are in a talk."""
TALK = {"title": "talk_title", "strong": "talk_strong", "body": "talk", "caption": "talk_caption"}
_ROLES = {"teacher": "teacher", "student": "student", "alone": "baseline", "data": DATA}
_COLOURED = re.compile(r"\[([^\]]+)\]\((teacher|student|alone|data)\)")
_SPANS = (
    (re.compile(r"\*\*(.+?)\*\*"), r"<b>\1</b>"),
    (re.compile(r"\*(.+?)\*"), r"<i>\1</i>"),
    (re.compile(r"`(.+?)`"), r"<code>\1</code>"),
)
_ITEM = re.compile(r"(?:[-*]|\d+\.)\s+")


def markup(markdown: str) -> str:
    """Return a paragraph or a list of Markdown as our markup: bold, emphasis, code, roles and items."""
    lines = [line.strip() for line in markdown.splitlines() if line.strip()]
    if not lines or not _ITEM.match(lines[0]):
        return f'<p style="margin:0; line-height:125%">{_spans(" ".join(lines))}</p>'
    items: list[str] = []
    for line in lines:
        found = _ITEM.match(line)
        if found:
            items.append(line[found.end() :])
        else:
            items[-1] += f" {line}"
    kind = "ol" if lines[0][0].isdigit() else "ul"
    rows = "".join(f'<li style="margin-bottom:4px; line-height:125%">{_spans(item)}</li>' for item in items)
    return f'<{kind} style="margin:0; -qt-list-indent:0; margin-left:16px">{rows}</{kind}>'


def _spans(text: str) -> str:
    text = escaped(text)
    for pattern, replacement in _SPANS:
        text = pattern.sub(replacement, text)
    return _COLOURED.sub(_coloured, text)


def _coloured(found: re.Match[str]) -> str:
    return f'<span style="color:{role_colour(_ROLES[found[2]])}; font-weight:600">{found[1]}</span>'


class LessonText(MarkupLabel):
    """Wrapped Markdown in one of the kinds of text; its colours follow the theme."""

    def __init__(self, markdown: str, kind: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._markdown = markdown
        self.setWordWrap(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        set_type(self, kind)
        self._show()

    def show_markdown(self, markdown: str) -> None:
        """Show another text."""
        self._markdown = markdown
        self._show()

    def minimumSizeHint(self) -> QSize:
        return QSize(0, 0)  # the height follows the width; Qt's minimum is that of another width

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "_markdown"):
            self._show()

    def _show(self) -> None:
        self.setText(markup(self._markdown))


class LessonButton(QPushButton):
    """A button whose icon follows the theme."""

    def __init__(
        self, name: str, text: str, picture: str = "", kind: str = "body", parent: QWidget | None = None
    ) -> None:
        super().__init__(text.replace("&", "&&"), parent)
        self._picture = picture
        self.setObjectName(f"lesson.{name}")
        self.setAccessibleName(text)
        set_type(self, kind)
        self._show_icon()

    def make_primary(self) -> None:
        """Fill the button: it is the next action."""
        self.setProperty("primary", True)
        self._show_icon()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "_picture"):
            self._show_icon()

    def _show_icon(self) -> None:
        if self._picture:
            self.setIcon(icon(self._picture, on_fill=bool(self.property("primary"))))
