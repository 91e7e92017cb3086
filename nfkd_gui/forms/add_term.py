"""The button below the loss table that adds a term."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QMenu, QPushButton, QWidget

from nfkd_gui.forms.fields import Section
from nfkd_gui.theme import set_space, set_type
from nfkd_gui.widgets.icons import icon
from nfkd_gui.widgets.labels import ElidedLabel, tip

_LONGEST = 72
"""Characters of a term's meaning in the menu; the tooltip has all of it."""


class AddTerm(QWidget):
    """A menu of the terms that are not in the table, and their names beside it."""

    chosen = Signal(str)
    """The name of a term."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.button = QPushButton("Add term", self)
        self.button.setObjectName("distillation.add_term")
        self.button.setToolTip("Add a term to the loss.")
        self.menu = QMenu(self.button)
        self.menu.setObjectName("distillation.terms")
        self.menu.setToolTipsVisible(True)
        self.button.setMenu(self.menu)
        self._names = ElidedLabel(parent=self)
        set_type(self._names, "caption")
        line = QHBoxLayout(self)
        set_space(line, 8, 12, 8, 12, 8)
        line.addWidget(self.button)
        line.addWidget(self._names, 1)

    def offer(self, terms: Mapping[str, Section]) -> None:
        """Offer terms, by their names."""
        self.menu.clear()
        self.button.setIcon(icon("add"))
        for name, field in terms.items():
            meaning = field.help.partition(". ")[0]
            meaning = meaning if len(meaning) <= _LONGEST else f"{meaning[:_LONGEST]}…"
            action = self.menu.addAction(f"{field.label} – {meaning.rstrip('.')}")
            action.setObjectName(f"distillation.add.{name}")
            action.setToolTip(tip(field.help))
            action.setData(name)
            action.triggered.connect(lambda _checked=False, name=name: self.chosen.emit(name))
        self._names.setText(", ".join(field.label for field in terms.values()))
        self.button.setEnabled(bool(terms))
