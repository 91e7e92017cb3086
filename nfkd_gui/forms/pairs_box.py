"""The matching as a table: the pairs of a strategy, or the user's own pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from nfkd.protocol.records import LayerPair
from nfkd.protocol.requests import Description
from nfkd.protocol.roles import TEACHERS, role_label
from nfkd.text import sentence
from nfkd_gui.forms.layout import discard
from nfkd_gui.forms.pair_row import REMOVE_WIDTH, SPACING, WEIGHT_WIDTH, PairRow
from nfkd_gui.model.layer_choice import LayerChoice, layer_label
from nfkd_gui.model.own_pairs import OWN, pair_items
from nfkd_gui.theme import fix_size, set_space
from nfkd_gui.widgets.labels import PlainLabel, ToneLabel, WrappedLabel

_SHOWN = 12
_NOT_DESCRIBED = "The engine has not described the two flows yet."
_FULL = "No two unmatched layers have the same shape here."


class PairsBox(QWidget):
    """Pairs of layers with weights. With the strategy `OWN` the user edits them, otherwise it shows the engine's pairs.

    Parameters
    ----------
    path
        The path of the field.
    """

    changed = Signal()
    converted = Signal()
    """The user wants to edit the pairs of the strategy."""

    def __init__(self, path: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._path = path
        self._foreign: object = None
        self._layers = LayerChoice()
        self._own = False
        self._made: list[LayerPair] = []
        self.rows: list[PairRow] = []
        self.typed = False
        self._caption = WrappedLabel(parent=self)
        self._caption.setObjectName(f"{path}.caption")
        self._head = _Heading(self)
        self._made_table = _MadeTable(self)
        self.add = QPushButton("Add pair", self)
        self.add.setObjectName(f"{path}.add")
        self.add.clicked.connect(self._add)
        self.convert = QPushButton("Edit as a table", self)
        self.convert.setObjectName(f"{path}.convert")
        self.convert.setToolTip(
            "Copy these pairs to edit them: choose other layers, add and remove pairs, set weights."
        )
        self.convert.clicked.connect(self.converted)
        self._lay_out()
        self._refresh()

    def _lay_out(self) -> None:
        self._column = QVBoxLayout()
        set_space(self._column, SPACING)
        buttons = QHBoxLayout()
        buttons.addWidget(self.add)
        buttons.addWidget(self.convert)
        buttons.addStretch(1)
        layout = QVBoxLayout(self)
        set_space(layout, SPACING, 0, 0, 0, 4)
        for widget in (self._caption, self._head, self._made_table):
            layout.addWidget(widget)
        layout.addLayout(self._column)
        layout.addLayout(buttons)

    # --- the value --------------------------------------------------------------------------------------------------

    def value(self) -> object:
        """Return the user's pairs, or the document's value if it is no list of pairs."""
        return [row.value() for row in self.rows] if self._foreign is None else self._foreign

    def set_value(self, value: object) -> None:
        items = value if isinstance(value, list) else []
        plain = value in (None, "") or (isinstance(value, list) and all(isinstance(item, dict) for item in items))
        self._foreign = None if plain else value
        if plain and items == [row.value() for row in self.rows]:
            return
        wanted = items if plain else []
        for row in self.rows[len(wanted) :]:
            discard(row)
        del self.rows[len(wanted) :]
        for index, item in enumerate(wanted):
            if index < len(self.rows):
                self.rows[index].set_value(item)
            else:
                self._insert(index, item)
        self._refresh()

    def show_matching(self, strategy: object, description: Description | None) -> None:
        """Show the pairs of the engine's description; None if there is none yet."""
        self._own = strategy == OWN
        if description is not None and description.student is not None and description.student_teacher is not None:
            self._head.name_teacher(len(description.assistants))
            self._layers = LayerChoice.of(description)
            self._made = [] if self._own else description.pairs
        self.convert.setEnabled(description is not None and bool(self._made))
        self._caption.setText(_caption(strategy, description, len(self._made)))
        self._refresh()

    def made(self) -> list[dict[str, Any]]:
        """Return the strategy's pairs as a document has them."""
        return pair_items(self._made)

    # --- problems -----------------------------------------------------------------------------------------------------

    @property
    def has_problems(self) -> bool:
        """Whether any row shows a problem."""
        return any(row.message for row in self.rows)

    def take_problems(self, problems: dict[str, str]) -> None:
        """Show the messages of single pairs at their rows, and remove them from `problems`."""
        for index, row in enumerate(self.rows):
            prefix = f"{self._path}.{index}"
            own = [path for path in problems if path == prefix or path.startswith(f"{prefix}.")]
            messages = [problems.pop(path) for path in own]
            row.show_message("; ".join(sentence(message) for message in messages))

    # --- changes ----------------------------------------------------------------------------------------------------

    def _insert(self, index: int, item: dict[str, Any]) -> None:
        row = PairRow(item, self)
        row.chosen.connect(lambda: self._choose(row))
        row.typed.connect(lambda: self._emit(typed=True))
        row.removed.connect(lambda: self._remove(row))
        self.rows.insert(index, row)
        self._column.insertWidget(index, row)

    def _add(self) -> None:
        found = self._layers.next_pair([row.names for row in self.rows])
        if found is None:
            return
        index, (student, teacher) = found
        self._foreign = None
        self._insert(index, {"student": student, "teacher": teacher, "weight": 1.0})
        self._emit()
        self.rows[index].student.setFocus()

    def _remove(self, row: PairRow) -> None:
        index = self.rows.index(row)
        self.rows.remove(row)
        discard(row)
        self._emit()
        (self.rows[min(index, len(self.rows) - 1)].remove if self.rows else self.add).setFocus()

    def _choose(self, row: PairRow) -> None:
        index = self.rows.index(row)
        fitting = [layer.name for layer in self._layers.teachers([row.names for row in self.rows], index)]
        if fitting and row.names[1] not in fitting:
            row.set_teacher(fitting[-1])  # the deepest teacher layer that fits
        self._emit()

    def _emit(self, *, typed: bool = False) -> None:
        if not typed:
            self._refresh()
        self.typed = typed
        self.changed.emit()

    # --- showing ----------------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        names = [row.names for row in self.rows]
        own = self._own or self.has_problems  # also show problems of unused pairs
        for index, row in enumerate(self.rows):
            row.set_index(index, self._path)
            student, teacher = names[index]
            row.student.offer(self._layers.students(names, index), student, layer_label(self._layers.student, student))
            row.teacher.offer(self._layers.teachers(names, index), teacher, layer_label(self._layers.teacher, teacher))
            row.setVisible(own)
        self._head.setVisible(bool(self.rows if own else self._made))
        self._head.show_weight(own)
        self._made_table.show_pairs([] if own else self._made, self._layers)
        known = bool(self._layers.student)
        can_add = self._layers.next_pair(names) is not None
        self.add.setVisible(self._own)
        self.add.setEnabled(can_add)
        self.add.setToolTip("Match two more layers." if can_add else _FULL if known else _NOT_DESCRIBED)
        self.convert.setVisible(not self._own)
        self._caption.setVisible(not self._own and bool(self._caption.text()))


class _Heading(QWidget):
    """The headings of the columns."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._weight = ToneLabel("Weight", parent=self)
        self._weight.setAlignment(Qt.AlignmentFlag.AlignRight)
        fix_size(self._weight, WEIGHT_WIDTH)
        self._spacer = QWidget(self)
        fix_size(self._spacer, REMOVE_WIDTH)
        line = QHBoxLayout(self)
        set_space(line, SPACING)
        self._teacher = ToneLabel("Teacher", parent=self)
        for label in (ToneLabel("Student", parent=self), self._teacher):
            line.addWidget(label, 1)
        line.addWidget(self._weight)
        line.addWidget(self._spacer)

    def name_teacher(self, assistants: int) -> None:
        """Show which flow the student learns from: the last assistant, or the teacher."""
        self._teacher.setText(role_label(TEACHERS[assistants]))

    def show_weight(self, shown: bool) -> None:
        """Show or hide the weight column."""
        self._weight.setVisible(shown)
        self._spacer.setVisible(shown)


class _MadeTable(QWidget):
    """The pairs of a strategy, read-only."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._grid = QGridLayout(self)
        set_space(self._grid, 2, across=SPACING)
        for column in (0, 1):
            self._grid.setColumnStretch(column, 1)
        self._cells: dict[tuple[int, int], PlainLabel] = {}
        self._more = ToneLabel(parent=self)
        self._grid.addWidget(self._more, _SHOWN, 0, 1, 2)

    def show_pairs(self, pairs: Sequence[LayerPair], layers: LayerChoice) -> None:
        """Show the first pairs, and how many more there are."""
        for row in range(_SHOWN):
            pair = pairs[row] if row < len(pairs) else None
            labels = ("", "") if pair is None else _labels(pair, layers)
            for column, text in enumerate(labels):
                if (row, column) not in self._cells and pair is not None:
                    self._cells[row, column] = PlainLabel(parent=self)
                    self._grid.addWidget(self._cells[row, column], row, column)
                if (row, column) in self._cells:
                    self._cells[row, column].setText(text)
                    self._cells[row, column].setVisible(pair is not None)
        more = len(pairs) - _SHOWN
        self._more.setText(f"and {more} more")
        self._more.setVisible(more > 0)
        self.setVisible(bool(pairs))


def _labels(pair: LayerPair, layers: LayerChoice) -> tuple[str, str]:
    return layer_label(layers.student, pair.student), layer_label(layers.teacher, pair.teacher)


def _caption(strategy: object, description: Description | None, count: int) -> str:
    if description is None or strategy != "auto" or not description.strategy:
        return ""
    chosen = description.strategy.replace("_", " ")
    return f"Auto chose: {chosen}, {count} {'pair' if count == 1 else 'pairs'}"
