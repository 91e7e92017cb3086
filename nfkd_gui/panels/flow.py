"""The flow panel: how two flows move examples through their layers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QStackedWidget, QVBoxLayout, QWidget

from nfkd.protocol.events import ErrorInfo, MatchingMeasured, SamplesDrawn, StageFinished, StageStarted
from nfkd.protocol.inspection import Origin
from nfkd.protocol.roles import Role
from nfkd_gui.model.csv_files import Table, log_dets_table, plane_table, states_table
from nfkd_gui.model.export_files import Animation, Writer
from nfkd_gui.model.flow_states import FlowStatesModel
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.base import Panel
from nfkd_gui.panels.flow_film import Film
from nfkd_gui.panels.flow_layers import LayersPage
from nfkd_gui.panels.flow_pair import FlowPair
from nfkd_gui.panels.flow_planes import PlanePage
from nfkd_gui.panels.flow_scrubber import LayerScrubber
from nfkd_gui.panels.flow_tools import ExampleTools, PlaneTools, RoleChoice
from nfkd_gui.panels.pictures import draws_ink, has_context
from nfkd_gui.theme import scaled, set_space
from nfkd_gui.widgets.labels import ElidedLabel, ToneLabel

POINTS = 1500
"""Points in the plane."""
_WIDE, _ROLES, _INSPECT = 900, 480, 500
"""Width of the panel from which its head has what the planes draw, the choice of the second flow, and “Inspect”."""


class FlowPanel(Panel):
    """Shows two flows layer by layer: points in the plane for data of two features, else the states of one example."""

    title = "Flow"
    name = "flow"
    placeholder = "How teacher and student move examples through their layers"
    event_types = (SamplesDrawn, StageStarted, StageFinished, MatchingMeasured)
    has_numbers = has_animations = True
    _stop_recording = Signal()

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(studio, parent)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.states = FlowStatesModel(studio, POINTS, self)
        self.pair = FlowPair()
        self._asked: object = None
        self._wanted: tuple[Role, str] | None = None
        self._stale = True
        self._waiting = ToneLabel("Reading the flows …", parent=self.content)
        self._waiting.setObjectName("flow.waiting")
        self._waiting.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._waiting.setWordWrap(True)
        self.pages = QStackedWidget(self.content)
        self.pages.addWidget(self._waiting)
        self._pages: list[PlanePage | LayersPage] = []
        self.message = ElidedLabel(tone="error", parent=self.content)
        self.message.setObjectName("flow.message")
        self.retry = QPushButton("Try again", self.content)
        self.retry.setObjectName("flow.retry")
        self.retry.setToolTip("Ask for the states again.")
        self.retry.clicked.connect(self._try_again)
        self.scrubber = LayerScrubber(self.content)
        line = QHBoxLayout()
        set_space(line, 8)
        for widget in (self.message, self.retry):
            line.addWidget(widget, int(widget is self.message))
            widget.hide()
        column = QVBoxLayout(self.content)
        set_space(column, 8, 12, 8, 12, 8)
        column.addWidget(self.pages, 1)
        column.addLayout(line)
        column.addWidget(self.scrubber)
        self._add_tools()
        self._connect()
        self.restyle()

    def _add_tools(self) -> None:
        self._first = RoleChoice("flow.first", "First flow", "The flow at the left or above.", self)
        self._second = RoleChoice("flow.second", "Second flow", "The flow beside or below the teacher.", self)
        self.plane_tools, self.example_tools = PlaneTools(self), ExampleTools(self)
        self._inspect_entry = QAction("Inspect the example", self)
        self._inspect_entry.setObjectName("flow.inspect_entry")
        self._inspect_entry.setToolTip("Show the example or the probe in the sample inspector.")
        self._inspect_entry.triggered.connect(self._inspect)
        self.tools += [*self.plane_tools.widgets, *self.example_tools.widgets, self._first, self._second]

    def _connect(self) -> None:
        self._first.chosen.connect(self._choose_first)
        self._second.chosen.connect(self._choose_second)
        self.plane_tools.parts_changed.connect(self._show_parts)
        self.plane_tools.grid_changed.connect(self._choose_grid)
        self.example_tools.changed.connect(self.show_example)
        self.example_tools.inspect.clicked.connect(self._inspect)
        self.scrubber.moved.connect(self._go)
        self.states.plane_changed.connect(self._redraw)
        self.states.layers_changed.connect(self._take_layers)
        self.states.failed.connect(self._redraw)
        self.states.refresh_due.connect(self.mark_dirty)
        self.studio.preferences_changed.connect(self._redraw)

    @cached_property
    def planes(self) -> PlanePage:
        """The page for data of two features, made when it is first needed: plots take long to make."""
        page = PlanePage(self.content)
        page.probed.connect(self._probe_state)
        page.probe.placed.connect(self._probe_point)
        page.probe.likely_wanted.connect(self._probe_likely)
        page.probe.random_wanted.connect(self._probe_random)
        page.probe.inspect_wanted.connect(self._inspect)
        self._add_page(page)
        return page

    @cached_property
    def layers(self) -> LayersPage:
        """The page for images and longer vectors, made when it is first needed."""
        page = LayersPage(self.content)
        page.rest_chosen.connect(self._choose_rest)
        page.chain.example_chosen.connect(self._inspect)
        self._add_page(page)
        return page

    def _add_page(self, page: PlanePage | LayersPage) -> None:
        page.chosen.connect(self.scrubber.go)
        self.pages.addWidget(page)
        self._pages.append(page)

    # --- for other panels -----------------------------------------------------------------------------------------

    def show_example(self, origin: Origin) -> None:
        """Show another example; in the plane it becomes the probe."""
        self.states.origin = origin
        self.example_tools.show_origin(origin)
        self.states.ask_layers()

    def show_layer(self, role: Role, layer: str) -> None:
        """Show the state after a layer of a flow, which is shown in place of another one if need be."""
        self._wanted = role, layer
        self.pair.prefer(role)
        self._redraw()

    # --- the panel ------------------------------------------------------------------------------------------------

    @property
    def in_plane(self) -> bool:
        """Whether the flows are drawn in the plane."""
        return len(self.features()) == 2 and self.view is not None and not has_context(self.view.config)

    def has_content(self) -> bool:
        return any((stage := self.stage(role)) is not None and stage.samples is not None for role in self.roles())

    def run_changed(self) -> None:
        self._stop_recording.emit()
        self.states.forget()
        self.scrubber.pause()
        self.states.origin = None
        self._asked = None
        self._stale = True
        for page in self._pages:
            page.forget()

    def restyle(self) -> None:
        for page in self._pages:
            page.restyle()
        self.scrubber.restyle()
        self._stale = True

    def _redraw(self) -> None:
        self._stale = True
        self.mark_dirty()

    def draw(self) -> None:
        self.pair.follow(self.view, self.studio.seed)
        self._first.offer(self.pair.firsts, self.pair.first)
        self._second.offer(self.pair.seconds, self.pair.second)
        self._fit_tools()
        self._ask()
        error = self.states.error
        self.message.setText(f"{error.title}. {error.cause} {error.action}" if error is not None else "")
        for widget in (self.message, self.retry):
            widget.setVisible(error is not None)
        if self._stale:
            self._stale = False
            self._draw_page()
        self._say_matched()

    def _draw_page(self) -> None:
        plane, layers, pair = self.states.plane, self.states.layers, self.pair
        if self.in_plane and plane is not None:
            pair.take({role: flow.names for role, flow in plane.flows.items()})
            self.planes.show_states(plane, pair.roles, pair.columns, pair.captions())
            self.planes.show_probe(layers.flows if layers is not None else {})
            self._show_parts()
            self.pages.setCurrentWidget(self.planes)
            self._place_probe()
        elif not self.in_plane and layers is not None:
            pair.take_states(layers.flows)
            ink = draws_ink(self.studio, self.view)
            self.layers.show_states(
                layers, pair.roles, pair.columns, pair.errors(), pair.error_scale(), ink=ink, rest=self.states.rest
            )
            self.pages.setCurrentWidget(self.layers)
        else:
            self._waiting.setText("Reading the flows …" if self.states.error is None else "")
            self.pages.setCurrentWidget(self._waiting)
        self.scrubber.show_range(pair.columns.last)
        self._go(self.scrubber.column)
        if self._wanted is not None and (column := pair.column_of(*self._wanted)) is not None:
            self._wanted = None
            self.scrubber.go(column)
        self._say_remark()

    def _ask(self) -> None:
        """Ask for the states of newer weights, if the last request is long enough ago."""
        if self.view is None:
            return
        key = (self.view.row.run, self.studio.seed, [self._weights_of(role) for role in self.roles()])
        if key == self._asked or not self.states.may_refresh():
            return
        self._asked = key
        if self.in_plane:
            self.states.ask_plane()
        elif self.states.origin is None:
            self.states.origin = Origin(kind="validation", index=0)
            self.example_tools.show_origin(self.states.origin)
        self.states.ask_layers()

    def _try_again(self) -> None:
        self._asked = self.states.error = None
        self._redraw()

    def _weights_of(self, role: Role) -> tuple[int, bool] | None:
        stage = self.stage(role)
        return None if stage is None or stage.samples is None else (stage.samples.step, stage.samples.final)

    # --- the layer ------------------------------------------------------------------------------------------------

    def _go(self, column: int) -> None:
        page = self.planes if self.in_plane else self.layers
        if page.column != column:
            page.go(column)
        self._say_matched()

    def _say_matched(self) -> None:
        self.scrubber.text.show_texts(self.pair.matched_texts(self.scrubber.column))

    def _say_remark(self) -> None:
        if self.in_plane:
            self.remarked.emit(f"the same {POINTS:,} points of noise, coloured by their angle; newest weights")
        elif self.states.origin is not None:
            self.remarked.emit(f"{self.example_tools.describe(self.states.origin)}, newest weights")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        actions: dict[int, Callable[[], None]] = {
            Qt.Key.Key_Left: self.scrubber.go_back,
            Qt.Key.Key_Right: self.scrubber.go_on,
            Qt.Key.Key_Space: self.scrubber.play.toggle,
        }
        action = actions.get(event.key())
        if action is None or not self.scrubber.play.isEnabled():
            super().keyPressEvent(event)
        else:
            action()

    # --- settings -------------------------------------------------------------------------------------------------

    def _choose_first(self, role: Role) -> None:
        self.pair.first = role
        self._redraw()

    def _choose_second(self, role: Role) -> None:
        self.pair.second = role
        self._redraw()

    def _choose_grid(self, grid: str) -> None:
        self.states.grid = "data" if grid == "data" else "noise"
        self.states.ask_plane()

    def _choose_rest(self, rest: str) -> None:
        self.states.rest = "noise" if rest == "noise" else "mean"
        self.states.ask_layers()

    def _show_parts(self) -> None:
        self.planes.show_parts(**self.plane_tools.parts)

    def _fit_tools(self) -> None:
        plane, wide = self.in_plane, self.width() >= scaled(_WIDE)
        for widget in self.plane_tools.widgets:
            widget.setVisible(plane and wide)
        for widget in self.example_tools.widgets:
            widget.setVisible(not plane)
        if self.width() < scaled(_INSPECT):
            self.example_tools.inspect.hide()
        for choice in (self._first, self._second):
            choice.setVisible(choice.count() > 1 and self.width() >= scaled(_ROLES))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit_tools()
        self._place_probe()

    def options(self) -> list[QAction]:
        self._inspect_entry.setEnabled(self.states.origin is not None)
        return [*(self.plane_tools.actions if self.in_plane else []), self._inspect_entry]

    def _inspect(self) -> None:
        """Show the example, or the probe, in the sample inspector."""
        if self.states.origin is not None:
            self.studio.example_chosen.emit(self.states.origin)

    # --- the probe ------------------------------------------------------------------------------------------------

    def _place_probe(self) -> None:
        """Begin with the most likely point, as soon as there is room for the probe."""
        if self.in_plane and self.states.origin is None and self.planes.has_probe:
            self._probe_likely()

    def _probe_point(self, x: float, y: float) -> None:
        self.show_example(Origin(kind="scaled", values=np.array([x, y], np.float32)))

    def _probe_state(self, role: Role, state: int, x: float, y: float) -> None:
        if self.states.plane is None or not self.planes.has_probe:
            return
        if not state:
            self._probe_point(x, y)
            return
        layer = self.states.plane.flows[role].names[state - 1]
        self.show_example(Origin(kind="scaled", role=role, layer=layer, values=np.array([x, y], np.float32)))

    def _probe_likely(self) -> None:
        """Go to where the first flow's density is highest."""
        plane = self.states.plane
        role: Role | None = next((r for r in self.pair.roles if plane is not None and r in plane.flows), None)
        if role is not None:
            self.show_example(Origin(kind="likely", role=role))

    def _probe_random(self) -> None:
        plane = self.states.plane
        flow = None if plane is None else next((plane.flows[r] for r in self.pair.roles if r in plane.flows), None)
        if flow is not None:
            x, y = np.random.default_rng().choice(flow.points[0])
            self._probe_point(float(x), float(y))

    def _take_layers(self) -> None:
        layers = self.states.layers
        if not self.in_plane or layers is None:
            self._redraw()
            return
        origin = self.states.origin
        if origin is not None and (origin.layer or origin.kind == "likely"):  # it stays there when weights change
            values = next(iter(layers.flows.values())).state
            self.states.origin = Origin(kind="scaled", values=values)
        self.planes.show_probe(layers.flows)

    # --- for the menu ---------------------------------------------------------------------------------------------

    def drawing(self) -> QWidget:
        return self.planes.canvas if self.in_plane else self.layers.canvas

    def figure(self) -> QWidget | None:
        shown = self.pages.currentWidget() is not self._waiting
        return super().figure() if shown else None

    def numbers(self) -> dict[str, Table]:
        plane, layers = self.states.plane, self.states.layers
        tables: dict[str, Table] = {}
        if self.in_plane and plane is not None:
            tables |= {"Points": plane_table(plane, "points"), "Grid": plane_table(plane, "grid")}
        if layers is not None:
            tables |= {"States": states_table(layers), "Log-determinants": log_dets_table(layers)}
        return tables

    def animations(self) -> dict[str, Animation]:
        return {"Layers": self._film} if self.figure() is not None and self.pair.columns.last else {}

    def _film(self, ready: Callable[[Writer], None], fail: Callable[[ErrorInfo], None]) -> None:
        self.scrubber.pause()
        self._stop_recording.emit()
        film = Film(self.planes if self.in_plane else self.layers, ready, fail)
        self._stop_recording.connect(film.stop)
        film.start()
