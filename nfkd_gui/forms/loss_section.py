"""The loss in the form: a table of its terms, then the pool, the matched layers, and the other settings."""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError
from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QGridLayout, QVBoxLayout, QWidget

from nfkd.config import DistillationConfig
from nfkd.config.schedules import weights_at
from nfkd.protocol.requests import Description
from nfkd.text import sentence
from nfkd_gui.forms.add_term import AddTerm
from nfkd_gui.forms.block import Block, PoolBlock
from nfkd_gui.forms.effects import value_at
from nfkd_gui.forms.fields import Field, Section
from nfkd_gui.forms.node import FormNode, Leftovers, OnChanged, Problems
from nfkd_gui.forms.rows import Group
from nfkd_gui.forms.term_cells import curve_steps
from nfkd_gui.forms.term_node import TermNode
from nfkd_gui.forms.term_row import TableHead
from nfkd_gui.model.gradient_shares import GradientShares
from nfkd_gui.theme import set_space, set_type
from nfkd_gui.widgets.labels import ElidedLabel, WrappedLabel

_STEPS = 1000
"""Steps of the curves while the student's budget is not valid; their shape hardly depends on it."""
_BALANCE = ("normalize_weights", "balance", "balance_every")


class _Signals(QObject):
    pairs_wanted = Signal()


class LossSection(Group):
    """The fields of `DistillationConfig`. One term is unfolded at a time, apart from those with problems."""

    field: Section

    def __init__(self, field: Section, grid: QGridLayout, on_changed: OnChanged) -> None:
        FormNode.__init__(self, field)
        self._on_changed = on_changed
        self._shown, self._advanced, self._steps = True, False, _STEPS
        self._shares: GradientShares | None = None
        self._wrong = ""
        self._config: DistillationConfig | None = None
        self._weighed: tuple[dict[str, Any], int] | None = None
        self._box = QWidget(grid.parentWidget())
        self._signals = _Signals(self._box)
        self.pairs_wanted = self._signals.pairs_wanted
        self.remark = ElidedLabel(parent=grid.parentWidget())
        self.remark.setObjectName(f"{field.path}.weights")
        set_type(self.remark, "caption")
        column = QVBoxLayout(self._box)
        set_space(column, 0)
        made = self._make_terms(column) | self._make_blocks(column)
        self.children: dict[str, FormNode] = {item.name: made[item.name] for item in field.fields}
        self._source = WrappedLabel(parent=self._box)
        self._source.setObjectName(f"{field.path}.shares")
        set_type(self._source, "caption")
        foot = QVBoxLayout()
        set_space(foot, 0, 12, 8, 12, 8)
        foot.addWidget(self._source)
        column.addLayout(foot)
        column.addStretch(1)
        grid.addWidget(self._box, grid.rowCount(), 0, 1, 2)
        self._refresh()

    # --- construction -----------------------------------------------------------------------------------------------

    def _make_terms(self, column: QVBoxLayout) -> dict[str, FormNode]:
        column.addWidget(TableHead(self._box))
        self.terms: dict[str, TermNode] = {}
        for item in self.field.fields:
            if isinstance(item, Section) and item.group == "terms":
                node = self.terms[item.name] = TermNode(item, column, self._term_changed, self._box)
                node.signals.toggled.connect(self._toggle)
                node.signals.removed.connect(self._remove)
                node.signals.moved.connect(self._move)
                node.signals.pairs_wanted.connect(self.pairs_wanted)
        self.add = AddTerm(self._box)
        self.add.chosen.connect(self._add)
        column.addWidget(self.add)
        return dict(self.terms)

    def _make_blocks(self, column: QVBoxLayout) -> dict[str, FormNode]:
        fields = {item.name: item for item in self.field.fields}
        pool, matching = (cast("Section", fields[name]) for name in ("pool", "matching"))
        self._pool = PoolBlock(pool, self._on_changed, self._box)
        matched = Block("Matched layers", matching.help, self._box)
        start = Block("Start of the student", fields["inherit"].help, self._box)
        self._advanced_blocks = {
            "balance": Block("Sum and balance of the weights", fields["balance"].help, self._box),
            "cache": Block("Passes of the teacher", fields["cache"].help, self._box),
        }
        self._blocks = {
            "matching": Group(matching, matching.fields, matched.grid, self._on_changed),
            "start": self._rows(start, (fields["inherit"],)),
            "balance": self._rows(self._advanced_blocks["balance"], tuple(fields[name] for name in _BALANCE)),
            "cache": self._rows(self._advanced_blocks["cache"], (fields["cache"],)),
        }
        for widget in (self._pool.widget, matched, start, *self._advanced_blocks.values()):
            column.addWidget(widget)
        rows = [self._blocks[name].children for name in ("start", *self._advanced_blocks)]
        return dict(ChainMap(*rows)) | {"pool": self._pool, "matching": self._blocks["matching"]}

    def _rows(self, block: Block, fields: tuple[Field, ...]) -> Group:
        empty = Section(name="", path="", title="", help="", fields=fields)
        return Group(empty, fields, block.grid, self._on_changed)

    # --- changes ----------------------------------------------------------------------------------------------------

    def set_value(self, value: Any, leftovers: Leftovers) -> None:
        super().set_value(value, leftovers)
        self._refresh()

    def _term_changed(self, path: str, *, merges: bool = True, name: str = "") -> None:
        self._on_changed(path, merges=merges, name=name)
        self._refresh()

    def _add(self, name: str) -> None:
        node = self.terms[name]
        node.listed = True
        self._unfold(name)
        node.set_weight(node.sensible_weight, f"Add {node.field.label}")
        node.row.weight.setFocus()
        node.row.weight.selectAll()

    def _remove(self, name: str) -> None:
        node = self.terms[name]
        node.listed = False
        node.row.set_unfolded(False)
        node.set_weight(0.0, f"Remove {node.field.label}")
        self._refresh()
        self.add.button.setFocus()

    def _toggle(self, name: str) -> None:
        self._unfold("" if self.terms[name].row.unfolded else name)

    def _unfold(self, name: str) -> None:
        """Unfold a term and fold the others, apart from those with problems inside."""
        for key, node in self.terms.items():
            node.row.set_unfolded(key == name or node.has_inner_problem)
        self._refresh()

    def _move(self, name: str, step: int) -> None:
        """Give the focus to the next or the previous row."""
        listed = [key for key, node in self.terms.items() if not node.row.isHidden()]
        index = min(max(listed.index(name) + step, 0), len(listed) - 1)
        self.terms[listed[index]].row.chevron.setFocus()

    # --- what is shown ----------------------------------------------------------------------------------------------

    def reveal(self, path: str) -> None:
        name = path.removeprefix(f"{self.field.path}.").partition(".")[0]
        if name in self.terms:
            self.terms[name].listed = True
            self._unfold(name)
        super().reveal(path)

    def show_problems(self, problems: Problems) -> None:
        self._wrong = sentence(problems.pop(self.field.path, ""))
        for node in self.children.values():
            node.show_problems(problems)
        for node in self.terms.values():
            if node.has_inner_problem:
                node.row.set_unfolded(True)
        self._refresh()

    @property
    def message(self) -> str:
        """The problem of the loss as a whole."""
        return self._wrong

    def show_effects(self, document: dict[str, Any]) -> None:
        super().show_effects(document)
        steps = value_at(document, "training.student_steps")
        self._steps = steps if isinstance(steps, int) and steps > 0 else _STEPS
        self._refresh()

    def show_description(self, description: Description | None) -> None:
        """Show how many layers are matched, at the terms that compare them."""
        if description is None:
            return
        count, strategy = len(description.pairs), description.strategy.replace("_", " ")
        own = "by hand" if strategy == "pairs" else f"strategy “{strategy}”"
        text = f"{count} {'pair' if count == 1 else 'pairs'}, {own}" if count else "No pairs"
        for node in self.terms.values():
            node.show_pairs(text)

    def follow(self, shares: GradientShares) -> None:
        """Show gradient shares, and follow their changes."""
        self._shares = shares
        shares.changed.connect(self._show_shares)
        self._show_shares()

    def set_shown(self, shown: bool, advanced: bool) -> None:
        self._shown, self._advanced = shown, advanced
        self._box.setVisible(shown)
        for block in (self._pool, *self._blocks.values()):
            block.set_shown(shown, advanced)
        self._refresh()

    def _refresh(self) -> None:
        """Show the rows of the terms, what can be added, the curves and the sum."""
        for node in self.terms.values():
            node.set_shown(self._shown, self._advanced)
        self.add.offer({name: node.field for name, node in self.terms.items() if not node.listed})
        for name, block in self._advanced_blocks.items():
            block.setVisible(any(getattr(row, "is_shown", False) for row in self._blocks[name].children.values()))
        self._show_weights()
        self._show_shares()

    def _show_weights(self) -> None:
        value = self.value()
        if (value, self._steps) != self._weighed:
            self._weighed, self._config = (value, self._steps), _parse(value)
            self._show_curves()
        config = self._config
        if self._wrong:
            self.remark.set_tone("error")
            self.remark.setText(self._wrong)
            return
        self.remark.set_tone("muted")
        total = sum(term.weight for term in config.active_terms().values()) if config is not None else math.nan
        divided = config is not None and config.normalize_weights and not math.isclose(total, 1.0, abs_tol=5e-3)
        text = f"Weights sum to {total:.2f}" + (": divided by their sum" if divided else "")
        self.remark.setText("" if math.isnan(total) else text)

    def _show_curves(self) -> None:
        """Draw the weight of each term over the steps."""
        config, steps = self._config, curve_steps(self._steps)
        weights = [weights_at(config, step, self._steps) for step in steps] if config is not None else []
        for name, node in self.terms.items():
            node.row.curve.show_weights([part[name] for part in weights] if weights and name in weights[0] else ())

    def _show_shares(self) -> None:
        shares: Mapping[str, float] = self._shares.shares if self._shares is not None else {}
        for name, node in self.terms.items():
            node.row.share.show_share(shares.get(name, math.nan) if node.weight != 0 else math.nan)
        self._source.setText(self._shares.remark if self._shares is not None else "")


def _parse(value: dict[str, Any]) -> DistillationConfig | None:
    try:
        return DistillationConfig.model_validate(value, context={"folder": Path()})
    except ValidationError:
        return None
