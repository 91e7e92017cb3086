"""The panels of Compare below the table: three side by side, the others as tabs behind them."""

from __future__ import annotations

import itertools

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QWidget

from nfkd_gui.model.chosen_runs import ChosenRuns
from nfkd_gui.model.compare import CompareModel
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.compare_base import ComparePanel
from nfkd_gui.panels.compare_curves import RunCurvesPanel
from nfkd_gui.panels.compare_differences import DifferencesPanel
from nfkd_gui.panels.compare_matching import RunMatchingPanel
from nfkd_gui.panels.compare_parallel import ParallelPanel
from nfkd_gui.panels.compare_samples import RunSamplesPanel
from nfkd_gui.panels.compare_tradeoff import TradeOffPanel
from nfkd_gui.widgets.panel_dock import PanelDock
from nfkd_gui.widgets.workspace import Workspace

COLUMNS: tuple[tuple[int, tuple[type[ComparePanel], ...]], ...] = (
    (606, (ParallelPanel, RunCurvesPanel)),
    (474, (TradeOffPanel, RunMatchingPanel)),
    (488, (DifferencesPanel, RunSamplesPanel)),
)
"""Width of each column, and its panels: the first is in front at first."""


class ComparePanels(Workspace):
    """Shows what differs between the chosen runs.

    Attributes
    ----------
    panels
        By their names, without ``compare.``.
    """

    filled = Signal(bool)
    """A panel was enlarged and wants the room of the table, or was made small again."""

    def __init__(self, studio: Studio, model: CompareModel, parent: QWidget | None = None) -> None:
        super().__init__("compare.panels", parent)
        self.chosen = ChosenRuns(studio, model, self)
        self.panels: dict[str, ComparePanel] = {}
        for _, kinds in COLUMNS:
            for kind in kinds:
                self._add_panel(kind(studio, model, self.chosen, self))

    def _add_panel(self, panel: ComparePanel) -> None:
        dock = PanelDock(panel.name, panel.title, panel, self, scrolls=False)
        dock.head.add(*panel.tools)
        panel.remarked.connect(dock.head.remark.setText)
        dock.add_expand_button()
        dock.expanded.connect(lambda wide, dock=dock: self.expand(dock) if wide else self.shrink())
        dock.toggle.triggered.connect(dock.raise_)
        self.add(dock, Qt.DockWidgetArea.TopDockWidgetArea)
        self.panels[panel.name.removeprefix("compare.")] = panel

    def dock_of(self, kind: type[ComparePanel]) -> PanelDock:
        """Return the dock of a panel."""
        return self.docks[kind.name]

    def expand(self, dock: PanelDock) -> None:
        super().expand(dock)
        self.filled.emit(True)

    def shrink(self) -> None:
        super().shrink()
        self.filled.emit(False)

    def keep_first_layout(self) -> None:
        columns = [(width, [self.dock_of(kind) for kind in kinds]) for width, kinds in COLUMNS]
        fronts = [docks[0] for _, docks in columns]
        for left, right in itertools.pairwise(fronts):
            self.splitDockWidget(left, right, Qt.Orientation.Horizontal)
        for (_, docks), front in zip(columns, fronts, strict=True):
            for dock in docks[1:]:
                self.tabifyDockWidget(front, dock)
            front.raise_()
        self.resizeDocks(fronts, [width for width, _ in columns], Qt.Orientation.Horizontal)
        super().keep_first_layout()
