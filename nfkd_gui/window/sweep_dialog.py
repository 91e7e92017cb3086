"""Try several values: the fields to vary, their values, what the runs will take, and the start of the sweep."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import (
    QDialog,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from nfkd.config import ExperimentConfig
from nfkd.config.sweep import format_value
from nfkd.files import replace_file
from nfkd.protocol.events import ErrorInfo
from nfkd.text import format_span, sentence
from nfkd_gui.forms.fields import FoundField, all_fields
from nfkd_gui.model.studio import Studio
from nfkd_gui.model.sweep_draft import SweepDraft
from nfkd_gui.numbers import format_bytes
from nfkd_gui.theme import fix_size, limit_size, set_space
from nfkd_gui.widgets.labels import PlainLabel, ToneLabel, WrappedLabel
from nfkd_gui.widgets.message_cell import MessageCell
from nfkd_gui.widgets.panel_dock import IconButton
from nfkd_gui.window.field_finder import FieldFinder
from nfkd_gui.window.sweep_place import SweepPlace

_WIDTH, _LABEL, _LINE, _FIELD = 600, 200, 18, 28
_ENOUGH_SEEDS = 3
_ABOUT = """Give a field several values with commas between them, such as 8, 16, 32. Every combination becomes a run;
runs with the same teacher train it once.""".replace("\n", " ")


class SweepDialog(QDialog):
    """Sets up a sweep of the experiment that is open in Design.

    Parameters
    ----------
    studio
        Sends the requests.
    experiment
        The base of all runs.
    path
        The first field; empty for none.

    Attributes
    ----------
    accepted_sweep
        Emitted with the sweep as TOML text and the `RayCluster`, or None for this machine, when the user starts it.
    """

    accepted_sweep = Signal(str, object)

    def __init__(self, studio: Studio, experiment: ExperimentConfig, path: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setObjectName("sweep")
        self.setWindowTitle("Try several values")
        self._studio, self._name = studio, f"{experiment.name} sweep"  # the experiment's own runs have its name
        document = experiment.model_dump(mode="json") | {"name": self._name}
        self.draft = SweepDraft(studio.ask, document, studio.machines.runs_folder, self)
        known = set(self.draft.paths())
        found = [field for field in all_fields(experiment.model_dump(mode="json")) if field.path in known]
        self._fields = {field.path: field for field in found}
        self._rows: dict[str, _ValuesRow] = {}
        self._column = QVBoxLayout()
        self._add = FieldFinder(found, "sweep.add", self)
        self._add.line.chosen.connect(self._add_field)
        self._place = SweepPlace(self)
        self._place.changed.connect(self._change_place)
        self._summary = WrappedLabel(parent=self)
        self._summary.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._summary.setObjectName("sweep.summary")
        self._seeds = QPushButton("Use three seeds", self)
        self._seeds.setObjectName("sweep.seeds")
        self._seeds.setToolTip("Train each run with three seeds.")
        self._seeds_note = ToneLabel("Runs with fewer seeds get no verdict.", parent=self)
        self._seeds.clicked.connect(lambda: self.draft.set_seeds(_ENOUGH_SEEDS))
        self._cancel = self._button("cancel", "Cancel", self.reject)
        self._save = self._button("save", "Save as file …", self._ask_file)
        self._save.setToolTip("Write the sweep to a file for `nfkd sweep`.")
        self._start = self._button("start", "Start", self._accept)
        self._start.setProperty("primary", True)
        self._start.setDefault(True)
        self._lay_out()
        self.draft.changed.connect(self._refresh)
        self.finished.connect(self.draft.stop)
        if path in self._fields:
            self._add_field(path)
        self._refresh()
        limit_size(self, least=(_WIDTH, 0))
        limit_size(self._summary, least=(0, 2 * _LINE))

    def _button(self, name: str, text: str, act: Callable[[], object]) -> QPushButton:
        button = QPushButton(text, self)
        button.setObjectName(f"sweep.{name}")
        button.setAutoDefault(False)
        button.clicked.connect(lambda _checked: act())
        return button

    def _lay_out(self) -> None:
        foot, seeds = QHBoxLayout(), QHBoxLayout()
        foot.addWidget(self._save)
        foot.addStretch(1)
        foot.addWidget(self._cancel)
        foot.addWidget(self._start)
        seeds.addWidget(self._seeds)
        seeds.addWidget(self._seeds_note)
        seeds.addStretch(1)
        set_space(self._column, 0)
        whole = QVBoxLayout(self)
        set_space(whole, 12, 16, 16, 16, 16)
        about = WrappedLabel(_ABOUT, parent=self)
        about.setAlignment(Qt.AlignmentFlag.AlignTop)
        whole.addWidget(about)
        whole.addLayout(self._column)
        whole.addWidget(self._add)
        whole.addWidget(self._place)
        whole.addWidget(self._summary)
        whole.addLayout(seeds)
        whole.addStretch(1)
        whole.addLayout(foot)

    # --- fields ---------------------------------------------------------------------------------------------------

    def _add_field(self, path: str) -> None:
        """Add a row with the experiment's value, or go to the row that is there."""
        if path not in self._rows:
            row = self._rows[path] = _ValuesRow(self._fields[path], self)
            row.edited.connect(self.draft.set_values)
            row.removed.connect(self._remove_field)
            self._column.addWidget(row)
            row.line.setText(format_value(self.draft.value_of(path)))
            self.draft.set_values(path, row.line.text())
        self._rows[path].line.setFocus()
        self._rows[path].line.end(False)
        self._fit()

    def _remove_field(self, path: str) -> None:
        row = self._rows.pop(path)
        self._column.removeWidget(row)
        row.hide()
        row.deleteLater()
        self.draft.remove(path)
        self._fit()

    def _fit(self) -> None:
        """Be as high as the content needs at this width."""
        layout = self.layout()
        if layout is not None:
            layout.activate()
            self.resize(self.width(), layout.totalHeightForWidth(self.width()))

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._fit()

    # --- display --------------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        draft = self.draft
        for path, row in self._rows.items():
            row.cell.show_message(sentence(draft.problems.get(path, "")))
        count = draft.count if draft.text else 0
        self._start.setText(f"Start {count:,} {'run' if count == 1 else 'runs'}" if count else "Start")
        self._place.show_missing(draft.description is not None and not draft.description.ray)
        self._start.setEnabled(bool(draft.text) and self._studio.ready and self._place.ready)
        self._save.setEnabled(bool(draft.text))
        for widget in (self._seeds, self._seeds_note):
            widget.setVisible(draft.seeds < _ENOUGH_SEEDS and "seeds.count" not in draft.values)
        self._summary.setText(describe(draft, elsewhere=self._place.on_ray))

    def _change_place(self) -> None:
        self._refresh()
        self._fit()

    # --- actions --------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        self.accepted_sweep.emit(self.draft.text, self._place.cluster)
        self.accept()

    def _ask_file(self) -> None:
        name = f"{self._name}.toml"
        dialog = QFileDialog(self, "Save sweep", name, "Sweeps (*.toml)")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setDefaultSuffix("toml")
        dialog.fileSelected.connect(self.save)
        dialog.open()

    def save(self, path: str) -> None:
        """Write the sweep to a file."""
        try:
            replace_file(Path(path), self.draft.text.encode())
        except OSError as error:
            info = ErrorInfo(title="The sweep was not saved", cause=str(error), action="Choose another file.")
            self._studio.failed.emit(info)
            return
        self._studio.message.emit(f"Saved {path}")


class _ValuesRow(QWidget):
    """A field, its values as a text with commas, and a button that removes it."""

    edited = Signal(str, str)
    removed = Signal(str)

    def __init__(self, field: FoundField, parent: QWidget) -> None:
        super().__init__(parent)
        label = PlainLabel(field.title, self)
        label.setToolTip(field.help)
        fix_size(label, width=_LABEL, height=_FIELD)
        self.line = QLineEdit(self)
        self.line.setObjectName(f"sweep.values.{field.path}")
        self.line.setAccessibleName(f"Values of {field.title}")
        self.line.setToolTip(f"Values with commas, such as 8, 16, 32. {field.help}")
        self.line.textEdited.connect(lambda text: self.edited.emit(field.path, text))
        self.cell = MessageCell(self.line, self, label=label)
        remove = IconButton("close", f"Do not vary {field.title}", "Remove this field.", self)
        remove.setObjectName(f"sweep.remove.{field.path}")
        remove.clicked.connect(lambda: self.removed.emit(field.path))
        line = QHBoxLayout(self)
        set_space(line, 4)
        line.addWidget(self.cell, 1)
        line.addWidget(remove, 0, Qt.AlignmentFlag.AlignTop)


def describe(draft: SweepDraft, *, elsewhere: bool = False) -> str:
    """Return what the sweep will take, or why it cannot start, in sentences; `elsewhere` is on other machines."""
    if "" in draft.problems:
        return sentence(draft.problems[""])
    if draft.problems:
        return "Correct the marked values."
    found = draft.description
    if found is None:
        return draft.error or "Measuring what the runs will take …"
    teachers = f", {found.teachers} {'teacher' if found.teachers == 1 else 'teachers'}" if found.teachers else ""
    time = f" · about {format_span(found.seconds)}" if format_span(found.seconds) else " · time not measured"
    time += " on this machine, one after another" if elsewhere and format_span(found.seconds) else ""
    size = f" · {format_bytes(found.size)} of {format_bytes(found.free)} free" if math.isfinite(found.size) else ""
    return f"{found.runs:,} {'run' if found.runs == 1 else 'runs'}{teachers}{time}{size}.{_problems(found.problems)}"


def _problems(problems: Mapping[str, str]) -> str:
    if not problems:
        return ""
    name, reason = next(iter(problems.items()))
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f" {name} cannot start{more}: {sentence(reason)}"
