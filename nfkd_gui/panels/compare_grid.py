"""Grid: the runs over two of the settings that differ, each with its figure or its progress."""

from __future__ import annotations

import math

from PySide6.QtWidgets import QVBoxLayout, QWidget

from nfkd_gui.model.chosen_runs import ChosenRuns
from nfkd_gui.model.compare import CompareModel
from nfkd_gui.model.compare_figures import COSTS, MEASURES, Figure, known_figures
from nfkd_gui.model.csv_files import Table
from nfkd_gui.model.setting_names import differing_settings, format_setting, setting_title
from nfkd_gui.model.studio import Studio
from nfkd_gui.model.value_grid import GridCell, ValueGrid, value_grid
from nfkd_gui.panels.compare_base import ComparePanel
from nfkd_gui.panels.compare_choices import fill_figures, fill_settings
from nfkd_gui.plotting.value_grid import ValueGridView
from nfkd_gui.theme import limit_size, set_space
from nfkd_gui.widgets.combo import FittingComboBox

_BOX = 118
_MISSING = "Runs whose settings differ, such as those of a sweep, will be shown here as a grid."
_LISTED = 8  # runs in a tooltip


class GridPanel(ComparePanel):
    """Shows a cell for each pair of values of two settings."""

    title = "Grid"
    name = "compare.grid"

    def __init__(self, studio: Studio, model: CompareModel, chosen: ChosenRuns, parent: QWidget | None = None) -> None:
        super().__init__(studio, model, chosen, parent)
        self.across = self._combo("across", "Columns", "The setting of the columns.")
        self.down = self._combo("down", "Rows", "The setting of the rows.")
        self.measure = self._combo("measure", "Figure", "What the cells show.")
        self.tools += [self.across, self.down, self.measure]
        self.view = ValueGridView(self.content)
        self.view.setObjectName("compare.grid.view")
        self.view.setAccessibleName("Runs over two settings")
        self.view.clicked.connect(self._toggle)
        self.view.tip_of = self._tip
        column = QVBoxLayout(self.content)
        set_space(column, 0, 12, 4, 12, 12)
        column.addWidget(self.view)
        studio.progressed.connect(self._on_progress)

    def _combo(self, name: str, label: str, help_: str) -> FittingComboBox:
        combo = FittingComboBox(self)
        combo.setObjectName(f"compare.grid.{name}")
        combo.setAccessibleName(label)
        combo.setToolTip(help_)
        combo.setProperty("compact", True)
        limit_size(combo, most=(_BOX, 0))
        combo.activated.connect(self.mark_dirty)
        return combo

    def _on_progress(self, _progress: object) -> None:
        self.mark_dirty()

    def _toggle(self, keys: tuple[str, ...]) -> None:
        chosen = self.model.chosen
        inside = all(key in chosen for key in keys)
        rest = [key for key in chosen if key not in keys]
        self.model.choose(rest if inside else [*rest, *keys])

    # --- what is shown --------------------------------------------------------------------------------------------

    def _settings(self) -> list[str]:
        return differing_settings([group.values for group in self.model.groups])

    def missing(self) -> str:
        return "" if self._settings() else _MISSING

    def grid(self) -> tuple[ValueGrid, Figure]:
        """Return the grid of the shown groups over the chosen settings, and its figure."""
        settings = self._settings()
        across = fill_settings(self.across, settings, 0)
        down = fill_settings(self.down, ["", *(name for name in settings if name != across)], 1)
        values = [group.values for group in self.model.groups]
        figures = known_figures((*MEASURES, *COSTS), values) or [MEASURES[0]]
        figure = fill_figures(self.measure, figures)
        fractions = {run: progress.fraction for run, progress in self.studio.progress.items()}
        return value_grid(self.model.groups, across, down, figure, fractions), figure

    def draw(self) -> None:
        grid, figure = self.grid()
        across, down = str(self.across.currentData()), str(self.down.currentData())
        chosen = self.colours()
        self.view.show_grid(
            grid,
            shares=grid.shares(larger=figure.larger),
            titles=(setting_title(across), setting_title(down) if down else ""),
            heads=(list(map(format_setting, grid.columns)), list(map(format_setting, grid.rows))),
            texts={place: figure.form(cell.value) for place, cell in grid.cells.items() if math.isfinite(cell.value)},
            colours={place: chosen[key] for place, cell in grid.cells.items() for key in cell.keys if key in chosen},
        )
        self.remarked.emit(_progress_text(grid))

    def _tip(self, cell: GridCell) -> str:
        groups = [group for key in cell.keys if (group := self.model.group_of(key)) is not None]
        lines = [f"{group.name}: {group.rows[0].state}" for group in groups[:_LISTED]]
        more = [f"and {len(groups) - _LISTED} more"] if len(groups) > _LISTED else []
        return "\n".join([*lines, *more])

    # --- for the menu ---------------------------------------------------------------------------------------------

    def drawing(self) -> QWidget:
        return self.view

    def numbers(self) -> dict[str, Table]:
        if self.missing():
            return {}
        grid, figure = self.grid()
        names = [str(self.across.currentData()), str(self.down.currentData()) or "row", figure.key(), "state"]
        rows = [
            [grid.columns[column], grid.rows[row], cell.value, cell.state]
            for (row, column), cell in sorted(grid.cells.items())
        ]
        return {"Grid": Table(names, rows)}


def _progress_text(grid: ValueGrid) -> str:
    failed = f", {grid.failed} failed" if grid.failed else ""
    return f"{grid.ended} of {grid.runs} runs ended{failed}"
