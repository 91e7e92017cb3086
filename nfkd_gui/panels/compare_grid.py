"""Grid: the runs over two of the settings that differ, each with its figure or its progress."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PySide6.QtWidgets import QVBoxLayout, QWidget

from nfkd.config.run_filter import Value
from nfkd_gui.model.chosen_runs import ChosenRuns
from nfkd_gui.model.compare import CompareModel, RunGroup
from nfkd_gui.model.compare_figures import MEASURES, Figure, costs_of, known_figures, measures_of
from nfkd_gui.model.csv_files import Table
from nfkd_gui.model.run_groups import likelihood_unit, same_data
from nfkd_gui.model.setting_names import by_importance, differing_settings, format_setting, setting_title
from nfkd_gui.model.studio import Studio
from nfkd_gui.model.value_grid import GridCell, ValueGrid, value_grid
from nfkd_gui.panels.compare_base import ComparePanel
from nfkd_gui.panels.compare_choices import fill_figures, fill_settings
from nfkd_gui.plotting.value_grid import ValueGridView
from nfkd_gui.theme import set_space
from nfkd_gui.widgets.caption import Caption

_WIDEST = 150  # combo box
_MISSING = "Runs whose settings differ, such as those of a sweep, will be shown here as a grid."
_LISTED = 8  # runs in a tooltip


class GridPanel(ComparePanel):
    """Shows a cell for each pair of values of two settings, for the runs of one data set."""

    title = "Grid"
    name = "compare.grid"

    def __init__(self, studio: Studio, model: CompareModel, chosen: ChosenRuns, parent: QWidget | None = None) -> None:
        super().__init__(studio, model, chosen, parent)
        self._figure = MEASURES[0]
        self.across = self.choice("across", "Columns", "The setting of the columns.", _WIDEST)
        self.down = self.choice("down", "Rows", "The setting of the rows.", _WIDEST)
        self.measure = self.choice("measure", "Figure", "What the cells show.", _WIDEST)
        self.tools += [self.across, self.down, self.measure]
        self.view = ValueGridView(self.content)
        self.view.setObjectName("compare.grid.view")
        self.view.setAccessibleName("Runs over two settings")
        self.view.clicked.connect(self._toggle)
        self.view.tip_of = self._tip
        self.note = Caption(parent=self.content)
        self.note.setObjectName("compare.grid.note")
        column = QVBoxLayout(self.content)
        set_space(column, 4, 12, 4, 12, 6)
        column.addWidget(self.view, 1)
        column.addWidget(self.note)
        studio.progressed.connect(self._on_progress)

    def _on_progress(self, _progress: object) -> None:
        self.mark_dirty()

    def _toggle(self, keys: tuple[str, ...]) -> None:
        chosen = self.model.chosen
        inside = all(key in chosen for key in keys)
        rest = [key for key in chosen if key not in keys]
        self.model.choose(rest if inside else [*rest, *keys])

    # --- what is shown --------------------------------------------------------------------------------------------

    def groups(self) -> Sequence[RunGroup]:
        """Return the groups of the data set that most of the chosen runs have; of all, if none is chosen."""
        return same_data(self.model.groups, self.model.chosen_groups())

    def _settings(self, groups: Sequence[RunGroup]) -> list[str]:
        every = len(groups) == len(self.model.groups)
        found = self.model.settings() if every else differing_settings([group.values for group in groups])
        tried = [name for name, values in self._plan().items() if len(values) > 1]
        return by_importance(list(dict.fromkeys([*found, *tried])))

    def _plan(self) -> Mapping[str, Sequence[Value]]:
        """Return the values that the sweep in the shown folder tries; none if it was not started here."""
        folder = str(self.studio.listed_folder / self.model.folder) if self.model.folder else ""
        return self.studio.queue.plans.get(folder, {})

    def missing(self) -> str:
        return "" if self._settings(self.groups()) else _MISSING

    def grid(self) -> tuple[ValueGrid, Figure]:
        """Return the grid of the shown groups over the chosen settings, and its figure."""
        groups = self.groups()
        settings = self._settings(groups)
        across = fill_settings(self.across, settings, 0)
        down = fill_settings(self.down, ["", *(name for name in settings if name != across)], 1)
        every = len(groups) == len(self.model.groups)
        known = self.model.figures() if every else known_figures(group.values for group in groups)
        figure = fill_figures(self.measure, [*measures_of(known), *costs_of(known)] or [MEASURES[0]])
        fractions = {run: progress.fraction for run, progress in self.studio.progress.items()}
        return value_grid(groups, across, down, figure, fractions, self._plan()), figure

    def draw(self) -> None:
        grid, figure = self.grid()
        self._figure = figure
        across, down = str(self.across.currentData()), str(self.down.currentData())
        chosen = self.colours()
        self.view.show_grid(
            grid,
            shares=grid.shares(larger=figure.larger),
            titles=(setting_title(across), setting_title(down) if down else ""),
            heads=(list(map(format_setting, grid.columns)), list(map(format_setting, grid.rows))),
            texts={place: figure.form(cell.value) for place, cell in grid.cells.items() if math.isfinite(cell.value)},
            colours={place: chosen[key] for place, cell in grid.cells.items() for key in cell.keys if key in chosen},
            legend=self._legend(figure),
        )
        self.note.show_texts(self._notes(grid, {across, down}))

    def _legend(self, figure: Figure) -> str:
        unit = figure.unit if figure.unit is not None else likelihood_unit(self.groups())
        unit = "" if unit == "%" else unit  # the numbers have it
        return f"{figure.label or figure.title}{f' ({unit})' if unit else ''}"

    def _notes(self, grid: ValueGrid, shown: set[str]) -> list[str]:
        """Return what is told below the grid, from long to short: progress, means, and runs that are left out."""
        failed = f", {grid.failed} failed" if grid.failed else ""
        progress = f"{grid.ended} of {grid.runs} runs ended{failed}"
        counts = [cell.measured for cell in grid.cells.values() if cell.measured]
        span = f"{min(counts)} to {max(counts)}" if len(set(counts)) > 1 else f"{max(counts, default=0)}"
        means = f"means over {span} runs" if max(counts, default=0) > 1 else ""
        others = [setting_title(name) for name in self._settings(self.groups()) if name not in shown]
        long_means = f"{means}, which differ in {', '.join(others)}" if means and others else means
        left = len(self.model.groups) - len(self.groups())
        rest = f"{left} of other data left out" if left else ""
        texts = [[progress, long_means, rest], [progress, means, rest], [progress, means], [progress]]
        return ["; ".join(part for part in parts if part) for parts in texts]

    def _tip(self, cell: GridCell) -> str:
        groups = [group for key in cell.keys if (group := self.model.group_of(key)) is not None]
        lines = [_describe(group, self._figure) for group in groups[:_LISTED]]
        more = [f"and {len(groups) - _LISTED} more"] if len(groups) > _LISTED else []
        return "\n".join([*lines, *more]) or "No run yet."

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


def _describe(group: RunGroup, figure: Figure) -> str:
    value = figure.of(group.values)
    unit = figure.unit if figure.unit is not None else str(group.values.get("unit") or "")
    shown = f", {figure.title} {figure.form(value)}{f' {unit}' if unit and unit != '%' else ''}"
    return f"{group.name}: {group.rows[0].state}{shown if math.isfinite(value) else ''}"
