"""A task of a lesson: the question, a field or choices, and the answer to what was given."""

from __future__ import annotations

import math
import re

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QKeyEvent, QPixmap
from PySide6.QtWidgets import (
    QButtonGroup,
    QFrame,
    QHBoxLayout,
    QLabel,  # noqa: TID251 - shows an icon, no text
    QLineEdit,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from nfkd_gui.model.lab import LabModel
from nfkd_gui.model.lab_figures import FIGURES, figure
from nfkd_gui.model.lesson_parts import Task, value_at
from nfkd_gui.panels.lesson_text import LessonButton, LessonText
from nfkd_gui.theme import fix_size, repolish, scaled, set_space, set_type
from nfkd_gui.widgets.icons import icon
from nfkd_gui.widgets.labels import ToneLabel, TypeLabel

_THOUSANDS = re.compile(r"-?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")
_FIELD = 132
_ARROWS: dict[int, int] = {Qt.Key.Key_Left: -1, Qt.Key.Key_Up: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Down: 1}


def number_of(text: str) -> float:
    """Return the number that a text says; NaN if it says none.

    A minus may be a hyphen or a minus sign; commas may separate thousands.
    """
    text = text.strip().replace("−", "-").replace(" ", "").replace("\u2009", "")
    if _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    try:
        return float(text)
    except ValueError:
        return math.nan


class IconLabel(QLabel):
    """A small icon that follows the theme."""

    def __init__(self, picture: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._picture = picture
        self.show_picture(picture)

    def show_picture(self, picture: str) -> None:
        """Show an icon."""
        self._picture = picture
        side = scaled(16)
        self.setPixmap(icon(picture).pixmap(side, side) if picture else QPixmap())

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in {QEvent.Type.PaletteChange, QEvent.Type.FontChange} and hasattr(self, "_picture"):
            self.show_picture(self._picture)


class ChoiceButton(QRadioButton):
    """A choice of a group; arrows choose the one before or the next, and do not turn the page."""

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent) and event.key() in _ARROWS:
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() not in _ARROWS:
            super().keyPressEvent(event)
            return
        choices = self.group().buttons()
        index = choices.index(self) + _ARROWS[event.key()]
        if 0 <= index < len(choices):
            choices[index].setFocus(Qt.FocusReason.OtherFocusReason)
            choices[index].setChecked(True)


class AnswerBox(QFrame):
    """Says whether an answer is right, and why; hidden until there is one."""

    def __init__(self, name: str, kinds: dict[str, str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(f"lesson.{name}")
        self._sign = IconLabel("", self)
        self.text = LessonText("", kinds["body"], self)
        row = QHBoxLayout(self)
        set_space(row, 8, 12, 8, 12, 8)
        row.addWidget(self._sign, alignment=Qt.AlignmentFlag.AlignTop)
        row.addWidget(self.text, 1)
        self.hide()

    @property
    def verdict(self) -> str:
        """*right*, *wrong*, or empty before an answer."""
        return self.property("answer") or ""

    def show_answer(self, text: str, *, right: bool) -> None:
        """Show a verdict and a text."""
        self.setProperty("answer", "right" if right else "wrong")
        repolish(self)
        self._sign.show_picture("right" if right else "hint")
        self.text.show_markdown(text)
        self.setAccessibleName(f"{'Right' if right else 'Not yet'}: {text}")
        self.show()


class TaskBox(QWidget):
    """Shows a task and checks what is given.

    Attributes
    ----------
    answer
        The box with the answer.
    """

    solved = Signal()
    answered = Signal()

    def __init__(
        self, task: Task, number: int, lab: LabModel, kinds: dict[str, str], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._task, self._lab, self._number, self._kinds = task, lab, number, kinds
        self._field: QLineEdit | None = None
        self._choices = QButtonGroup(self)
        self.answer = AnswerBox(f"answer.{number}", kinds, self)
        column = QVBoxLayout(self)
        set_space(column, 8)
        column.addWidget(self._head())
        column.addWidget(LessonText(task.question, kinds["body"], self))
        for choice in self._choice_buttons():
            column.addWidget(choice)
        column.addWidget(self._line())
        column.addWidget(self.answer)

    def _head(self) -> QWidget:
        head = QWidget(self)
        row = QHBoxLayout(head)
        set_space(row, 8)
        row.addWidget(IconLabel("task", head))
        row.addWidget(TypeLabel(self._kinds["strong"], "Your turn", head), 1)
        return head

    def _choice_buttons(self) -> list[QRadioButton]:
        found: list[QRadioButton] = []
        for index, text in enumerate(self._task.choices):
            button = ChoiceButton(text.replace("&", "&&"), self)
            button.setObjectName(f"lesson.choice.{self._number}.{index}")
            button.setAccessibleName(text)
            set_type(button, self._kinds["body"])
            self._choices.addButton(button, index)
            found.append(button)
        return found

    def _line(self) -> QWidget:
        line = QWidget(self)
        row = QHBoxLayout(line)
        set_space(row, 8)
        if self._task.kind == "number":
            self._field = QLineEdit(line)
            self._field.setObjectName(f"lesson.field.{self._number}")
            self._field.setAccessibleName(f"Your answer{f' in {self._task.unit}' if self._task.unit else ''}")
            self._field.setToolTip("A number, such as 0.7. Enter checks it.")
            set_type(self._field, self._kinds["body"])
            fix_size(self._field, width=_FIELD)
            self._field.returnPressed.connect(self.check)
            row.addWidget(self._field)
            if self._task.unit:
                unit = ToneLabel(self._task.unit, "muted", line)
                set_type(unit, self._kinds["body"])
                row.addWidget(unit)
        check = LessonButton(f"check.{self._number}", "Check", kind=self._kinds["body"], parent=line)
        if self._task.lab:
            check.setText("Check the lab")
            names = "; ".join(FIGURES[condition.figure][0] for condition in self._task.lab)
            check.setToolTip(f"Reads from the lab: {names}.")
        check.clicked.connect(self.check)
        row.addWidget(check)
        row.addStretch(1)
        return line

    def show_solved(self) -> None:
        """Show the answer of a task that was solved before."""
        self.answer.show_answer(self._task.right_text, right=True)

    def check(self) -> None:
        """Compare what is given with the answer, and say what is wrong."""
        match self._task.kind:
            case "lab":
                problem = self._lab_problem()
            case "choice":
                chosen = self._choices.checkedId()
                problem = "Choose an answer first." if chosen < 0 else self._hint(float(chosen))
            case _:
                value = number_of(self._field.text()) if self._field is not None else math.nan
                problem = self._hint(value) if math.isfinite(value) else "Write a number, such as 0.7."
        self.answer.show_answer(problem or self._task.right_text, right=not problem)
        self.answered.emit()
        if not problem:
            self.solved.emit()

    def _hint(self, given: float) -> str:
        return "" if self._task.is_right(given) else self._task.wrong_text

    def _lab_problem(self) -> str:
        """Return what the lab does not show as the task wants it; empty if it does."""
        task = self._task
        if any(value_at(self._lab.state, path) != value for path, value in task.needs.items()):
            return "The lab has other settings. Use the buttons of this page, then check again."
        unmet = task.unmet(lambda name: figure(self._lab, name))
        if unmet is None:
            return ""
        value = figure(self._lab, unmet.figure)
        if math.isnan(value):
            return f"The lab does not show this yet. {task.wrong_text}"
        now = f"{value:.3g}".replace("-", "−")
        return f"{task.wrong_text} Now: {FIGURES[unmet.figure][0]} = {now}."
