"""The bar above the table of runs: folder, filter, grouping, and buttons for the selected runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QAction, QResizeEvent
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QMenu, QToolButton, QWidget

from nfkd_gui.model.compare import CompareModel
from nfkd_gui.panels.runs_filter import FilterCell
from nfkd_gui.theme import scaled, set_space
from nfkd_gui.widgets.combo import FittingComboBox
from nfkd_gui.widgets.message_cell import LINE

_ALL = "All folders"
_TOP = "Runs folder"
_ROOM = (760, 820, 960)
"""Widths of the bar from which each button is shown."""


class RunsToolbar(QWidget):
    """Shows and changes folder, filter and grouping of a `CompareModel`."""

    changed = Signal()

    def __init__(
        self,
        compare: CompareModel,
        actions: Mapping[str, QAction],
        buttons: Sequence[str],
        menu: QMenu,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._compare = compare
        self.folder = FittingComboBox(self)
        self.folder.setObjectName("runs.folder")
        self.folder.setAccessibleName("Folder")
        self.folder.setToolTip("Show the runs of one folder below the runs folder.")
        self.folder.activated.connect(self._choose_folder)
        self.filter = FilterCell(compare, self)
        self.filter.filtered.connect(self.changed)
        self.grouped = QCheckBox("Group seeds", self)
        self.grouped.setObjectName("runs.grouped")
        self.grouped.setToolTip("One row for runs that differ only by their seeds, with mean ± standard deviation.")
        self.grouped.setChecked(compare.grouped)
        self.grouped.toggled.connect(self._group)
        line = QHBoxLayout(self)
        set_space(line, 8, 12, 8, 12, 0)
        top = Qt.AlignmentFlag.AlignTop
        line.addWidget(self.folder, 0, top)
        line.addWidget(self.filter, 1)
        self._buttons = [self._button(actions[name]) for name in buttons]
        for widget in (self.grouped, *self._buttons, self._more(menu)):
            cell = QHBoxLayout()
            set_space(cell, 0, 0, 0, 0, LINE)
            cell.addWidget(widget)
            line.addLayout(cell)

    def _button(self, action: QAction) -> QToolButton:
        button = QToolButton(self)
        button.setDefaultAction(action)
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        button.setObjectName(f"{action.objectName()}.button")
        return button

    def _more(self, menu: QMenu) -> QToolButton:
        button = QToolButton(self)
        button.setText("More")
        button.setObjectName("runs.more")
        button.setToolTip("What else can be done with the selected runs.")
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        button.setMenu(menu)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        return button

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        for button, least in zip(self._buttons, _ROOM, strict=True):  # the menu More has them too
            button.setVisible(self.width() >= scaled(least))

    def refresh(self) -> None:
        """List the folders that have runs now."""
        folders, runs = self._compare.folders(), self._compare.run_count
        entries = [(f"{_ALL} ({runs:,})", None)]
        entries += [(f"{folder.replace('/', ' / ') or _TOP} ({count:,})", folder) for folder, count in folders.items()]
        with QSignalBlocker(self.folder):
            if entries != [(self.folder.itemText(n), self.folder.itemData(n)) for n in range(self.folder.count())]:
                self.folder.clear()
                for text, folder in entries:
                    self.folder.addItem(text, folder)
                self.folder.updateGeometry()
            self.folder.setCurrentIndex(max(0, self.folder.findData(self._compare.folder)))
        if self._compare.folder is not None and self._compare.folder not in folders:
            self._compare.show_folder(None)

    def clear(self) -> None:
        """Show all runs again."""
        self.filter.field.clear()
        self._compare.show_folder(None)
        self.refresh()
        self.changed.emit()

    def _choose_folder(self) -> None:
        self._compare.show_folder(self.folder.currentData())
        self.changed.emit()

    def _group(self, grouped: bool) -> None:
        self._compare.group_seeds(grouped=grouped)
        self.changed.emit()
