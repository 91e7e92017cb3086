"""The experiment form: every field of the configuration, its problems at the fields, the engine's estimate below."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QUndoStack
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QScrollArea, QVBoxLayout, QWidget

from nfkd.config import ExperimentConfig
from nfkd_gui.forms.estimate import EstimateBox
from nfkd_gui.forms.fields import Field, Section, Value, describe_model
from nfkd_gui.forms.list_editor import ListEditor
from nfkd_gui.forms.named import NamedButton
from nfkd_gui.forms.node import Leftovers, Problems
from nfkd_gui.forms.pairs import OWN, PairsBox
from nfkd_gui.forms.paths import PathBox
from nfkd_gui.forms.preview import PreviewBox
from nfkd_gui.forms.rows import Group
from nfkd_gui.forms.sections import SectionBox, form_grid
from nfkd_gui.forms.undo import Edit
from nfkd_gui.forms.wording import sentence
from nfkd_gui.model.data_preview import DataPreviewModel
from nfkd_gui.model.experiment import Experiment
from nfkd_gui.widgets.labels import WrappedLabel

_FOLDED = frozenset({"seeds", "compute", "monitor"})
_STRATEGY = ("distillation", "matching", "strategy")
_ROOT = Section(name="", path="", title="", help="", advanced=False, group="", fields=())


class ExperimentForm(QWidget):
    """Edits an `Experiment`; made from the configuration's own description of itself.

    Parameters
    ----------
    experiment
        What is edited.
    look
        What is known of its data, for a preview; None shows none.
    """

    def __init__(
        self, experiment: Experiment, look: DataPreviewModel | None = None, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._experiment = experiment
        self._look = look
        self._leftovers: Leftovers = {}
        self._before: dict[str, Any] = {}
        self.undo_stack = QUndoStack(self)
        self.estimate = EstimateBox(self)
        self._head, self._sections = self._make_parts(describe_model(ExperimentConfig))
        for box in self._sections:
            if isinstance(box.part, ListEditor) and box.part.field.between:
                box.part.ends = partial(self._values_of, box.part.field.between)
        self._unplaced = _Unplaced(self)
        self._unplaced.remove.clicked.connect(self._remove_leftovers)
        if look is not None:
            self._add_look(look)  # before the sections come into the form: Tab then finds it where it is seen
        self._lay_out()
        [self.pairs] = self.findChildren(PairsBox)
        self.pairs.converted.connect(self._take_pairs)
        experiment.replaced.connect(self._refill)
        experiment.amended.connect(self._amend)
        experiment.checked.connect(self._show_check)
        self._refill()
        self._show_check()

    def _make_parts(self, fields: tuple[Field, ...]) -> tuple[Group, list[SectionBox]]:
        self._top = QWidget(self)
        leaves = tuple(field for field in fields if isinstance(field, Value))
        head = Group(_ROOT, leaves, form_grid(self._top), self._edited)
        boxes = [
            SectionBox(field, self._edited, folded=field.name in _FOLDED)
            for field in fields
            if not isinstance(field, Value)
        ]
        return head, boxes

    def _values_of(self, names: tuple[str, ...]) -> tuple[Any, ...]:
        """Return what is written in some sections."""
        written = {box.part.field.name: box.part for box in self._sections}
        return tuple(written[name].value() for name in names)

    def _lay_out(self) -> None:
        content = QWidget(self)
        column = QVBoxLayout(content)
        column.setContentsMargins(0, 8, 0, 8)
        column.setSpacing(4)
        column.addWidget(self._unplaced)
        column.addWidget(self._top)
        for box in self._sections:
            column.addWidget(box)
        column.addStretch(1)
        scroll = QScrollArea(self)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(content)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        scroll.setMinimumWidth(288)
        layout.addWidget(scroll, 1)
        layout.addWidget(self.estimate)

    def _add_look(self, look: DataPreviewModel) -> None:
        [section] = [box for box in self._sections if box.part.field.name == "data"]
        self.preview = PreviewBox(look, self._experiment, section)
        section.add_below(self.preview)
        self.named = NamedButton(look, self._take_named, section)
        section.add_to_heading(self.named)

    def _take_named(self, table: dict[str, Any]) -> None:
        """Fill in a data set that the user has named."""
        self._amend("data", self.document() | {"data": table})

    def _take_pairs(self) -> None:
        """Make the pairs of the strategy the user's own."""
        after = self.document()
        after["distillation"]["matching"] |= {"strategy": OWN, "pairs": self.pairs.made()}
        self._amend("matching", after)

    def _amend(self, path: str, after: dict[str, Any]) -> None:
        """Fill in several fields at once; one undo takes all of them back."""
        before = self.document()
        self._fill(after)
        self.undo_stack.push(Edit(path, before, after, self._restore, merges=False))
        self._experiment.edit(after)

    def browse_runs_in(self, folder: Callable[[], str]) -> None:
        """Let the user browse for runs in the folder that this returns."""
        for box in self.findChildren(PathBox):
            if box.kind == "run":
                box.home = folder

    def sizeHint(self) -> QSize:
        return QSize(352, 640)

    def document(self) -> dict[str, Any]:
        """Return the values as they are written, right or wrong, with what no field takes."""
        document = self._head.value()
        for box in self._sections:
            document[box.part.field.name] = box.part.value()
        for path, value in self._leftovers.items():
            _put(document, path, value)
        return document

    def _fill(self, document: dict[str, Any]) -> None:
        self._leftovers = {}
        own = {box.part.field.name for box in self._sections}
        self._head.set_value({key: value for key, value in document.items() if key not in own}, self._leftovers)
        for box in self._sections:
            box.part.set_value(document.get(box.part.field.name), self._leftovers)
        self._before = self.document()

    def _refill(self) -> None:
        self._fill(self._experiment.document)
        self.undo_stack.clear()

    def _restore(self, document: dict[str, Any]) -> None:
        self._fill(document)
        self._experiment.edit(document)

    def _edited(self, path: str, *, merges: bool = True) -> None:
        self._leftovers.pop(path.rpartition(".")[0], None)  # what stood in the place of a section that is now chosen
        before, self._before = self._before, self.document()
        self.undo_stack.push(Edit(path, before, self._before, self._restore, merges=merges))
        self._experiment.edit(self._before)

    def _remove_leftovers(self) -> None:
        self._leftovers = {}
        self._edited("unknown fields")

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
        self._unplaced.show_problems(problems, removable=bool(self._leftovers))
        self.pairs.show_matching(_at(self._experiment.document, *_STRATEGY), self._experiment.description)
        description = self._experiment.description
        if description is not None or number:
            self.estimate.show_description(description, with_data=self._look is None)
        self._show_status(number)

    def _show_status(self, problems: int) -> None:
        experiment = self._experiment
        warnings = (
            [f"{sentence(warning.message).rstrip('.')}." for warning in experiment.description.warnings]
            if experiment.description
            else []
        )
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


class _Unplaced(QFrame):
    """Problems that belong to no field of the form, such as unknown keys of a file."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("unplaced")
        self._words = WrappedLabel(tone="error", parent=self)
        self.remove = QPushButton("Remove unknown fields", self)
        self.remove.setToolTip("Leave out what the file holds and no field takes.")
        line = QHBoxLayout()
        line.addWidget(self.remove)
        line.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 0, 8, 8)
        layout.addWidget(self._words)
        layout.addLayout(line)
        self.hide()

    def show_problems(self, problems: Problems, *, removable: bool) -> None:
        """Show what is left of the problems after every field took its own."""
        self._words.setText("\n".join(f"{path}: {message}" if path else message for path, message in problems.items()))
        self.remove.setVisible(removable)
        self.setVisible(bool(problems))


def _at(document: Any, *keys: str) -> Any:
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _put(document: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    place: Any = document
    for key in parents:
        place = _within(place, key)
    place[_key(place, last)] = value


def _within(place: Any, key: str) -> Any:
    """Return what a table or a list has at a key; a table, made where there is none."""
    below: Any = place[int(key)] if isinstance(place, list) else place.get(key)
    if isinstance(below, (dict, list)):
        return below
    made: dict[str, Any] = {}
    place[_key(place, key)] = made
    return made


def _key(place: Any, key: str) -> Any:
    return int(key) if isinstance(place, list) else key
