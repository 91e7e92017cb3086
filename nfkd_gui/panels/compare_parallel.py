"""Settings and results: parallel coordinates of the groups in the table, whose brushes choose groups."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QToolButton, QVBoxLayout, QWidget

from nfkd.config.run_filter import Value
from nfkd_gui.model.chosen_runs import ChosenRuns
from nfkd_gui.model.compare import CompareModel, RunGroup
from nfkd_gui.model.compare_figures import figure_of
from nfkd_gui.model.csv_files import Table
from nfkd_gui.model.setting_names import by_importance, format_setting, setting_title
from nfkd_gui.model.slices import SlicedWork, Steps
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.compare_base import ComparePanel
from nfkd_gui.plotting.parallel import ParallelPlot
from nfkd_gui.plotting.parallel_axes import AxisSource, ParallelAxis, make_axis
from nfkd_gui.theme import set_space
from nfkd_gui.widgets.icons import icon

_SETTINGS = 4
"""Settings that have an axis at first."""
_FIRST = ("student_samples_per_second", "student_test", "gap_closed", "student_fd")
"""Results that have an axis at first."""


class ParallelPanel(ComparePanel):
    """Draws a line for each group across settings and results; smaller is higher where smaller is better."""

    title = "Settings and results"
    name = "compare.parallel"

    def __init__(self, studio: Studio, model: CompareModel, chosen: ChosenRuns, parent: QWidget | None = None) -> None:
        super().__init__(studio, model, chosen, parent)
        self.plot = ParallelPlot(self.content)
        self.plot.setObjectName("compare.parallel.plot")
        self.plot.brushed.connect(self._choose)
        self.plot.toggled.connect(self._toggle)
        self.plot.reordered.connect(self._keep_order)
        column = QVBoxLayout(self.content)
        set_space(column, 0, 4, 12, 4, 8)
        column.addWidget(self.plot)
        self._groups: list[RunGroup] = []
        self._wanted: list[str] | None = None
        """The axes that the user has chosen, in order; None for the proposed ones."""
        self._own_choice: list[str] | None = None
        """What the brushes chose last."""
        self._shown: object = None
        self._work = SlicedWork(self)
        self._menu = QMenu(self)
        self._menu.setObjectName("compare.parallel.axes.menu")
        self._menu.aboutToShow.connect(self._fill_menu)
        self._menu.triggered.connect(self._show_axis)
        self.choose_axes = self._axes_button()
        self.tools.append(self.choose_axes)

    def _axes_button(self) -> QToolButton:
        button = QToolButton(self)
        button.setObjectName("compare.parallel.axes")
        button.setText("Axes")
        button.setAccessibleName("Axes")
        button.setToolTip("Choose which settings and results have an axis.")
        button.setProperty("flat", True)
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        button.setMenu(self._menu)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        button.setIcon(icon("choose"))
        return button

    # --- axes -----------------------------------------------------------------------------------------------------

    def _results(self) -> list[str]:
        return [figure.key() for figure in self.model.figures()]

    def axes(self) -> list[str]:
        """Return the names of the axes that are shown, in order."""
        settings, results = self.model.settings(), self._results()
        known = {*settings, *results}
        if self._wanted is not None and (kept := [name for name in self._wanted if name in known]):
            return kept
        first = by_importance(settings)[:_SETTINGS]
        likelihood = "student_test" if "gap_closed" not in results else ""
        wanted = [name for name in _FIRST if name in results and (name != "student_test" or likelihood)]
        return [*first, *wanted]

    def _fill_menu(self) -> None:
        shown = set(self.axes())
        self._menu.clear()
        for heading, names in (("Settings that differ", self.model.settings()), ("Results", self._results())):
            self._menu.addSection(heading)
            for name in names:
                action = self._menu.addAction(_title(name).replace("&", "&&"))
                action.setObjectName(f"compare.parallel.axis.{name}")
                action.setCheckable(True)
                action.setChecked(name in shown)
                action.setData(name)

    def _show_axis(self, action: QAction) -> None:
        """Add or remove the axis of an entry of the menu."""
        axes = [axis for axis in self.axes() if axis != action.data()]
        self._wanted = [*axes, action.data()] if action.isChecked() else axes
        self.mark_dirty()

    def _propose(self) -> None:
        self._wanted = None
        self.mark_dirty()

    def _keep_order(self, names: list[str]) -> None:
        self._wanted = names
        self.mark_dirty()

    # --- the choice -----------------------------------------------------------------------------------------------

    def _choose(self) -> None:
        """Choose the groups that pass the brushes; none without a brush."""
        passing = self.plot.passing() if self.plot.brushes else []
        self._own_choice = [self._groups[line].key for line in passing]
        self.model.choose(self._own_choice)

    def _toggle(self, line: int) -> None:
        self.model.toggle(self._groups[line].key)

    # --- drawing --------------------------------------------------------------------------------------------------

    def missing(self) -> str:
        if not self.model.groups:
            return "The settings and results of the runs in the table will be shown here, a line for each."
        return "" if self.axes() else "The runs in the table have the same settings, and no results yet."

    def draw(self) -> None:
        if self._own_choice is not None and set(self._own_choice) != set(self.model.chosen):
            self._own_choice = None  # another view has chosen
            self.plot.clear_brushes()
        names, groups = self.axes(), self.model.groups
        shown = names, [id(group) for group in groups]
        if shown != self._shown:
            self._shown = shown
            self._work.start(self._make_axes(names, groups), self._show_lines)
        elif not self._work.active:
            self.plot.show_chosen(self._colours_of_lines())
        self.remarked.emit("a brush selects in every view")

    def _make_axes(self, names: list[str], groups: list[RunGroup]) -> Steps[tuple[list[RunGroup], list[ParallelAxis]]]:
        axes = list[ParallelAxis]()
        for name in names:
            source = self._source(name, groups)
            yield
            axes.append(make_axis(source))
            yield
        return groups, axes

    def _show_lines(self, made: tuple[list[RunGroup], list[ParallelAxis]]) -> None:
        self._groups, axes = made
        self.plot.show_lines(axes, [group.name for group in self._groups], self._colours_of_lines())

    def _colours_of_lines(self) -> dict[int, str]:
        """Return the colours of the lines of chosen groups, that of the first chosen on top."""
        numbers = {group.key: number for number, group in enumerate(self._groups)}
        chosen = [(numbers[key], colour) for key, colour in self.colours().items() if key in numbers]
        return dict(reversed(chosen))

    def _source(self, name: str, groups: list[RunGroup]) -> AxisSource:
        values = [group.values.get(name) for group in groups]
        figure = figure_of(name)
        if figure is None:
            return AxisSource(name, _title(name), values, format_setting)

        def form(value: Value) -> str:
            return figure.form(float(value)) if isinstance(value, (int, float)) else "–"

        return AxisSource(name, figure.title, values, form, flipped=not figure.larger)

    def restyle(self) -> None:
        self.plot.restyle()
        self.choose_axes.setIcon(icon("choose"))

    def options(self) -> list[QAction]:
        action = QAction("Proposed axes", self)
        action.setObjectName("compare.parallel.propose")
        action.setToolTip("Show the axes that are shown without a choice of yours.")
        action.setEnabled(self._wanted is not None)
        action.triggered.connect(self._propose)
        return [action]

    def drawing(self) -> QWidget:
        return self.plot

    def numbers(self) -> dict[str, Table]:
        names = self.axes()
        if not names or not self.model.groups:
            return {}
        rows = [
            [group.name, group.key in self.model.chosen, *(group.values.get(name) for name in names)]
            for group in self.model.groups
        ]
        return {"Lines": Table(["run", "chosen", *names], rows)}


def _title(name: str) -> str:
    figure = figure_of(name)
    return setting_title(name) if figure is None else figure.title
