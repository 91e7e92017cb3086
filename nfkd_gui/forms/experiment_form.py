"""The experiment form: all fields of the configuration, their problems, and the engine's estimate."""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import partial
from typing import Any

from PySide6.QtCore import QPoint, QSize, Qt, Signal
from PySide6.QtGui import QContextMenuEvent, QUndoStack
from PySide6.QtWidgets import QFrame, QHBoxLayout, QMenu, QPushButton, QScrollArea, QVBoxLayout, QWidget

from nfkd.config import ExperimentConfig
from nfkd.text import sentence
from nfkd_gui.forms.dataset_menu import DatasetMenuButton
from nfkd_gui.forms.effects import value_at
from nfkd_gui.forms.estimate import EstimateBox
from nfkd_gui.forms.fields import Field, Section, Value, all_fields, describe_model
from nfkd_gui.forms.layout import fill_column, form_grid
from nfkd_gui.forms.list_editor import ListEditor
from nfkd_gui.forms.loss_section import LossSection
from nfkd_gui.forms.node import Leftovers, Problems
from nfkd_gui.forms.pairs_box import PairsBox
from nfkd_gui.forms.path_box import PathBox
from nfkd_gui.forms.preview import PreviewBox
from nfkd_gui.forms.rows import Group
from nfkd_gui.forms.sections import SectionBox
from nfkd_gui.forms.undo import Edit, change_name
from nfkd_gui.model.data_preview import DataPreviewModel
from nfkd_gui.model.experiment import Experiment
from nfkd_gui.model.gradient_shares import GradientShares
from nfkd_gui.model.own_pairs import with_items
from nfkd_gui.theme import limit_size, set_space
from nfkd_gui.widgets.labels import WrappedLabel

_FOLDED = frozenset({"seeds", "compute", "monitor"})
_STRATEGY = "distillation.matching.strategy"
_ROOT = Section(name="", path="", title="", help="", fields=())


class ExperimentForm(QWidget):
    """Edits an `Experiment`; generated from the configuration classes.

    Parameters
    ----------
    experiment
        The experiment to edit.
    data_preview
        The preview of its data; None shows no preview.
    """

    several_wanted = Signal(str)
    """The user wants to try several values of a field; carries its path."""

    def __init__(
        self, experiment: Experiment, data_preview: DataPreviewModel | None = None, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._experiment = experiment
        self._data_preview = data_preview
        self._leftovers: Leftovers = {}
        self._before: dict[str, Any] = {}
        self.undo_stack = QUndoStack(self)
        self.estimate = EstimateBox(self)
        self._head, self._sections = self._make_sections(describe_model(ExperimentConfig))
        for box in self._sections:
            if isinstance(box.node, ListEditor) and box.node.field.between:
                box.node.ends = partial(self._values_of, box.node.field.between)
        [self._loss] = (box.node for box in self._sections if isinstance(box.node, LossSection))
        self._loss.pairs_wanted.connect(partial(self.open_field, _STRATEGY))
        self._unknown = _UnknownFields(self)
        self._unknown.remove.clicked.connect(self._remove_leftovers)
        if data_preview is not None:
            self._add_preview(data_preview)  # before the layout, so that Tab visits it in visual order
        self._lay_out()
        [self.pairs] = self.findChildren(PairsBox)
        self.pairs.converted.connect(self._edit_pairs)
        experiment.replaced.connect(self._refill)
        experiment.amended.connect(self._amend)
        experiment.extended.connect(self._extend)
        experiment.checked.connect(self._show_check)
        self._refill()
        self._show_check()

    def _make_sections(self, fields: tuple[Field, ...]) -> tuple[Group, list[SectionBox]]:
        self._top = QWidget(self)
        values = tuple(field for field in fields if isinstance(field, Value))
        head = Group(_ROOT, values, form_grid(self._top, 12, 8, 12, 0), self._edited)
        boxes = [
            SectionBox(field, self._edited, folded=field.name in _FOLDED)
            for field in fields
            if not isinstance(field, Value)
        ]
        return head, boxes

    def _values_of(self, names: tuple[str, ...]) -> tuple[Any, ...]:
        """Return the values of some sections."""
        nodes = {box.node.field.name: box.node for box in self._sections}
        return tuple(nodes[name].value() for name in names)

    def _lay_out(self) -> None:
        content = QWidget(self)
        column = QVBoxLayout(content)
        set_space(column, 4, 0, 4, 0, 8)
        column.addWidget(self._unknown)
        column.addWidget(self._top)
        for box in self._sections:
            column.addWidget(box)
        column.addStretch(1)
        scroll = self._scroll = QScrollArea(self)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(content)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        limit_size(scroll, least=(288, 0))
        fill_column(self, scroll, self.estimate, spacing=0)

    def _add_preview(self, data_preview: DataPreviewModel) -> None:
        [section] = [box for box in self._sections if box.node.field.name == "data"]
        self.preview = PreviewBox(data_preview, self._experiment, section)
        section.add_below(self.preview)
        self.preview.edited.connect(self._set_field)
        data_preview.changed.connect(self._show_status)
        self.preview.field_wanted.connect(self.open_field)
        self.datasets = DatasetMenuButton(data_preview, self._use_dataset, section)
        section.add_to_heading(self.datasets)

    def _set_field(self, path: str, value: Any, merges: bool) -> None:
        """Set a field that the user changed elsewhere."""
        after = self.document()
        _put(after, path, value)
        self._amend(path, after, merges=merges)

    def _use_dataset(self, table: dict[str, Any]) -> None:
        """Fill in a named data set."""
        self._amend("data", self.document() | {"data": table})

    def _edit_pairs(self) -> None:
        """Copy the pairs of the strategy, so that the user can edit them."""
        self._amend("Edit pairs", with_items(self.document(), self.pairs.made()))

    def _amend(self, name: str, after: dict[str, Any], *, merges: bool = False) -> None:
        """Change several fields as one step for undo; `name` is what changes, or the step, such as ``Edit pairs``."""
        before = self.document()
        self._fill(after)
        step = name if name[:1].isupper() else change_name(name)
        self.undo_stack.push(Edit(name, before, after, self._restore, merges=merges, name=step))
        self._experiment.edit(after, name)

    def _extend(self, section: str, name: str, after: dict[str, Any]) -> None:
        """Add changes of other fields to the last step for undo if it changed the section, else make them a step."""
        before = self.document()
        self._fill(after)
        last = self.undo_stack.command(self.undo_stack.index() - 1)
        if isinstance(last, Edit) and last.path.partition(".")[0] == section:
            last.after = after
        else:
            self.undo_stack.push(Edit(name, before, after, self._restore, merges=False, name=name))

    def show_shares(self, shares: GradientShares) -> None:
        """Show gradient shares in the table of the loss."""
        self._loss.follow(shares)

    def browse_runs_in(self, folder: Callable[[], str]) -> None:
        """Set the function that returns the first folder of dialogs that choose a run."""
        for box in self.findChildren(PathBox):
            if box.kind == "run":
                box.start_folder = folder

    def sizeHint(self) -> QSize:
        return QSize(352, 640)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """Offer to try several values of the field under the pointer."""
        path = self._path_at(event.pos())
        if not path or self._experiment.config is None:
            return
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addAction("Try several values …", partial(self.several_wanted.emit, path))
        menu.popup(event.globalPos())

    def _path_at(self, point: QPoint) -> str:
        """Return the field whose row is at a point; empty where there is none."""
        widget = self.childAt(point)
        while widget is not None and widget is not self:
            name = widget.objectName().removesuffix(".message")
            if widget.objectName().endswith(".message") and name in _sweepable():
                return name
            widget = widget.parentWidget()
        return ""

    # --- sections -------------------------------------------------------------------------------------------------

    def show_section(self, name: str | None) -> None:
        """Show only one section, the first for an empty name; None shows all."""
        self._top.setVisible(not name)
        for box in self._sections:
            own = box.node.field.name == name
            box.setVisible(name is None or own)
            box.set_alone(name is not None)

    def open_field(self, path: str) -> None:
        """Show the section of a field, unfold what hides it, and give it the focus."""
        name = path.partition(".")[0]
        names = {box.node.field.name: box for box in self._sections}
        self.show_section(name if name in names else "")
        if name in names:
            names[name].show_field(path)
        editor = self.scroll_to(path)
        if editor is not None:
            editor.setFocus()

    def scroll_to(self, path: str) -> QWidget | None:
        """Scroll to the editor of a field of the shown section, and return it."""
        editor = self._editor_of(path)
        if editor is not None:
            self._scroll.ensureWidgetVisible(editor)
        return editor

    def _editor_of(self, path: str) -> QWidget | None:
        """Return the editor of a field; for a table or an item of a list, that of its nearest parent or first child."""
        while path:
            named = [each for each in self.findChildren(QWidget, path) if each.isVisible()]
            found = next((each for each in named if each.focusPolicy() != Qt.FocusPolicy.NoFocus), None)
            if found is not None:
                return found
            inside = (each for each in self.findChildren(QWidget) if each.objectName().startswith(f"{path}."))
            first = next((each for each in inside if each.isVisible() and each.focusPolicy()), None)
            if first is not None:
                return first
            path = path.rpartition(".")[0]
        return None

    def document(self) -> dict[str, Any]:
        """Return the entered values, valid or not, and the leftovers."""
        document = self._head.value()
        for box in self._sections:
            document[box.node.field.name] = box.node.value()
        for path, value in self._leftovers.items():
            _put(document, path, value)
        return document

    def _fill(self, document: dict[str, Any]) -> None:
        self._leftovers = {}
        own = {box.node.field.name for box in self._sections}
        self._head.set_value({key: value for key, value in document.items() if key not in own}, self._leftovers)
        for box in self._sections:
            box.node.set_value(document.get(box.node.field.name), self._leftovers)
        self._before = self.document()
        self._show_effects(self._before)

    def _refill(self) -> None:
        self._fill(self._experiment.document)
        self.undo_stack.clear()

    def _restore(self, document: dict[str, Any]) -> None:
        self._fill(document)
        self._experiment.edit(document)

    def _show_effects(self, document: dict[str, Any]) -> None:
        for box in self._sections:
            box.node.show_effects(document)

    def _edited(self, path: str, *, merges: bool = True, name: str = "") -> None:
        self._leftovers.pop(path.rpartition(".")[0], None)  # a value that was no section, now replaced by one
        before, self._before = self._before, self.document()
        self._show_effects(self._before)
        self.undo_stack.push(Edit(path, before, self._before, self._restore, merges=merges, name=name))
        self._experiment.edit(self._before, path)

    def _remove_leftovers(self) -> None:
        self._leftovers = {}
        self._edited("unknown fields", name="Remove unknown fields")

    def _show_check(self) -> None:
        problems: Problems = {}
        for problem in self._experiment.problems:
            problems[problem.path] = (
                f"{problems[problem.path]}; {problem.message}" if problem.path in problems else problem.message
            )
        number = len(problems)
        self._head.show_problems(problems)
        for box in self._sections:
            box.show_problems(problems)
        self._unknown.show_problems(problems, removable=bool(self._leftovers))
        self.pairs.show_matching(value_at(self._experiment.document, _STRATEGY), self._experiment.description)
        description = self._experiment.description
        self._loss.show_description(description)
        if description is not None or number:
            self.estimate.show_description(description, with_data=self._data_preview is None)
        self._show_status()

    def _show_status(self) -> None:
        experiment = self._experiment
        problems = len(experiment.problems)
        warnings = self._warnings()
        if problems:
            self.estimate.show_status(
                f"{problems} {'problem' if problems == 1 else 'problems'} to fix before it can run", "error"
            )
        elif experiment.error is not None:
            self.estimate.show_status(f"No estimate: {experiment.error.cause}", "warning")
        elif experiment.description is None:
            self.estimate.show_status("Estimating …")
        elif warnings:
            self.estimate.show_status("Ready to run. " + " ".join(warnings), "warning")
        else:
            self.estimate.show_status("Ready to run", "good")

    def _warnings(self) -> list[str]:
        """Return the engine's warnings as sentences; those about data that the preview lists are only counted."""
        description, model = self._experiment.description, self._data_preview
        if description is None:
            return []
        preview = None if model is None else model.preview
        listed = set() if preview is None else {warning.message for warning in preview.warnings}
        if preview is not None and preview.unused:
            listed |= {warning.message for warning in description.warnings if warning.path == "data.columns"}
        others = [warning.message for warning in description.warnings if warning.message not in listed]
        count = len(description.warnings) - len(others)
        about_data = [f"See {'a remark' if count == 1 else f'{count} remarks'} about the data"] if count else []
        return [f"{sentence(message).rstrip('.')}." for message in [*others, *about_data]]


@functools.cache
def _sweepable() -> frozenset[str]:
    return frozenset(field.path for field in all_fields()) - {"name", "description"}


class _UnknownFields(QFrame):
    """Problems that belong to no field of the form, such as unknown keys of a file."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("unknown_fields")
        self._message = WrappedLabel(tone="error", parent=self)
        self.remove = QPushButton("Remove unknown fields", self)
        self.remove.setToolTip("Remove the keys of the file that NFKD does not know.")
        line = QHBoxLayout()
        line.addWidget(self.remove)
        line.addStretch(1)
        layout = QVBoxLayout(self)
        set_space(layout, 8, 12, 0, 12, 8)
        layout.addWidget(self._message)
        layout.addLayout(line)
        self.hide()

    def show_problems(self, problems: Problems, *, removable: bool) -> None:
        """Show the problems that no field has shown."""
        self._message.setText(
            "\n".join(f"{path}: {message}" if path else message for path, message in problems.items())
        )
        self.remove.setVisible(removable)
        self.setVisible(bool(problems))


def _put(document: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path; tables that are missing on the way are made."""
    *parents, last = path.split(".")
    container: Any = document
    for name in parents:
        key = _key(container, name)
        child = container[key] if isinstance(container, list) else container.get(key)
        if not isinstance(child, (dict, list)):
            child = container[key] = {}
        container = child
    container[_key(container, last)] = value


def _key(container: Any, name: str) -> Any:
    return int(name) if isinstance(container, list) else name
