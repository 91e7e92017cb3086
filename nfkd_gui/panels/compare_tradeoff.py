"""Trade-off: how good students are against what they cost, with the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from nfkd_gui.model.chosen_runs import ChosenRuns
from nfkd_gui.model.compare import CompareModel, RunGroup
from nfkd_gui.model.compare_figures import Figure, Flow, costs_of, measures_of
from nfkd_gui.model.csv_files import Table
from nfkd_gui.model.run_groups import likelihood_unit, same_data
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.compare_base import ComparePanel
from nfkd_gui.panels.compare_choices import fill_figures
from nfkd_gui.plotting.tradeoff import TradeOffPlot, TradePoint
from nfkd_gui.theme import scaled, set_space
from nfkd_gui.widgets.caption import Caption
from nfkd_gui.widgets.labels import PlainLabel

_WIDE = 430
"""Width of the panel from which the word between the choices is shown."""
_FLOWS: tuple[Flow, ...] = ("student", "baseline", "teacher")


class TradeOffPanel(ComparePanel):
    """Shows each group as a point, its baseline as a square and its teacher as a star."""

    title = "Trade-off"
    name = "compare.tradeoff"

    def __init__(self, studio: Studio, model: CompareModel, chosen: ChosenRuns, parent: QWidget | None = None) -> None:
        super().__init__(studio, model, chosen, parent)
        self.measure = self.choice("measure", "Measure", "How good a student is.")
        self.cost = self.choice("cost", "Cost", "What a student costs.")
        self._against = PlainLabel("against", self)
        self.tools += [self.measure, self._against, self.cost]
        self.plot = TradeOffPlot(self.content)
        self.plot.setObjectName("compare.tradeoff.plot")
        self.plot.setAccessibleName("Quality of students against their cost")
        self.plot.chosen.connect(model.choose)
        self.plot.toggled.connect(model.toggle)
        self.note = Caption(parent=self.content)
        self.note.setObjectName("compare.tradeoff.note")
        column = QVBoxLayout(self.content)
        set_space(column, 2, 4, 8, 12, 6)
        column.addWidget(self.plot, 1)
        foot = QVBoxLayout()
        set_space(foot, 0, 8, 0, 0, 0)
        foot.addWidget(self.note)
        column.addLayout(foot)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._against.setVisible(self.measure.isVisible() and self.has_room(self._against))

    def has_room(self, tool: QWidget) -> bool:
        return tool is not self._against or self.width() >= scaled(_WIDE)

    # --- what is shown --------------------------------------------------------------------------------------------

    def _known(self) -> tuple[list[Figure], list[Figure]]:
        known = self.model.figures()
        return measures_of(known), costs_of(known)

    def missing(self) -> str:
        measures, costs = self._known()
        if measures and costs:
            return ""
        return "Test figures and costs of the runs in the table will be shown here, when their students are trained."

    def chosen_figures(self) -> tuple[Figure, Figure]:
        """Return the shown measure and cost: those that the user has chosen, if the runs have them."""
        measures, costs = self._known()
        return fill_figures(self.measure, measures), fill_figures(self.cost, costs)

    def draw(self) -> None:
        measure, cost = self.chosen_figures()
        groups, unit = self._comparable(measure)
        data = {str(group.values.get("data")) for group in groups}
        points = self.points(groups, measure, cost)
        self.plot.label("left", measure.label or measure.title, unit)
        self.plot.label("bottom", cost.label or cost.title, cost.unit or "")
        self.plot.show_points(points, larger_x=cost.larger, larger_y=measure.larger, front=len(data) == 1)
        left = len(self.model.groups) - len(groups)
        notes = [f"{left} of other data left out"] if left else []
        notes += [f"{len(data)} data sets, so no common front"] if len(data) > 1 else []
        self.note.show_texts(["; ".join(notes)])

    def _comparable(self, measure: Figure) -> tuple[Sequence[RunGroup], str]:
        """Return the groups whose values have one scale, and its unit; likelihoods: those of `same_data`."""
        if measure.unit is not None:
            return self.model.groups, measure.unit
        groups = same_data(self.model.groups, self.model.chosen_groups())
        return groups, likelihood_unit(groups)

    def points(self, groups: Sequence[RunGroup], measure: Figure, cost: Figure) -> list[TradePoint]:
        """Return the students, baselines and teachers of groups; equal baselines and teachers are shown once."""
        found: dict[object, TradePoint] = {}
        for point in self._all_points(groups, measure, cost):
            key = point.key if point.kind == "run" else (point.kind, point.x, point.y)
            found.setdefault(key, point)
        named = set[str]()
        points = sorted(found.values(), key=lambda point: (point.kind == "run", bool(point.colour)))
        result = []
        for point in points:
            first = point.kind != "run" and point.kind not in named
            named.add(point.kind)
            label = point.kind.title() if first else point.label if point.colour else ""
            result.append(replace(point, label=label))
        return result

    def _all_points(self, groups: Sequence[RunGroup], measure: Figure, cost: Figure) -> Iterator[TradePoint]:
        colours = self.colours()
        for group in groups:
            colour = colours.get(group.key, "")
            for flow in _FLOWS:
                x, y = cost.of(group.values, flow), measure.of(group.values, flow)
                spread = group.deviations.get(measure.key(flow), math.nan) if flow == "student" else math.nan
                what = group.name if flow == "student" else f"{flow.title()} of {group.name}"
                text = f"{what}\n{measure.title}: {measure.form(y)}\n{cost.title}: {cost.form(x)}"
                kind = "run" if flow == "student" else flow
                own = colour if flow == "student" else ""
                factor = measure.factor
                yield TradePoint(group.key, text, x, factor * y, factor * spread, kind, own, group.name)

    # --- for the menu ---------------------------------------------------------------------------------------------

    def restyle(self) -> None:
        self.plot.restyle()

    def drawing(self) -> QWidget:
        return self.plot

    def numbers(self) -> dict[str, Table]:
        if self.missing():
            return {}
        measure, cost = self.chosen_figures()
        points = self._all_points(self._comparable(measure)[0], measure, cost)
        rows = [
            [group.name, point.kind, point.x, point.y, point.spread]
            for point in points
            if (group := self.model.group_of(point.key)) is not None and math.isfinite(point.x + point.y)
        ]
        names = ["run", "flow", cost.key().removeprefix("student_"), measure.key().removeprefix("student_")]
        return {"Points": Table([*names, "standard deviation over seeds"], rows)}
