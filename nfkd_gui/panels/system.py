"""The system panel: what training uses of the machine, and its speed, over the run."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QVBoxLayout, QWidget

from nfkd.protocol.events import CurvePoints, RunEvent, SeedStarted, StageFinished, StageStarted
from nfkd.protocol.records import SYSTEM, CurveInfo
from nfkd.protocol.roles import Role, role_label
from nfkd_gui.model.csv_files import Table, curves_table
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.base import Panel
from nfkd_gui.plotting.line_set import Drawn, LineSet
from nfkd_gui.plotting.lines import decimate
from nfkd_gui.plotting.plots import Plot
from nfkd_gui.theme import role_colour, scaled, set_space, set_type
from nfkd_gui.widgets.caption import Caption
from nfkd_gui.widgets.labels import MarkupLabel

_HEIGHT = 80
_ABOVE, _BEYOND = 1.1, 1.01
"""The axes end this factor after the highest value and the last point."""
_TICK = 10
"""Pixels below a plot without numbers at its x axis."""
_HOUR, _MINUTE = 3600, 60
_FEW = 10
"""Smaller values are written with a decimal."""
_HELP = {
    "cpu": "Processor time of the engine, of all its threads: 100 % is one core.",
    "memory": "Main memory of the engine.",
    "steps_per_second": "Steps of the optimizer in a second; validation and pictures slow it down.",
    "gpu": "Share of the time in which the GPU worked, for any process.",
    "gpu_memory": "Memory of the GPU that is in use, by any process.",
}


class SystemPanel(Panel):
    """Shows a plot for each measured quantity over the time of the shown seed, with a line for each stage."""

    title = "System"
    name = "system"
    placeholder = "CPU, memory, GPU and the speed of the training"
    event_types = (CurvePoints, SeedStarted, StageStarted, StageFinished)
    has_numbers = True

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(studio, parent)
        self.plots: dict[str, Plot] = {}
        self._lines: dict[str, LineSet] = {}
        self._now = Caption("plain", self.content)
        self._now.setObjectName("system.now")
        self._column = QSplitter(Qt.Orientation.Vertical, self.content)
        self._legend = MarkupLabel(self.content)
        self._legend.setObjectName("system.legend")
        self._legend.setWordWrap(True)
        set_type(self._legend, "caption")
        layout = QVBoxLayout(self.content)
        set_space(layout, 4, 12, 8, 8, 8)
        layout.addWidget(self._now)
        layout.addWidget(self._column, 1)
        layout.addWidget(self._legend)

    def on_event(self, event: RunEvent) -> None:
        if isinstance(event, CurvePoints) and not any(name.startswith(SYSTEM) for name in event.curves):
            return
        super().on_event(event)

    def restyle(self) -> None:
        for plot in self.plots.values():
            plot.restyle()

    def has_content(self) -> bool:
        return any(len(self._points(role, info.name)[0]) for role in self._stages() for info in self._infos())

    def reason(self) -> str:
        if self.view is None or self.studio.seed not in self.view.seeds:
            return ""
        if not self._infos():
            return "This run was made before NFKD measured the machine."
        if self.view.row.state == "finished":
            return "The machine is measured once a second; every stage of this run took less."
        return ""

    def _infos(self) -> list[CurveInfo]:
        """Return the curves about the machine."""
        started = self.view.seeds.get(self.studio.seed) if self.view is not None else None
        infos = [info for plan in started.stages for info in plan.curves] if started is not None else []
        return list({info.name: info for info in infos if info.name.startswith(SYSTEM)}.values())

    def _stages(self) -> list[Role]:
        """Return the stages of the shown seed, in their order."""
        started = self.view.seeds.get(self.studio.seed) if self.view is not None else None
        return [plan.stage for plan in started.stages] if started is not None else []

    def _points(self, role: Role, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return times in seconds since the stage started, and values."""
        stage = self.view.stages.get((self.studio.seed, role)) if self.view is not None else None
        curve = stage.curves.get(name) if stage is not None else None
        return (np.empty(0), np.empty(0)) if curve is None else (curve.times, curve.values)

    def _starts(self) -> dict[Role, float]:
        """Return when each stage started, in seconds of training since the seed started."""
        starts, now = dict[Role, float](), 0.0
        for role in self._stages():
            starts[role] = now
            stage = self.view.stages.get((self.studio.seed, role)) if self.view is not None else None
            curves = stage.curves.values() if stage is not None else ()
            now += max((float(curve.times[-1]) for curve in curves if len(curve)), default=0.0)
        return starts

    # --- drawing --------------------------------------------------------------------------------------------------

    def draw(self) -> None:
        starts = self._starts()
        infos = [info for info in self._infos() if any(len(self._points(role, info.name)[0]) for role in starts)]
        self._make_plots(infos)
        ends = [start + float(times[-1]) for role, start in starts.items()
                for info in infos if len(times := self._points(role, info.name)[0])]  # fmt: skip
        scale, unit = _time_unit(max(ends))
        for number, info in enumerate(infos):
            plot = self.plots[info.name]
            lines = {role: self._line(role, info.name, start, scale) for role, start in starts.items()}
            lines = {role: line for role, line in lines.items() if len(line.x)}
            self._lines[info.name].show(lines)
            highest = max(float(line.y.max()) for line in lines.values())
            plot.canvas.getViewBox().setRange(
                xRange=(0, _BEYOND * max(ends) / scale), yRange=(0, _ABOVE * highest or 1.0), padding=0
            )
            last = number == len(infos) - 1
            plot.canvas.getAxis("bottom").setStyle(showValues=last)
            plot.canvas.getAxis("bottom").setHeight(None if last else scaled(_TICK))
            plot.label("bottom", "Time in training" if last else "", unit if last else "")
        self._describe(infos)

    def _line(self, role: Role, name: str, start: float, scale: float) -> Drawn:
        times, values = self._points(role, name)
        x, y = decimate((start + times) / scale, values)
        single = len(x) == 1  # a line of one point cannot be seen
        return Drawn(x, y, role_colour(role), points=5 if single else 0)

    def _make_plots(self, infos: list[CurveInfo]) -> None:
        wanted = [info.name for info in infos]
        if list(self.plots) == wanted:
            return
        for plot in self.plots.values():
            plot.setParent(None)
            plot.close()
        self.plots, self._lines = {}, {}
        for info in infos:
            plot = self.plots[info.name] = Plot(self._column)
            plot.setObjectName(f"system.{info.name.removeprefix(SYSTEM)}")
            plot.least = (96, _HEIGHT)
            plot.restyle()
            plot.setMouseEnabled(x=False, y=False)
            plot.put_grid_behind()
            plot.label("left", info.label, info.unit, info.label)
            plot.setToolTip(_HELP.get(info.name.removeprefix(SYSTEM), ""))
            plot.setAccessibleName(f"{info.label} over the run")
            self._lines[info.name] = LineSet(plot)
            self._column.addWidget(plot)

    def _describe(self, infos: list[CurveInfo]) -> None:
        """Write the newest values above the plots, and which colour is which stage below them."""
        texts = []
        for info in infos:
            newest = [values for role in self._stages() if len(values := self._points(role, info.name)[1])][-1][-1]
            digits = 1 if abs(newest) < _FEW else 0
            texts.append(f"{info.label} {newest:,.{digits}f}\u00a0{info.unit}")
        state = "Now" if self.view is not None and self.view.row.state == "running" else "At the end"
        self._now.show_texts([f"{state}: {', '.join(texts[:count])}" for count in range(len(texts), 0, -1)])
        measured = [role for role in self._stages() if any(len(self._points(role, info.name)[0]) for info in infos)]
        named = [f'<span style="color:{role_colour(role)}">{role_label(role)}</span>' for role in measured]
        self._legend.setText(f"Stages one after another: {', '.join(named)}. Means of about a second.")

    # --- for the menu ---------------------------------------------------------------------------------------------

    def numbers(self) -> dict[str, Table]:
        if self.view is None:
            return {}
        return {"System": curves_table(self.view, {info.name for info in self._infos()})}


def _time_unit(seconds: float) -> tuple[float, str]:
    """Return the unit for times up to a length, in seconds and by name."""
    if seconds > 2 * _HOUR:
        return _HOUR, "h"
    return (_MINUTE, "min") if seconds > 5 * _MINUTE else (1.0, "s")
