"""The nodes of the form: a row (label, editor, message), a group of rows, and a choice between groups."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QWidget

from nfkd_gui.forms.drawing_box import DrawingBox
from nfkd_gui.forms.editors import make_editor, set_silently
from nfkd_gui.forms.fields import LISTS, Field, Section, SectionList, Value, Variants
from nfkd_gui.forms.fold_button import FoldButton
from nfkd_gui.forms.layout import italic_label
from nfkd_gui.forms.list_editor import ListEditor
from nfkd_gui.forms.node import FormNode, Leftovers, OnChanged, Problems
from nfkd_gui.forms.pairs_box import PairsBox
from nfkd_gui.forms.text import sentence
from nfkd_gui.widgets.labels import PlainLabel, ToneLabel, WrappedLabel

_LABEL_WIDTH = 124


class Row(FormNode):
    """One value: label, editor, unit, and a message below them."""

    field: Value

    def __init__(self, field: Value, grid: QGridLayout, on_changed: OnChanged, label: str = "") -> None:
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
        self._grid = grid
        self._shown = True
        row = grid.rowCount()
        top = Qt.AlignmentFlag.AlignTop if field.multiline else Qt.AlignmentFlag.AlignVCenter
        grid.addWidget(self._label, row, 0, top)
        if isinstance(self.editor, (DrawingBox, PairsBox)):
            grid.addWidget(self.editor, row + 1, 0, 1, 3)  # it needs the full width
        else:
            grid.addWidget(self.editor, row, 1, 1, 1 if field.unit else 2)
        if self._unit is not None:
            grid.addWidget(self._unit, row, 2)
        self._message_row = grid.rowCount()
        grid.setRowMinimumHeight(self._message_row, 0)  # adds the row
        self.editor.changed.connect(lambda: on_changed(field.path, merges=getattr(self.editor, "typed", True)))

    def value(self) -> Any:
        return self.editor.value()

    def set_value(self, value: Any, leftovers: Leftovers) -> None:
        if isinstance(value, dict) or (isinstance(value, list) and self.field.kind not in LISTS):
            leftovers[self.field.path] = value
        else:
            set_silently(self.editor, value)

    def show_problems(self, problems: Problems) -> None:
        message = self._take_message(problems)
        if message and self._message is None:  # made when needed: hundreds of labels would slow the start
            self._message = WrappedLabel(tone="error", parent=self._grid.parentWidget())
            self._message.setObjectName(f"{self.field.path}.message")
            self._grid.addWidget(self._message, self._message_row, 1, 1, 2)
        if message != self.message:
            self.editor.setAccessibleDescription(message or self.editor.toolTip())
        self._show_message(message, shown=self._shown)

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
        self._show_message(self.message, shown=self._shown)

    def has_advanced(self) -> bool:
        return self.field.advanced

    def differs(self) -> bool:
        return self.value() != ("" if self.field.default is None else self.field.default)


class Group(FormNode):
    """The fields of a model, under a heading if it is nested.

    Advanced sections are folded while all their values are defaults and have no problems. This is checked only when the
    form is filled or the fold button is pressed, so that no section disappears while the user edits it.
    """

    def __init__(
        self,
        field: Field,
        fields: tuple[Field, ...],
        grid: QGridLayout,
        on_changed: OnChanged,
        heading: str = "",
    ) -> None:
        super().__init__(field)
        self._heading: QWidget | None = None
        self._message = WrappedLabel(tone="error", parent=grid.parentWidget())
        if heading:
            self._heading = italic_label(heading, grid.parentWidget())
            self._heading.setToolTip(field.help)
            grid.addWidget(self._heading, grid.rowCount(), 0, 1, 3)
        grid.addWidget(self._message, grid.rowCount(), 0, 1, 3)
        self._message.hide()
        self._visible, self._advanced = True, False
        self.children: dict[str, FormNode] = {}
        self._may_fold = [item for item in fields if item.advanced and not isinstance(item, Value)]
        self._folded = {item.name for item in self._may_fold}
        self._fold: FoldButton | None = None
        for item in fields:
            self.children[item.name] = make_node(item, grid, on_changed)
            if self._may_fold and item is self._may_fold[-1]:
                self._fold = FoldButton(self._may_fold, grid)
                self._fold.button.clicked.connect(self._toggle_fold)

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
        self._update_folded()

    def show_problems(self, problems: Problems) -> None:
        message = problems.pop(self.field.path, "") if self.field.path else ""
        self._show_message(sentence(message), shown=True)
        for node in self.children.values():
            node.show_problems(problems)
        wrong = {name for name in self._folded if self.children[name].has_problem(advanced=False)}
        if wrong:
            self._folded -= wrong
            self.set_shown(self._visible, self._advanced)

    def set_shown(self, shown: bool, advanced: bool) -> None:
        self._visible, self._advanced = shown, advanced
        if self._heading is not None:
            self._heading.setVisible(shown)
        self._show_message(self.message, shown=shown)
        open_ = self._fold is not None and self._fold.is_open
        for name, node in self.children.items():
            node.set_shown(shown and (open_ or name not in self._folded), advanced)
        if self._fold is not None:
            self._fold.show([item.title for item in self._may_fold if item.name in self._folded], shown=shown)

    def _toggle_fold(self) -> None:
        if self._fold is not None:
            self._fold.is_open = not self._fold.is_open
            self._update_folded()

    def _update_folded(self) -> None:
        """Fold the sections with default values, unless the fold button shows all."""
        if self._fold is not None:
            self._folded = {
                item.name
                for item in self._may_fold
                if not (node := self.children[item.name]).differs() and not node.has_problem(advanced=False)
            }
            self.set_shown(self._visible, self._advanced)


class VariantGroup(FormNode):
    """A choice, and the fields of the chosen model. Each model keeps the values that the user entered for it."""

    def __init__(self, field: Variants, grid: QGridLayout, on_changed: OnChanged) -> None:
        super().__init__(field)
        self._choice = Row(field.choice, grid, self._chosen)
        self._groups = {tag: Group(field, fields, grid, on_changed) for tag, fields in field.members.items()}
        self._on_changed = on_changed
        self._advanced = False
        self._visible = True

    @property
    def _tag(self) -> Any:
        return self._choice.value()

    def _chosen(self, path: str, *, merges: bool = True) -> None:
        for group in self._groups.values():
            group.show_problems({})
        self.set_shown(self._visible, self._advanced)
        self._on_changed(path, merges=merges)

    def nodes(self) -> Iterable[FormNode]:
        return (self._choice, *(group for tag, group in self._groups.items() if tag == self._tag))

    def value(self) -> dict[str, Any]:
        group = self._groups.get(self._tag)
        return {self._choice.field.name: self._tag} | (group.value() if group is not None else {})

    def set_value(self, value: Any, leftovers: Leftovers) -> None:
        key = self._choice.field.name
        value = dict(self.expect(dict, value, leftovers))
        self._choice.set_value(value.pop(key, _default(self._choice.field)), leftovers)
        for tag, group in self._groups.items():
            group.set_value(value if tag == self._tag else {}, leftovers)
        if self._tag not in self._groups:
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
            return _make_section(field, grid, on_changed)
        case SectionList():
            return ListEditor(field, grid, on_changed, make_node)
        case _:
            msg = f"{field.path}: no form node supports {type(field).__name__}"
            raise TypeError(msg)


def _make_section(field: Section, grid: QGridLayout, on_changed: OnChanged) -> Group:
    if len(field.fields) != 1 or not isinstance(field.fields[0], Value):
        return Group(field, field.fields, grid, on_changed, heading=field.title)
    group = Group(field, (), grid, on_changed)  # a single row, with the section's title
    group.children = {field.fields[0].name: Row(field.fields[0], grid, on_changed, label=field.title)}
    return group


def _default(field: Field) -> Any:
    return field.default if isinstance(field, Value) else None
