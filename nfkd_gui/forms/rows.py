"""The nodes of the form: a row (label, editor, message), a group of rows, and a choice between groups."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from PySide6.QtWidgets import QGridLayout, QWidget

from nfkd.text import sentence
from nfkd_gui.forms.editors import SwitchBox, make_editor, set_silently
from nfkd_gui.forms.effects import has_effect
from nfkd_gui.forms.fields import LISTS, Field, Section, SectionList, Value, Variants
from nfkd_gui.forms.layout import follow_in_tab_order, form_grid, heading_label
from nfkd_gui.forms.list_editor import ListEditor
from nfkd_gui.forms.node import FormNode, Leftovers, OnChanged, Problems
from nfkd_gui.forms.pairs_box import PairsBox
from nfkd_gui.theme import fix_size
from nfkd_gui.widgets.drawing_box import DrawingBox
from nfkd_gui.widgets.labels import PlainLabel, WrappedLabel
from nfkd_gui.widgets.message_cell import MessageCell
from nfkd_gui.widgets.number_box import HEIGHT

LABEL_WIDTH = 128


class Row(FormNode):
    """One value: label and editor, with the room for a message below."""

    field: Value

    def __init__(self, field: Value, grid: QGridLayout, on_changed: OnChanged) -> None:
        super().__init__(field)
        parent = grid.parentWidget()
        self.editor = make_editor(field, parent)
        if isinstance(self.editor, SwitchBox):
            fix_size(self.editor, height=HEIGHT)
        self._label = PlainLabel(field.title.replace("&", "&&"), parent)
        self._label.setBuddy(self.editor)
        self._label.setToolTip(self.editor.toolTip())
        fix_size(self._label, LABEL_WIDTH, HEIGHT)
        wide = isinstance(self.editor, (DrawingBox, PairsBox))
        self._cell = MessageCell(self.editor, parent, label=self._label, wide=wide)
        self._cell.setObjectName(f"{field.path}.message")
        self._shown, self._advanced, self._effective, self._revealed = True, True, True, False
        self._is_visible: bool | None = None
        grid.addWidget(self._cell, grid.rowCount(), 0, 1, 2)
        self.editor.changed.connect(lambda: on_changed(field.path, merges=getattr(self.editor, "typed", True)))

    @property
    def message(self) -> str:
        """The problem that is shown below the editor."""
        return self._cell.message

    @property
    def is_shown(self) -> bool:
        """Whether the row is shown where its section is."""
        wanted = (self._effective or self._revealed) and (self._advanced or not self.field.advanced)
        return self._shown and (wanted or bool(self.message))

    def value(self) -> Any:
        return self.editor.value()

    def set_value(self, value: Any, leftovers: Leftovers) -> None:
        self._revealed = False
        if isinstance(value, dict) or (isinstance(value, list) and self.field.kind not in LISTS):
            leftovers[self.field.path] = value
        else:
            set_silently(self.editor, value)

    def show_problems(self, problems: Problems) -> None:
        self._cell.show_message(self._take_message(problems))
        self._update_shown()

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

    def show_effects(self, document: dict[str, Any]) -> None:
        self._effective = has_effect(self.field, document)
        self._update_shown()

    def reveal(self, path: str) -> None:
        if path == self.field.path or path.startswith(f"{self.field.path}."):
            self._revealed = True
            self._update_shown()

    def set_shown(self, shown: bool, advanced: bool) -> None:
        self._shown, self._advanced = shown, advanced
        self._update_shown()

    def _update_shown(self) -> None:
        shown = self.is_shown
        if shown != self._is_visible:
            self._is_visible = shown
            for widget in (self.editor, self._cell):
                widget.setVisible(shown)

    def has_advanced(self) -> bool:
        return self.field.advanced and self._effective

    def differs(self) -> bool:
        return self.value() != ("" if self.field.default is None else self.field.default)


class Group(FormNode):
    """The fields of a model, under a heading if it is nested."""

    def __init__(
        self, field: Field, fields: tuple[Field, ...], grid: QGridLayout, on_changed: OnChanged, heading: str = ""
    ) -> None:
        super().__init__(field)
        self._heading: QWidget | None = None
        self._message = WrappedLabel(tone="error", parent=grid.parentWidget())
        if heading:
            self._heading = heading_label(heading, grid.parentWidget())
            self._heading.setToolTip(field.help)
            grid.addWidget(self._heading, grid.rowCount(), 0, 1, 2)
        grid.addWidget(self._message, grid.rowCount(), 0, 1, 2)
        self._message.hide()
        self.children: dict[str, FormNode] = {item.name: make_node(item, grid, on_changed) for item in fields}

    def nodes(self) -> Iterable[FormNode]:
        return self.children.values()

    def value(self) -> dict[str, Any]:
        return {name: node.value() for name, node in self.children.items()}

    def set_value(self, value: Any, leftovers: Leftovers) -> None:
        value = self.expect(dict, value, leftovers)
        for name, node in self.children.items():
            node.set_value(value.get(name, _default(node.field)), leftovers)
        prefix = f"{self.field.path}." if self.field.path else ""
        leftovers.update({f"{prefix}{name}": item for name, item in value.items() if name not in self.children})

    def show_problems(self, problems: Problems) -> None:
        message = problems.pop(self.field.path, "") if self.field.path else ""
        self._show_message(sentence(message), shown=True)
        for node in self.children.values():
            node.show_problems(problems)

    def set_shown(self, shown: bool, advanced: bool) -> None:
        if self._heading is not None:
            self._heading.setVisible(shown)
        self._show_message(self.message, shown=shown)
        for node in self.children.values():
            node.set_shown(shown, advanced)


class VariantGroup(FormNode):
    """A choice, and the fields of the chosen model. Each model keeps the values that the user entered for it.

    The fields of a model are made when it is first chosen.
    """

    def __init__(self, field: Variants, grid: QGridLayout, on_changed: OnChanged) -> None:
        super().__init__(field)
        self._choice = Row(field.choice, grid, self._chosen)
        self._box = QWidget(grid.parentWidget())
        self._grid = form_grid(self._box)
        grid.addWidget(self._box, grid.rowCount(), 0, 1, 2)
        self._members = field.members
        self._groups: dict[str, Group] = {}
        self._on_changed = on_changed
        self._advanced = False
        self._visible = True

    @property
    def _tag(self) -> Any:
        return self._choice.value()

    def _group(self, tag: Any) -> Group | None:
        """Return the fields of a model; None for an unknown one."""
        if tag in self._members and tag not in self._groups:
            group = self._groups[tag] = Group(self.field, self._members[tag], self._grid, self._on_changed)
            group.set_value({}, {})
            group.set_shown(self._visible, self._advanced)
            follow_in_tab_order(self._choice.editor, self._box)
        return self._groups.get(tag)

    def _chosen(self, path: str, *, merges: bool = True, name: str = "") -> None:
        self._group(self._tag)
        for group in self._groups.values():
            group.show_problems({})
        self.set_shown(self._visible, self._advanced)
        self._on_changed(path, merges=merges, name=name)

    def nodes(self) -> Iterable[FormNode]:
        return (self._choice, *(group for tag, group in self._groups.items() if tag == self._tag))

    def value(self) -> dict[str, Any]:
        group = self._group(self._tag)
        return {self._choice.field.name: self._tag} | (group.value() if group is not None else {})

    def set_value(self, value: Any, leftovers: Leftovers) -> None:
        key = self._choice.field.name
        value = dict(self.expect(dict, value, leftovers))
        self._choice.set_value(value.pop(key, _default(self._choice.field)), leftovers)
        chosen = self._group(self._tag)
        for group in self._groups.values():
            group.set_value(value if group is chosen else {}, leftovers)
        if chosen is None:
            leftovers.update({f"{self.field.path}.{name}": item for name, item in value.items()})
        self.set_shown(self._visible, self._advanced)

    def show_problems(self, problems: Problems) -> None:
        if self.field.path in problems:
            problems[self._choice.field.path] = problems.pop(self.field.path)
        for node in self.nodes():
            node.show_problems(problems)

    def set_shown(self, shown: bool, advanced: bool) -> None:
        self._visible, self._advanced = shown, advanced
        self._choice.set_shown(shown, advanced)
        for tag, group in self._groups.items():
            group.set_shown(shown and tag == self._tag, advanced)


def make_node(field: Field, grid: QGridLayout, on_changed: OnChanged) -> FormNode:
    """Return the form node that edits a field, and add its rows to `grid`."""
    match field:
        case Value():
            return Row(field, grid, on_changed)
        case Variants():
            return VariantGroup(field, grid, on_changed)
        case Section():
            return Group(field, field.fields, grid, on_changed, heading=field.title)
        case SectionList():
            return ListEditor(field, grid, on_changed, make_node)
        case _:
            msg = f"{field.path}: no form node supports {type(field).__name__}"
            raise TypeError(msg)


def _default(field: Field) -> Any:
    return field.default if isinstance(field, Value) else None
