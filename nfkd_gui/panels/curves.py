"""The curves panel: likelihoods, loss terms, learning rate and gradient norm over the training."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QVBoxLayout, QWidget

from nfkd.protocol.events import CurvePoints, RunEvent, SeedStarted, StageFinished, StageStarted
from nfkd_gui.model.csv_files import Table, curves_table
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.base import Panel
from nfkd_gui.panels.curve_choices import CurveChoices
from nfkd_gui.panels.curve_plot import CurvePlot
from nfkd_gui.panels.curve_traces import MeanCurve
from nfkd_gui.panels.quantities import Quantity, list_quantities
from nfkd_gui.theme import set_space, set_type
from nfkd_gui.widgets.labels import ElidedLabel, WrappedLabel


class CurvesPanel(Panel):
    """Shows one plot per chosen quantity; the choices are in the head."""

    title = "Curves"
    name = "curves"
    placeholder = "The likelihood of teacher, student and baseline, and every term of the loss,"
    event_types = (CurvePoints, SeedStarted, StageStarted, StageFinished)
    has_numbers = True

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(studio, parent)
        self.plots: dict[str, CurvePlot] = {}
        self.choices = CurveChoices(self)
        self.choices.changed.connect(self.mark_dirty)
        self.tools.append(self.choices.tools)
        self._column = QSplitter(Qt.Orientation.Vertical, self.content)
        self._caution = WrappedLabel(
            "Values at or below 0 have no place on a log axis; choose symlog.", "warning", self.content
        )
        self._caution.setObjectName("curves.caution")
        self._caution.hide()
        self._legend = ElidedLabel(parent=self.content)
        self._legend.setObjectName("curves.legend")
        set_type(self._legend, "caption")
        layout = QVBoxLayout(self.content)
        set_space(layout, 4, 12, 8, 8, 8)
        layout.addWidget(self._column, 1)
        layout.addWidget(self._caution)
        layout.addWidget(self._legend)
        self.restyle()

    def restyle(self) -> None:
        self.choices.restyle()
        for plot in self.plots.values():
            plot.restyle()

    def run_changed(self) -> None:
        self.choices.show_roles(self.roles())
        for plot in self.plots.values():
            plot.forget()

    def on_event(self, event: RunEvent) -> None:
        if isinstance(event, StageStarted):
            for plot in self.plots.values():
                plot.restart()
        super().on_event(event)

    def has_content(self) -> bool:
        return self.view is not None and any(len(c) for s in self.view.stages.values() for c in s.curves.values())

    def draw(self) -> None:
        if self.view is None:
            return
        self.choices.show_roles(self.roles())
        plans = [plan for started in self.view.seeds.values() for plan in started.stages]
        self.choices.show_epochs(any(plan.epoch for plan in plans))
        quantities = list_quantities(self.view)
        self.choices.show_quantities(quantities)
        self._make_plots([quantity for quantity in quantities if quantity.name in self.choices.chosen])
        settings = self.choices.settings
        for plot in self.plots.values():
            plot.draw(self.view, self.studio.seed, settings)
        self._caution.setVisible(any(plot.incomplete for plot in self.plots.values()))
        self._legend.setText(self._describe_lines())

    def _describe_lines(self) -> str:
        """Return what the strengths of the lines and the bands mean; only of what is shown."""
        traces = [trace for plot in self.plots.values() for trace in plot.traces]
        weights = {trace.weight for trace in traces}
        means = [trace.curve.seeds for trace in traces if isinstance(trace.curve, MeanCurve)]
        texts = ["Bold: validation. Thin: training."] if "thin" in weights else []
        if means:
            band = "minimum to maximum" if self.choices.settings.band == "range" else "± one standard deviation"
            texts.append(f"Line and band: mean and {band} of {max(means)} seeds.")
        if "live" in weights:
            texts.append("Thin without band: the seed in training.")
        if "faint" in weights:
            texts.append("Faint: other seeds.")
        if traces and self.view is not None and self.view.stride > 1:
            texts.append(f"Long curves: 1 of {self.view.stride:,} points; run.h5 has all.")
        return " ".join(texts)

    def _make_plots(self, quantities: list[Quantity]) -> None:
        wanted = {quantity.name: quantity for quantity in quantities}
        for name in [name for name, plot in self.plots.items() if wanted.get(name) != plot.quantity]:
            plot = self.plots.pop(name)
            plot.setParent(None)
            plot.close()
        even = False
        for index, (name, quantity) in enumerate(wanted.items()):
            if name not in self.plots:
                plot = self.plots[name] = CurvePlot(quantity, self._column)
                plot.pointed.connect(self._point)
                plot.reframed.connect(self.mark_dirty)
                self._column.insertWidget(index, plot)
                even = True
        if even:
            self._column.setSizes([1000] * self._column.count())  # proportions, not pixels

    # --- for the menu ---------------------------------------------------------------------------------------------

    def numbers(self) -> dict[str, Table]:
        if self.view is None or not self.plots:
            return {}
        names = {name for plot in self.plots.values() for name in plot.quantity.curves}
        return {"Curves": curves_table(self.view, names)}

    def _point(self, x: float) -> None:
        for plot in self.plots.values():
            plot.point(x)
