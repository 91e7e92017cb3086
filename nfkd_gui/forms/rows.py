"""The parts of a form: a row (label, editor, message under it), a group of rows, one group out of several."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QWidget

from nfkd_gui.forms.drawing import DrawingBox
from nfkd_gui.forms.editors import make_editor, set_plain
from nfkd_gui.forms.fields import LISTS, Field, Many, Section, Value, Variants
from nfkd_gui.forms.fold import Fold
from nfkd_gui.forms.list_editor import ListEditor
from nfkd_gui.forms.node import Changed, FormNode, Leftovers, Problems
from nfkd_gui.forms.pairs import PairsBox
from nfkd_gui.forms.wording import sentence
from nfkd_gui.widgets.labels import PlainLabel, ToneLabel, WrappedLabel

_LABEL_WIDTH = 124


class Row(FormNode):
    """One value: label, editor, unit, and the message under them."""

    field: Value

    def __init__(self, field: Value, grid: QGridLayout, changed: Changed, label: str = "") -> None:
        super().__init__(field)
        parent = grid.parentWidget()
        self.editor = make_editor(field, parent)
        self._label = PlainLabel((label or field.title).replace("&", "&&"), parent)
        self._label.setBuddy(self.editor)
        self._label.setToolTip(self.editor.toolTip())
        self._label.setWordWrap(True)
        self._label.setMinimumWidth(_LABEL_WIDTH)
        self._label.setMaximumWidth(_LABEL_WIDTH)
        self._unit = ToneLabel(field.unit, parent=parent) if field.unit else None
        self._words: WrappedLabel | None = None  # few rows ever have one, and hundreds would make the window late
        self._grid = grid
        self._shown = True
        row = grid.rowCount()
        top = Qt.AlignmentFlag.AlignTop if field.multiline else Qt.AlignmentFlag.AlignVCenter
        grid.addWidget(self._label, row, 0, top)
        if isinstance(self.editor, (DrawingBox, PairsBox)):
            grid.addWidget(self.editor, row + 1, 0, 1, 3)  # it wants all the room there is
        else:
            grid.addWidget(self.editor, row, 1, 1, 1 if field.unit else 2)
        if self._unit is not None:
            grid.addWidget(self._unit, row, 2)
        self._below = grid.rowCount()
        grid.setRowMinimumHeight(self._below, 0)  # makes the row, which is the message's
        self.editor.changed.connect(lambda: changed(field.path, merges=getattr(self.editor, "typed", True)))

    def value(self) -> Any:
        return self.editor.value()

    def set_value(self, value: Any, leftovers: Leftovers) -> None:
        if isinstance(value, dict) or (isinstance(value, list) and self.field.kind not in LISTS):
            leftovers[self.field.path] = value
        else:
            set_plain(self.editor, value)

    def show_problems(self, problems: Problems) -> None:
        message = self._take_message(problems)
        if message != self.message:
            self._say(message)
            self.editor.setAccessibleDescription(message or self.editor.toolTip())
        if self._words is not None:
            self._words.setVisible(bool(message) and self._shown)

    @property
    def message(self) -> str:
        """What is said under the editor."""
        return self._words.text() if self._words is not None else ""

    def _say(self, message: str) -> None:
        if self._words is None:
            self._words = WrappedLabel(tone="error", parent=self._grid.parentWidget())
            self._words.setObjectName(f"{self.field.path}.message")
            self._grid.addWidget(self._words, self._below, 1, 1, 2)
        self._words.setText(message)

    def _take_message(self, problems: Problems) -> str:
        messages = [problems.pop(self.field.path, "")]
        if isinstance(self.editor, PairsBox):
            self.editor.take_problems(problems)
        elif self.field.kind in LISTS:
            for path in [path for path in problems if path.startswith(f"{self.field.path}.")]:
                number = path.removeprefix(f"{self.field.path}.").partition(".")[0]
                which = f"no. {int(number) + 1}: " if number.isdecimal() else ""
                messages.append(f"{which}{problems.pop(path)}")
        return "; ".join(sentence(message) for message in messages if message)

    def has_problem(self, *, advanced: bool) -> bool:
        own = bool(self.message) or (isinstance(self.editor, PairsBox) and self.editor.has_problems)
        return own and (self.field.advanced or not advanced)

    def set_shown(self, shown: bool, advanced: bool) -> None:
        self._shown = shown and (advanced or not self.field.advanced)
        for widget in (self._label, self.editor):
            widget.setVisible(self._shown)
        if self._unit is not None:
            self._unit.setVisible(self._shown)
        if self._words is not None:
            self._words.setVisible(self._shown and bool(self.message))

    def has_advanced(self) -> bool:
        return self.field.advanced

    def differs(self) -> bool:
        return self.value() != ("" if self.field.default is None else self.field.default)


class Group(FormNode):
    """The fields of a model, under a heading where it is nested.

    Advanced sections fold away together, each only while everything in it is as it is by default and without problem.
    What the user does in them folds none away under his hands: they are looked at when the form is filled or folded.
    """

    def __init__(
        self,
        field: Field,
        fields: tuple[Field, ...],
        grid: QGridLayout,
        changed: Changed,
        heading: str = "",
    ) -> None:
        super().__init__(field)
        self._heading: QWidget | None = None
        self._message = WrappedLabel(tone="error", parent=grid.parentWidget())
        if heading:
            label = PlainLabel(heading.replace("&", "&&"), grid.parentWidget())
            label.setToolTip(field.help)
            font = label.font()
            font.setItalic(True)
            label.setFont(font)
            grid.addWidget(label, grid.rowCount(), 0, 1, 3)
            self._heading = label
        grid.addWidget(self._message, grid.rowCount(), 0, 1, 3)
        self._message.hide()
        self._visible, self._advanced = True, False
        self.parts: dict[str, FormNode] = {}
        self._may_fold = [item for item in fields if item.advanced and not isinstance(item, Value)]
        self._folded = {item.name for item in self._may_fold}
        self._fold: Fold | None = None
        for item in fields:
            self.parts[item.name] = make_part(item, grid, changed)
            if self._may_fold and item is self._may_fold[-1]:
                self._fold = Fold(self._may_fold, grid)
                self._fold.button.clicked.connect(self._open_or_close)

    def value(self) -> dict[str, Any]:
        return {name: part.value() for name, part in self.parts.items()}

    def set_value(self, value: Any, leftovers: Leftovers) -> None:
        if not isinstance(value, dict):
            if value is not None:
                leftovers[self.field.path] = value
            value = {}
        for name, part in self.parts.items():
            part.set_value(value.get(name, _default(part.field)), leftovers)
        prefix = f"{self.field.path}." if self.field.path else ""
        leftovers.update({f"{prefix}{name}": item for name, item in value.items() if name not in self.parts})
        self._fold_away()

    def show_problems(self, problems: Problems) -> None:
        message = problems.pop(self.field.path, "") if self.field.path else ""
        self._message.setText(sentence(message))
        self._message.setVisible(bool(message))
        for part in self.parts.values():
            part.show_problems(problems)
        faulty = {name for name in self._folded if self.parts[name].has_problem(advanced=False)}
        if faulty:
            self._folded -= faulty
            self.set_shown(self._visible, self._advanced)

    def has_problem(self, *, advanced: bool) -> bool:
        own = bool(self._message.text()) and not advanced
        return own or any(part.has_problem(advanced=advanced) for part in self.parts.values())

    def set_shown(self, shown: bool, advanced: bool) -> None:
        self._visible, self._advanced = shown, advanced
        if self._heading is not None:
            self._heading.setVisible(shown)
        self._message.setVisible(shown and bool(self._message.text()))
        open_ = self._fold is not None and self._fold.is_open
        for name, part in self.parts.items():
            part.set_shown(shown and (open_ or name not in self._folded), advanced)
        if self._fold is not None:
            self._fold.show([item.title for item in self._may_fold if item.name in self._folded], shown=shown)

    def _open_or_close(self) -> None:
        if self._fold is not None:
            self._fold.is_open = not self._fold.is_open
            self._fold_away()

    def _fold_away(self) -> None:
        """Look which sections are as they are by default, and fold these away unless the fold is open."""
        if self._fold is not None:
            parts = {item.name: self.parts[item.name] for item in self._may_fold}
            self._folded = {
                name for name, part in parts.items() if not part.differs() and not part.has_problem(advanced=False)
            }
            self.set_shown(self._visible, self._advanced)

    def has_advanced(self) -> bool:
        return any(part.has_advanced() for part in self.parts.values())

    def differs(self) -> bool:
        return any(part.differs() for part in self.parts.values())


class OneOf(FormNode):
    """A choice, and the fields of the chosen model. Each model remembers what was written for it."""

    def __init__(self, field: Variants, grid: QGridLayout, changed: Changed) -> None:
        super().__init__(field)
        self._choice = Row(field.choice, grid, self._chosen)
        self._groups = {tag: Group(field, fields, grid, changed) for tag, fields in field.members.items()}
        self._changed = changed
        self._advanced = False
        self._visible = True

    @property
    def _tag(self) -> Any:
        return self._choice.value()

    def _chosen(self, path: str, *, merges: bool = True) -> None:
        for group in self._groups.values():
            group.show_problems({})
        self.set_shown(self._visible, self._advanced)
        self._changed(path, merges=merges)

    def value(self) -> dict[str, Any]:
        group = self._groups.get(self._tag)
        return {self._choice.field.name: self._tag} | (group.value() if group is not None else {})

    def set_value(self, value: Any, leftovers: Leftovers) -> None:
        key = self._choice.field.name
        if not isinstance(value, dict):
            if value is not None:
                leftovers[self.field.path] = value
            value = {}
        value = dict(value)
        self._choice.set_value(value.pop(key, _default(self._choice.field)), leftovers)
        for tag, group in self._groups.items():
            group.set_value(value if tag == self._tag else {}, leftovers)
        if self._tag not in self._groups:
            leftovers.update({f"{self.field.path}.{name}": item for name, item in value.items()})
        self.set_shown(self._visible, self._advanced)

    def show_problems(self, problems: Problems) -> None:
        if self.field.path in problems:
            problems[self._choice.field.path] = problems.pop(self.field.path)
        self._choice.show_problems(problems)
        group = self._groups.get(self._tag)
        if group is not None:
            group.show_problems(problems)

    def has_problem(self, *, advanced: bool) -> bool:
        group = self._groups.get(self._tag)
        own = self._choice.has_problem(advanced=advanced)
        return own or (group is not None and group.has_problem(advanced=advanced))

    def set_shown(self, shown: bool, advanced: bool) -> None:
        self._visible, self._advanced = shown, advanced
        self._choice.set_shown(shown, advanced)
        for tag, group in self._groups.items():
            group.set_shown(shown and tag == self._tag, advanced)

    def has_advanced(self) -> bool:
        group = self._groups.get(self._tag)
        return group is not None and group.has_advanced()

    def differs(self) -> bool:
        group = self._groups.get(self._tag)
        return self._choice.differs() or (group is not None and group.differs())


def make_part(field: Field, grid: QGridLayout, changed: Changed) -> FormNode:
    """Return the part of the form that serves a field, its rows added to `grid`."""
    match field:
        case Value():
            return Row(field, grid, changed)
        case Variants():
            return OneOf(field, grid, changed)
        case Section():
            return _nested(field, grid, changed)
        case Many():
            return ListEditor(field, grid, changed, make_part)
        case _:
            msg = f"{field.path}: no part of a form serves {type(field).__name__}"
            raise TypeError(msg)


class _Inline(Group):
    """A section of one value: its row alone, under the section's title."""

    def __init__(self, field: Section, value: Value, grid: QGridLayout, changed: Changed) -> None:
        super().__init__(field, (), grid, changed)
        self.parts = {value.name: Row(value, grid, changed, label=field.title)}


def _nested(field: Section, grid: QGridLayout, changed: Changed) -> FormNode:
    if len(field.fields) == 1 and isinstance(field.fields[0], Value):
        return _Inline(field, field.fields[0], grid, changed)
    return Group(field, field.fields, grid, changed, heading=field.title)


def _default(field: Field) -> Any:
    return field.default if isinstance(field, Value) else None
