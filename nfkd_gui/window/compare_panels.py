"""The panels of Compare below the table: three side by side, the others as tabs behind them."""

from __future__ import annotations

import itertools

from PySide6.QtCore import Qt

from nfkd_gui.model.chosen_runs import ChosenRuns
from nfkd_gui.model.compare import CompareModel
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.compare_base import ComparePanel
from nfkd_gui.panels.compare_curves import RunCurvesPanel
from nfkd_gui.panels.compare_differences import DifferencesPanel
from nfkd_gui.panels.compare_grid import GridPanel
from nfkd_gui.panels.compare_matching import RunMatchingPanel
from nfkd_gui.panels.compare_parallel import ParallelPanel
from nfkd_gui.panels.compare_samples import RunSamplesPanel
from nfkd_gui.panels.compare_tradeoff import TradeOffPanel
from nfkd_gui.theme import scaled
from nfkd_gui.widgets.panel_dock import PanelDock
from nfkd_gui.widgets.workspace import Workspace

COLUMNS: tuple[tuple[int, tuple[type[ComparePanel], ...]], ...] = (
    (556, (ParallelPanel, GridPanel, RunCurvesPanel)),
    (502, (TradeOffPanel, RunMatchingPanel)),
    (510, (DifferencesPanel, RunSamplesPanel)),
)
"""Width of each column, and its panels: the first is in front at first."""
_HEIGHT, _LOWEST = 436, 180
"""Height of the panels at first, and their least height."""


def add_compare_panels(workspace: Workspace, studio: Studio, model: CompareModel) -> None:
    """Add the panels that compare the chosen runs at the bottom of a workspace; `arrange_compare_panels` follows."""
    chosen = ChosenRuns(studio, model, workspace)
    for _, kinds in COLUMNS:
        for kind in kinds:
            panel = kind(studio, model, chosen, workspace)
            dock = PanelDock(panel.name, panel.title, panel, workspace, scrolls=False)
            dock.head.add(*panel.tools)
            panel.remarked.connect(dock.head.remark.setText)
            dock.add_expand_button()
            dock.visibilityChanged.connect(dock.setEnabled)  # the keyboard would reach what is behind another tab
            dock.expanded.connect(lambda wide, dock=dock: workspace.expand(dock) if wide else workspace.shrink())
            workspace.add(dock, Qt.DockWidgetArea.BottomDockWidgetArea, _HEIGHT, _LOWEST)


def arrange_compare_panels(workspace: Workspace) -> None:
    """Put the panels side by side and into tabs, for the first layout."""
    columns = [[workspace.docks[kind.name] for kind in kinds] for _, kinds in COLUMNS]
    fronts = [docks[0] for docks in columns]
    for left, right in itertools.pairwise(fronts):
        workspace.splitDockWidget(left, right, Qt.Orientation.Horizontal)
    for docks in columns:
        for dock in docks[1:]:
            workspace.tabifyDockWidget(docks[0], dock)
        docks[0].raise_()
    workspace.resizeDocks(fronts, [scaled(width) for width, _ in COLUMNS], Qt.Orientation.Horizontal)
