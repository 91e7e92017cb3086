"""A term of the loss in the form: its row of the table, and its other settings when it is unfolded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from nfkd.config import TERMS
from nfkd.text import sentence
from nfkd_gui.forms.editors import describe_editor, set_silently
from nfkd_gui.forms.fields import Section, Value
from nfkd_gui.forms.layout import form_grid
from nfkd_gui.forms.node import FormNode, Leftovers, OnChanged, Problems
from nfkd_gui.forms.rows import LABEL_WIDTH, Group
from nfkd_gui.forms.term_row import CHEVRON, TermRow
from nfkd_gui.theme import fix_size, gap, set_space
from nfkd_gui.widgets.labels import PlainLabel
from nfkd_gui.widgets.message_cell import LINE
from nfkd_gui.widgets.number_box import HEIGHT
from nfkd_gui.widgets.wheel import guard_wheel

_SENSIBLE = 0.05
"""Weight of a term that is added, unless it has a default weight."""
_INDENT = 4 + CHEVRON + 4


class TermSignals(QObject):
    """What the user does with a term."""

    toggled = Signal(str)
    removed = Signal(str)
    moved = Signal(str, int)
    pairs_wanted = Signal()


class TermNode(FormNode):
    """A term.

    Attributes
    ----------
    listed
        Whether it is a row of the table although it may have no weight.
    """

    field: Section

    def __init__(self, field: Section, column: QVBoxLayout, on_changed: OnChanged, parent: QWidget) -> None:
        super().__init__(field)
        config = TERMS[field.name]
        self.signals = TermSignals(parent)
        self.listed = self.always = field.name == "nll"
        self._on_changed = on_changed
        [self._weight] = (item for item in field.fields if item.name == "weight" and isinstance(item, Value))
        self.row = TermRow(field, plain_name(field.title), parent)
        self.row.weight.setObjectName(self._weight.path)
        describe_editor(self.row.weight, self._weight, f"Weight of {field.label}")
        guard_wheel(self.row.weight)
        self.row.weight.changed.connect(self._weight_changed)
        self.row.toggled.connect(lambda: self.signals.toggled.emit(field.name))
        self.row.moved.connect(lambda step: self.signals.moved.emit(field.name, step))
        self.details = QWidget(parent)
        grid = form_grid(self.details, _INDENT, 8, 12, 4)
        others = tuple(item for item in field.fields if item.name != "weight")
        self._others = Group(field, others, grid, on_changed)
        self._pairs = self._add_pairs(grid) if config.matches else None
        if not self.always:
            self._add_remove(grid)
        column.addWidget(self.row)
        column.addWidget(self.details)
        self.details.hide()

    def _add_pairs(self, grid: Any) -> QPushButton:
        """Add a row that leads to the matched layers, which several terms read."""
        label = PlainLabel("Pairs", self.details)
        fix_size(label, LABEL_WIDTH, HEIGHT)
        button = _link("Matched layers", f"{self.field.path}.pairs", self.details)
        button.setToolTip("Show the matched layers, which this term compares.")
        button.clicked.connect(self.signals.pairs_wanted)
        label.setBuddy(button)
        row = grid.rowCount()
        grid.addWidget(label, row, 0)
        grid.addWidget(button, row, 1, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        grid.addWidget(gap(self.details, height=LINE), row + 1, 0)
        return button

    def _add_remove(self, grid: Any) -> None:
        button = _link(f"Remove {self.field.label}", f"{self.field.path}.remove", self.details)
        button.setToolTip("Set the weight to zero; the other settings are kept.")
        button.clicked.connect(lambda: self.signals.removed.emit(self.field.name))
        line = QHBoxLayout()
        set_space(line, 0, 0, 0, 0, 12)
        line.addWidget(button)
        line.addStretch(1)
        grid.addLayout(line, grid.rowCount(), 0, 1, 2)

    def show_pairs(self, text: str) -> None:
        """Show how many layers are matched."""
        if self._pairs is not None:
            self._pairs.setText(text)

    # --- the value --------------------------------------------------------------------------------------------------

    @property
    def weight(self) -> object:
        """The entered weight, valid or not."""
        return self.row.weight.value()

    def nodes(self) -> Iterable[FormNode]:
        return (self._others,)

    def value(self) -> dict[str, Any]:
        return {"weight": self.weight} | self._others.value()

    def set_value(self, value: Any, leftovers: Leftovers) -> None:
        value = dict(self.expect(dict, value, leftovers))
        weight = value.pop("weight", self._weight.default)
        if isinstance(weight, (dict, list)):
            leftovers[self._weight.path] = weight
        else:
            set_silently(self.row.weight, weight)
        self._others.set_value(value, leftovers)
        self.listed = self.always or self.weight != 0

    def _weight_changed(self) -> None:
        self._on_changed(self._weight.path)

    def set_weight(self, weight: float, name: str) -> None:
        """Set the weight as a step for undo with a name."""
        set_silently(self.row.weight, weight)
        self._on_changed(self._weight.path, merges=False, name=name)

    @property
    def sensible_weight(self) -> float:
        """The weight of a term that is added."""
        return self._weight.default or _SENSIBLE

    # --- what is shown ------------------------------------------------------------------------------------------------

    @property
    def message(self) -> str:
        return self.row.message

    def show_problems(self, problems: Problems) -> None:
        messages = [problems.pop(path, "") for path in (self.field.path, self._weight.path)]
        self.row.show_message("; ".join(sentence(text) for text in messages if text), self._weight.help)
        self._others.show_problems(problems)

    @property
    def has_inner_problem(self) -> bool:
        """Whether one of the settings below the row has a problem."""
        return self._others.has_problem(advanced=False)

    def has_problem(self, *, advanced: bool) -> bool:
        return not advanced and (bool(self.message) or self.has_inner_problem)

    def has_advanced(self) -> bool:
        return False  # unfolded, it shows all

    def set_shown(self, shown: bool, advanced: bool) -> None:
        del advanced
        listed = shown and (self.listed or self.has_problem(advanced=False))
        self.row.setVisible(listed)
        self.details.setVisible(listed and self.row.unfolded)
        self._others.set_shown(True, True)

    def differs(self) -> bool:
        return self.weight != self._weight.default or self._others.differs()


def plain_name(title: str) -> str:
    """Return a title without its abbreviation: ``Final latents (LKD)`` → ``final latents``."""
    name = title.partition(" (")[0]
    return name[:1].lower() + name[1:]


def _link(text: str, name: str, parent: QWidget) -> QPushButton:
    button = QPushButton(text, parent)
    button.setObjectName(name)
    button.setProperty("link", True)
    button.setCursor(Qt.CursorShape.PointingHandCursor)
    return button
