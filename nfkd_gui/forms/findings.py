"""What the preview of a table found: columns that are not used, and warnings; each with what can be done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from nfkd.config.problems import ConfigProblem
from nfkd.protocol.data import DataPreview
from nfkd.text import plain, sentence
from nfkd_gui.forms.layout import discard, heading_label
from nfkd_gui.forms.reading_box import named_settings, table_titles
from nfkd_gui.forms.undo import change_name
from nfkd_gui.theme import set_space
from nfkd_gui.widgets.flow_layout import ControlBar
from nfkd_gui.widgets.labels import FittedLabel, Tone, WrappedLabel, tip

_FEW, _MOST = 3, 50
"""Findings that are shown at first, and at most."""
_LONGEST, _LONGEST_NAME = 24, 36  # characters of a value in a link, and of a column
_LONGEST_TEXT = 400  # characters of a finding
_CHOICES = {
    "data.missing": (("Leave these rows out", "drop"), ("Fill in medians", "median")),
    "data.decimal": (("Decimal comma", "comma"), ("Decimal point", "point")),
}


@dataclass(frozen=True)
class Action:
    """What a click does: it sets a field, or shows it where `value` is None."""

    label: str
    path: str
    value: Any = None


@dataclass(frozen=True)
class Finding:
    """A line of text, and what can be done about it."""

    text: str
    actions: tuple[Action, ...] = ()


class FindingList(QWidget):
    """Lists findings under a heading; more than three are folded.

    Signals
    -------
    edited
        The path of a changed field, its value, and that undo must not merge it with the last change.
    field_wanted
        The path of a field to show.
    """

    edited = Signal(str, object, bool)
    field_wanted = Signal(str)

    def __init__(self, name: str, tone: Tone, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self._name = name
        self._tone: Tone = tone
        self._findings: list[Finding] | None = None
        self._more = 0
        self._heading = heading_label("", self)
        self._column = QVBoxLayout(self)
        set_space(self._column, 8)
        self._column.addWidget(self._heading)
        self.unfold = QPushButton("", self)
        self.unfold.setProperty("link", True)
        self.unfold.setObjectName(f"{name}.unfold")
        self.unfold.setCheckable(True)
        self.unfold.toggled.connect(self._fill)
        self._rest = WrappedLabel(parent=self)
        self._column.addWidget(self._rest)
        self._column.addWidget(self.unfold, 0, Qt.AlignmentFlag.AlignLeft)
        self._rows: list[_FindingRow] = []

    def show_findings(self, heading: str, findings: Sequence[Finding], more: int = 0) -> None:
        """Show findings; `more` are not listed. Without any, nothing is shown."""
        self._heading.setText(heading)
        self._heading.setVisible(bool(heading))
        if [*findings] != self._findings or more != self._more:
            self._findings, self._more = [*findings], more
            self._fill()
        self.setVisible(bool(findings))

    def _fill(self) -> None:
        for row in self._rows:
            discard(row)
        findings = self._findings or []
        shown = findings[: _MOST if self.unfold.isChecked() else _FEW]
        self._rows = [
            _FindingRow(f"{self._name}.{index}", finding, self._tone, self) for index, finding in enumerate(shown)
        ]
        for index, row in enumerate(self._rows, start=1):
            row.chosen.connect(self._act)
            self._column.insertWidget(index, row)
            row.show()
        unfolded, others = self.unfold.isChecked(), len(findings) + self._more - len(shown)
        self._rest.setText(f"and {others:,} more")
        self._rest.setVisible(others > 0)
        self.unfold.setText("Show fewer" if unfolded else f"Show {min(len(findings), _MOST) - _FEW:,} more")
        self.unfold.setVisible(len(findings) > _FEW)
        if not unfolded and len(findings) <= _MOST and not self._more:
            self._rest.hide()  # the button says it

    def _act(self, action: Action) -> None:
        if action.value is None:
            self.field_wanted.emit(action.path)
        else:
            self.edited.emit(action.path, action.value, False)


class _FindingRow(QWidget):
    """The text of a finding, and a link for each action."""

    chosen = Signal(object)

    def __init__(self, name: str, finding: Finding, tone: Tone, parent: QWidget) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        set_space(column, 0)
        if finding.text:
            label = FittedLabel(plain(finding.text, _LONGEST_TEXT), tone, self)
            label.setObjectName(name)
            column.addWidget(label)
        links = ControlBar(8, self)
        links.setVisible(bool(finding.actions))
        for number, action in enumerate(finding.actions):
            link = QPushButton(action.label.replace("&", "&&"), self)
            link.setObjectName(f"{name}.{number}")
            link.setProperty("link", True)
            link.setToolTip(tip("Show the setting." if action.value is None else f"{change_name(action.path)}."))
            link.clicked.connect(partial(self.chosen.emit, action))
            links.add(link)
        column.addWidget(links)


# --- what is found ----------------------------------------------------------------------------------------------------


def unused_findings(preview: DataPreview, table: Mapping[str, Any]) -> list[Finding]:
    """Return the columns of a table that are not used; those of numbers can be used.

    Parameters
    ----------
    preview
        Of the data.
    table
        The ``[data]`` table of the experiment.
    """
    columns = _names(table, "columns")
    modelled = columns or [column.name for column in preview.columns]
    found = []
    for column in preview.unused:
        actions = (
            Action("Use as number", "data.columns", [*modelled, column.name]),
            Action("Use as condition", "data.context", [*_names(table, "context"), column.name]),
        )
        found.append(Finding(f"{plain(column.name, _LONGEST_NAME)}: {column.reason}", actions if column.usable else ()))
    return found


def warning_findings(warnings: Sequence[ConfigProblem], table: Mapping[str, Any]) -> list[Finding]:
    """Return warnings about a table with the changes that they propose."""
    several = sum(warning.path == "data.dequantize" for warning in warnings) > 1
    return [
        Finding(f"{sentence(warning.message).rstrip('.')}.", (*_fixes(warning, table, several), _go_to(warning.path)))
        for warning in warnings
    ]


def problem_findings(problems: Sequence[ConfigProblem], table: Mapping[str, Any]) -> list[Finding]:
    """Return what can be done about problems, whose messages are shown at their fields."""
    actions: dict[Action | str, Action] = {}
    for problem in problems:
        fixes = [action for action in _fixes(problem, table, several=False) if action.path.count(".") == 1]
        actions |= {action.label: action for action in fixes}
    known = {problem.path for problem in problems} | {action.path for action in actions.values()}
    paths = [f"data.{name}" for name in named_settings(problems)]
    actions |= {path: _go_to(path) for path in paths if path not in known}
    return [Finding("", tuple(actions.values()))] if actions else []


def _fixes(problem: ConfigProblem, table: Mapping[str, Any], several: bool) -> tuple[Action, ...]:
    """Return the changes that a problem proposes."""
    path, fix = problem.path, problem.fix
    named = [each for each in _CHOICES if each == path or f"({each})" in problem.message]
    if named:
        return tuple(Action(label, each, value) for each in named for label, value in _CHOICES[each])
    if isinstance(fix, str):
        label = {"data.scaling": "Scale by quantiles", "data.split": "Use them as parts"}.get(path, f"Use {fix}")
        return (Action(label, path, fix),)
    if not fix:
        return ()
    old = _names(table, path.partition(".")[2])
    added = Action(_label(path, fix), path, [*old, *(name for name in fix if name not in old)])
    if path != "data.dequantize" or "auto" in fix:
        return (added,)
    every = (Action("Dequantize all", path, ["auto"]),) if several else ()
    if _names(table, "columns"):
        return (added, *every)
    condition = Action("Use as condition", "data.context", [*_names(table, "context"), *fix])
    return (added, *every, condition)


def _label(path: str, fix: Sequence[str]) -> str:
    names = plain(", ".join(fix), _LONGEST)
    if path == "data.dequantize":
        return "Dequantize all" if "auto" in fix else f"Dequantize {names}"
    return f"Treat {names} as missing" if path == "data.missing_texts" else f"Use {names}"


def _go_to(path: str) -> Action:
    title = table_titles().get(path.partition(".")[2], "the setting")
    return Action(f"Go to {title[0].lower()}{title[1:]}", path)


def _names(table: Mapping[str, Any], key: str) -> list[str]:
    value = table.get(key, [])
    return [str(name) for name in value] if isinstance(value, list) else []
