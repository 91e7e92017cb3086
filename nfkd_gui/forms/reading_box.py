"""How a table was read from its file, and the settings that change it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QWidget

from nfkd.config import ExperimentConfig
from nfkd.config.problems import ConfigProblem
from nfkd.text import sentence
from nfkd_gui.forms.fields import Field, Value, Variants, describe_model
from nfkd_gui.forms.layout import fill_column, form_grid
from nfkd_gui.forms.rows import Row
from nfkd_gui.theme import set_space
from nfkd_gui.widgets.labels import FittedLabel

_OF_TEXT = ("separator", "decimal", "thousands", "encoding", "header", "comment", "missing_texts")
_OF_SHEETS = ("key", "header", "decimal", "thousands", "missing_texts")
_TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".dat", ".data", ".gz", ".zip")
_SHEET_ENDINGS = (".xlsx",)
_NAMED = re.compile(r"\bdata\.([a-z_]+)")


def named_settings(problems: Sequence[ConfigProblem]) -> list[str]:
    """Return the fields of the data that problems belong to or name in their messages."""
    texts = [f"{problem.path} {problem.message}" for problem in problems]
    return list(dict.fromkeys(name for text in texts for name in _NAMED.findall(text)))


class ReadingBox(QWidget):
    """Says how a table was read; a button shows the settings of its file below.

    Signals
    -------
    edited
        The path of a changed field, its value, and whether undo may merge it with the last change.
    """

    edited = Signal(str, object, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("reading")
        self._label = FittedLabel(parent=self)
        self._label.setObjectName("reading.label")
        self.change = QPushButton("Change …", self)
        self.change.setObjectName("reading.change")
        self.change.setProperty("link", True)
        self.change.setCheckable(True)
        self.change.setToolTip("Show how the file is read: separator, decimal sign, encoding and so on.")
        self.change.toggled.connect(self._show_settings)
        line = QHBoxLayout()
        set_space(line, 8)
        line.addWidget(self._label, 1)
        line.addWidget(self.change, 0, Qt.AlignmentFlag.AlignTop)
        self._settings = QWidget(self)
        grid = form_grid(self._settings, 0, 4, 0, 0)
        self._rows = {field.name: Row(field, grid, self._edited) for field in _reading_fields()}
        self._wanted: tuple[str, ...] = ()
        fill_column(self, line, self._settings, spacing=0)
        self.hide()

    def show_reading(
        self, reading: str, table: Mapping[str, Any], problems: Sequence[ConfigProblem], *, current: bool
    ) -> None:
        """Show how a table was read.

        Parameters
        ----------
        reading
            Such as ``separated by ;, decimal comma``; may be empty.
        table
            The ``[data]`` table of the experiment.
        problems
            Why it could not be used; the settings are shown if one of them names a setting that is not its field.
        current
            Whether `reading` belongs to these settings.
        """
        wanted = _settings_of(str(table.get("path", ""))) if table.get("kind") == "table" else ()
        for name in wanted:
            value = table.get(name, self._rows[name].field.default)
            if self._rows[name].value() != value:  # else the cursor of a typed text would move
                self._rows[name].set_value(value, {})
        self._label.setText(f"Read as: {reading}" if reading else "How the file is read:")
        self._label.setEnabled(current)
        self._wanted = wanted
        self.setVisible(bool(wanted) and (bool(reading) or bool(problems)))
        at_fields = {problem.path.removeprefix("data.") for problem in problems}
        if set(named_settings(problems)) & set(wanted) - at_fields:
            self.change.setChecked(True)
        self._show_settings()

    def _show_settings(self) -> None:
        shown = self.change.isChecked()
        self.change.setText("Close" if shown else "Change …")
        for name, row in self._rows.items():
            row.set_shown(shown and name in self._wanted, True)
        self._settings.setVisible(shown)

    def _edited(self, path: str, *, merges: bool = True, name: str = "") -> None:
        del name
        key = path.removeprefix("reading.")
        self.edited.emit(f"data.{key}", self._rows[key].value(), merges)


@cache
def _table_fields() -> dict[str, Field]:
    """Return the fields of a table by name."""
    [data] = (field for field in describe_model(ExperimentConfig) if field.name == "data")
    return {field.name: field for field in data.members["table"]} if isinstance(data, Variants) else {}


def table_titles() -> dict[str, str]:
    """Return the titles of the fields of a table, by name."""
    return {name: field.title for name, field in _table_fields().items()}


@cache
def _reading_fields() -> tuple[Value, ...]:
    """Return the settings of files as fields of their own, so that each has an editor here and in the form."""
    fields = (_table_fields()[name] for name in dict.fromkeys(_OF_SHEETS[:1] + _OF_TEXT))
    return tuple(
        replace(field, path=f"reading.{field.name}", advanced=False, help=sentence(field.help))
        for field in fields
        if isinstance(field, Value)
    )


def _settings_of(path: str) -> tuple[str, ...]:
    """Return the settings that have an effect on a file."""
    lower = path.strip().lower()
    return _OF_TEXT if lower.endswith(_TEXT_ENDINGS) else _OF_SHEETS if lower.endswith(_SHEET_ENDINGS) else ()
