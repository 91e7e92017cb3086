"""The list of engines in the preferences."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from nfkd.remote.hosts import EngineHost
from nfkd.text import plain
from nfkd_gui.model.machines import THIS_MACHINE
from nfkd_gui.model.studio import Studio
from nfkd_gui.theme import limit_size, set_space
from nfkd_gui.widgets.labels import FittedLabel, tip
from nfkd_gui.window.engine_dialog import EngineDialog

_COLUMNS = ("Name", "Host", "Folder of runs")
_LONGEST = 80
_ABOUT = (
    "An engine on another machine is reached over ssh. It trains and keeps its runs there; this window shows them. "
    "Choose the engine in the header or in the menu Tools."
)


class EnginesPage(QWidget):
    """Lists the engines, and adds, changes and removes those on other machines.

    Attributes
    ----------
    hosts
        The engines on other machines, as the user left them.
    renamed
        The new name of each engine that was renamed.
    """

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("preferences.engines")
        self._studio = studio
        self.hosts = list(studio.machines.hosts)
        self.renamed: dict[str, str] = {}
        self._table = QTableWidget(0, len(_COLUMNS), self)
        self._table.setObjectName("engines.table")
        self._table.setAccessibleName("Engines")
        self._table.setHorizontalHeaderLabels(_COLUMNS)
        self._table.verticalHeader().hide()
        header = self._table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        header.setHighlightSections(False)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self._table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self._table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self._table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self._table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self._table.setShowGrid(False)
        self._table.setTabKeyNavigation(False)
        self._table.itemSelectionChanged.connect(self._enable)
        self._table.itemDoubleClicked.connect(lambda _item: self.edit())
        limit_size(self._table, least=(0, 160))
        self._add = self._button("add", "&Add …", "Add an engine on another machine.")
        self._edit = self._button("edit", "&Edit …", "Change the selected engine, or test the connection.")
        self._remove = self._button("remove", "&Remove", "Remove the selected engine from the list; its runs stay.")
        self._add.clicked.connect(self.add)
        self._edit.clicked.connect(self.edit)
        self._remove.clicked.connect(self.remove)
        self._lay_out()
        self._fill(0)

    def _button(self, name: str, text: str, help_: str) -> QPushButton:
        button = QPushButton(text, self)
        button.setObjectName(f"engines.{name}")
        button.setToolTip(help_)
        return button

    def _lay_out(self) -> None:
        buttons = QVBoxLayout()
        set_space(buttons, 8)
        for button in (self._add, self._edit, self._remove):
            buttons.addWidget(button)
        buttons.addStretch(1)
        line = QHBoxLayout()
        set_space(line, 8)
        line.addWidget(self._table, 1)
        line.addLayout(buttons)
        column = QVBoxLayout(self)
        set_space(column, 12, 0, 12, 0, 0)
        column.addWidget(FittedLabel(_ABOUT, parent=self))
        if self._studio.machines.problem:
            column.addWidget(FittedLabel(self._studio.machines.problem, "error", self))
        column.addLayout(line, 1)

    def _fill(self, row: int) -> None:
        first = (THIS_MACHINE, "", self._studio.preferences.runs_folder)
        rows = [first, *((host.name, host.host, host.runs_folder) for host in self.hosts)]
        self._table.setRowCount(len(rows))
        for number, texts in enumerate(rows):
            for column, text in enumerate(texts):
                item = QTableWidgetItem(plain(text, _LONGEST))
                item.setToolTip(tip(text))
                self._table.setItem(number, column, item)
        self._table.selectRow(min(row, len(rows) - 1))
        self._enable()

    @property
    def _selected(self) -> int:
        """The index of the selected engine in `hosts`; -1 for this machine."""
        return self._table.currentRow() - 1

    def _enable(self) -> None:
        for button in (self._edit, self._remove):
            button.setEnabled(self._selected >= 0)

    # --- changes --------------------------------------------------------------------------------------------------

    def add(self) -> None:
        """Ask for a new engine."""
        self._ask(None)

    def edit(self) -> None:
        """Change the selected engine."""
        if self._selected >= 0:
            self._ask(self._selected)

    def _ask(self, index: int | None) -> None:
        host = self.hosts[index] if index is not None else None
        taken = [other.name for other in self.hosts if other is not host]
        dialog = EngineDialog(self._studio.machines, host, taken, self)
        dialog.decided.connect(partial(self._take, index))
        dialog.open()

    def _take(self, index: int | None, host: EngineHost) -> None:
        if index is None:
            self.hosts.append(host)
            self._fill(len(self.hosts))
            return
        before = self.hosts[index].name
        if before != host.name:
            first = next((old for old, new in self.renamed.items() if new == before), before)
            self.renamed[first] = host.name
        self.hosts[index] = host
        self._fill(index + 1)

    def remove(self) -> None:
        """Remove the selected engine from the list."""
        if self._selected >= 0:
            index = self._selected
            del self.hosts[index]
            self._fill(index)
