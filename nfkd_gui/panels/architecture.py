"""The architecture panel: the flows of the experiment as a drawing, in which layers are matched."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QPoint, Qt, QTimer, Signal
from PySide6.QtGui import QImage, QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QMenu, QStackedLayout, QVBoxLayout, QWidget

from nfkd.protocol.records import LayerPair
from nfkd.protocol.roles import Role, role_label
from nfkd_gui.model.csv_files import Table, layers_table
from nfkd_gui.model.export_files import file_stem
from nfkd_gui.model.layer_choice import LayerChoice, layer_label
from nfkd_gui.model.own_pairs import PAIRS, current_items, uses_own_pairs, with_items, with_strategy
from nfkd_gui.model.run_matching import RunMatching
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.architecture_menu import fill_menu
from nfkd_gui.plotting.architecture.backdrop import Backing
from nfkd_gui.plotting.architecture.blocks import BlockItem, layer_text
from nfkd_gui.plotting.architecture.legend import Legend
from nfkd_gui.plotting.architecture.levels import bands_of, flow_configs, flow_facts
from nfkd_gui.plotting.architecture.pairs import Pair, PairItem
from nfkd_gui.plotting.architecture.scene import Subject
from nfkd_gui.plotting.architecture.view import ArchitectureView
from nfkd_gui.plotting.match_colours import ErrorScale
from nfkd_gui.plotting.mosaic import compose, themed
from nfkd_gui.theme import scaled, set_space
from nfkd_gui.widgets.buttons import quiet_button
from nfkd_gui.widgets.exportable import Exportable
from nfkd_gui.widgets.labels import ElidedLabel, WrappedLabel
from nfkd_gui.widgets.panel_dock import IconButton
from nfkd_gui.widgets.switch import Switch

if TYPE_CHECKING:
    from nfkd_gui.panels.layer_glance import LayerGlance

_HINT = "drag the end of a line to match another layer"
_DELAY = 40
"""Milliseconds in which changes of the errors are drawn together."""
_WIDE = 720
"""Width from which the buttons have texts."""
_SIZES = {"equal": ("Equal size", "equal"), "parameters": ("By parameters", "heights")}
_STRATEGY = "distillation.matching.strategy"


class ArchitecturePanel(QFrame, Exportable):
    """Draws the flows of the experiment, and edits the student's pairs.

    Attributes
    ----------
    view
        The drawing.
    tools
        Widgets for the head of the panel.
    """

    has_numbers = True
    section_wanted = Signal(str)
    """The section whose properties are to be shown."""
    field_wanted = Signal(str, bool)
    """The path of a field to be shown, and whether it gets the focus."""
    flow_wanted = Signal(str, str)
    """Role and name of a layer that the user wants to see in the Flow panel."""

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("architecture")
        self.setProperty("body", True)
        self._studio, self._experiment = studio, studio.experiment
        self._matching = RunMatching(studio, self)
        self._subject = Subject()
        self._facts: tuple[object, ...] = ()
        self._choice = LayerChoice()
        self._pairs: list[Pair] = []
        self._heights = "equal"
        self._picture: tuple[object, QImage | None] = (None, None)
        self.view = ArchitectureView(self)
        self.legend = Legend(self)
        self.readout = ElidedLabel(parent=self)
        self.readout.setObjectName("architecture.readout")
        self._message = WrappedLabel(parent=self)
        self._message.setObjectName("architecture.message")
        self._message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._make_tools()
        self._lay_out()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_DELAY)
        self._timer.timeout.connect(self._show_errors)
        self._connect()
        self.refresh()

    # --- construction ---------------------------------------------------------------------------------------------

    def _make_tools(self) -> None:
        self._sizes = Switch("architecture.size", _SIZES, self)
        self.differences = IconButton("differences", "Differences", "Mark what student and teacher do not share.", self)
        self.differences.setObjectName("architecture.differences")
        self.differences.setText("Differences")
        self.differences.setCheckable(True)
        self.auto = IconButton("match", "Auto-match", "Let the engine choose the pairs (strategy “auto”).", self)
        self.auto.setObjectName("architecture.auto")
        self.auto.setText("Auto-match")
        self.percent = quiet_button("100 %", self)
        self.percent.setObjectName("architecture.zoom")
        self.percent.setAccessibleName("Zoom")
        self.percent.setToolTip("Natural size. Zoom with Ctrl and the wheel, or + and −; drag the ground to move.")
        self.fit = IconButton("fit", "Fit", "Show the whole drawing.", self)
        self.fit.setObjectName("architecture.fit")
        self.tools: list[QWidget] = [self._sizes, self.differences, self.auto, self.percent, self.fit]

    def _lay_out(self) -> None:
        self._canvas = QWidget(self)
        canvas = QVBoxLayout(self._canvas)
        set_space(canvas, 0)
        canvas.addWidget(self.view, 1)
        canvas.addWidget(self.legend)
        drawing = QWidget(self)
        column = QVBoxLayout(drawing)
        set_space(column, 4, 12, 4, 12, 8)
        column.addWidget(self._canvas, 1)
        self._foot = QHBoxLayout()
        set_space(self._foot, 8)
        self._foot.addWidget(self.readout, 1)
        column.addLayout(self._foot)
        self._pages = QStackedLayout(self)
        self._pages.addWidget(self._message)
        self._pages.addWidget(drawing)

    def _connect(self) -> None:
        studio, view = self._studio, self.view
        for signal in (self._experiment.checked, self._experiment.replaced, studio.data_preview.changed):
            signal.connect(self.refresh)
        studio.theme_changed.connect(self.refresh, Qt.ConnectionType.QueuedConnection)
        self._matching.changed.connect(self._timer.start)
        self._sizes.chosen.connect(self._set_heights)
        self.differences.toggled.connect(self._show_differences)
        self.auto.clicked.connect(self.match_automatically)
        self.percent.clicked.connect(self._natural_size)
        self.fit.clicked.connect(view.fit)
        view.zoomed.connect(self._show_zoom)
        view.block_chosen.connect(self._choose_block)
        view.pair_chosen.connect(self._choose_pair)
        view.cleared.connect(self._show_readout)
        view.cleared.connect(self._clear_glance)
        view.moved.connect(self.move_pair)
        view.added.connect(self.add_pair)
        view.removed.connect(self.remove_pair)
        view.menu_wanted.connect(self._open_menu)

    @cached_property
    def glance(self) -> LayerGlance:
        """What a layer makes of an example; made when it is first needed, since plots take long to load."""
        from nfkd_gui.panels.layer_glance import LayerGlance

        glance = LayerGlance(self._studio, self)
        glance.flow_wanted.connect(self.flow_wanted)
        glance.widen(self.width() >= scaled(_WIDE))
        self._foot.addWidget(glance)
        return glance

    def _clear_glance(self) -> None:
        if "glance" in self.__dict__:
            self.glance.clear()

    # --- what is drawn --------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Draw the flows as the engine described them last, and the pairs as they are entered."""
        flows = self._experiment.flows_by_role()
        if not flows:
            self._message.setText(self._why_empty())
            self._pages.setCurrentIndex(0)
        else:
            self._show_flows()
            self._show_pairs()
            self._pages.setCurrentIndex(1)
        for tool in self.tools:
            tool.setEnabled(bool(flows))
        self._sizes.show_state(self._heights, list(_SIZES))  # its icons follow the theme
        self._show_readout()

    def _why_empty(self) -> str:
        if self._experiment.error is not None:
            return f"No drawing: {self._experiment.error.cause}"
        if self._experiment.problems:
            return "The flows will be drawn here once the problems at the left are fixed."
        return "The flows will be drawn here."

    def _show_flows(self) -> None:
        experiment = self._experiment
        flows, latest = experiment.flows_by_role(), experiment.latest
        config = experiment.config
        roles, learners = list(flows), dict[Role, Role]()
        if config is not None and config.distillation.lkd.weight > 0:
            learners = dict(zip(roles[1:], roles, strict=False))
        preview = self._studio.data_preview.preview
        backing = Backing(
            flows, tuple(latest.event_shape) if latest is not None else (), learners, self._image(),
            preview.points if preview is not None else None,
        )  # fmt: skip
        subject = Subject(backing, flow_configs(config) or self._subject.configs)
        facts = (
            {role: flow_facts(flow) for role, flow in flows.items()}, subject.configs, backing.event_shape, learners,
            id(backing.image), id(backing.points),
        )  # fmt: skip
        if facts != self._facts and latest is not None:  # a reply with the same flows must not end a drag
            self._subject, self._facts, self._choice = subject, facts, LayerChoice.of(latest)
            self.view.show_subject(subject)
            self.legend.show_bands(*(bands_of(subject.configs.get(role)) for role in ("teacher", "student")))

    def _image(self) -> QImage | None:
        """Return the first example as an image, if examples are images; the same as long as it has not changed."""
        data = self._studio.data_preview
        if data.preview is None or data.preview.images is None or not len(data.preview.images):
            return None
        picture = compose(themed(data.preview.images[:1].astype(np.float32) / 255, data.kind), 1)
        key = picture.tobytes()
        if key != self._picture[0]:
            height, width = picture.shape[:2]
            image = QImage(np.ascontiguousarray(picture).data, width, height, 3 * width, QImage.Format.Format_RGB888)
            self._picture = key, image.copy()
        return self._picture[1]

    def _show_pairs(self) -> None:
        """Draw the pairs of every learner."""
        experiment, latest = self._experiment, self._experiment.latest
        if latest is None:
            return
        roles = list(self._subject.backing.flows)
        items = current_items(experiment)
        pairs = [
            self._pair_of(learner, source, index, pair)
            for learner, source, made in zip(roles[1:-1], roles, latest.assistant_pairs, strict=False)
            for index, pair in enumerate(made)
        ]
        problems = {problem.path: problem.message for problem in experiment.problems}
        own = uses_own_pairs(experiment.document)
        for index, item in enumerate(items):
            weight = item.get("weight", 1.0)
            pair = LayerPair(
                student=str(item.get("student", "")), teacher=str(item.get("teacher", "")), summary="",
                weight=float(weight) if isinstance(weight, (int, float)) else 1.0,
            )  # fmt: skip
            wrong = [text for path, text in problems.items() if own and f"{path}.".startswith(f"{PAIRS}.{index}.")]
            pairs.append(self._pair_of("student", roles[-2], index, pair, "; ".join(wrong)))
        if pairs != self._pairs or self._choice is not self.view.choice:
            self._pairs = pairs
            rows = [(pair.student, pair.teacher) for pair in pairs if pair.learner == "student"]
            self.view.show_pairs(pairs, self._choice, rows)
        self._show_errors()

    def _pair_of(self, learner: Role, source: Role, index: int, pair: LayerPair, problem: str = "") -> Pair:
        flows = self._subject.backing.flows
        labels = layer_label(flows[learner].layers, pair.student), layer_label(flows[source].layers, pair.teacher)
        return Pair(learner, source, index, pair.student, pair.teacher, labels, pair.weight, problem=problem)

    def _show_errors(self) -> None:
        scale = ErrorScale.of(self._matching.history) if self._matching.errors else None
        self.view.drawing.show_errors(self._matching.errors, scale)
        self.legend.show_scale(scale, self._matching.source)
        self._show_readout()

    def _show_readout(self) -> None:
        """Say what is chosen, or how the layers are matched."""
        drawing, text = self.view.drawing, ""
        pair = drawing.item_of(drawing.selected_pair) if drawing.selected_pair is not None else None
        if pair is not None:
            text = pair.pair.text
        elif drawing.selected_block is not None:
            role, name = drawing.selected_block
            layers = self._subject.backing.flows[role].layers if role in self._subject.backing.flows else []
            layer = next((layer for layer in layers if layer.name == name), None)
            bands = self._subject.bands.get(role, []) if layer is not None and layer.kind == "step" else ()
            text = layer_text(role_label(role), layer, bands) if layer is not None else ""
        latest = self._experiment.latest
        if not text and latest is not None:
            count = len(self.view.rows)
            by = "your own" if uses_own_pairs(self._experiment.document) else latest.strategy.replace("_", " ")
            text = f"{count} matched {'pair' if count == 1 else 'pairs'} of the student · strategy: {by} · {_HINT}"
        self.readout.setText(text)

    # --- tools ----------------------------------------------------------------------------------------------------

    def _set_heights(self, name: str) -> None:
        self._heights = name
        self._sizes.show_state(name, list(_SIZES))
        self.view.drawing.by_parameters = name == "parameters"
        self.view.rebuild()

    def _show_differences(self, shown: bool) -> None:
        self.view.drawing.differences = shown
        self.view.drawing.mark()

    def _natural_size(self) -> None:
        self.view.zoom(1 / self.view.transform().m11())

    def _show_zoom(self, scale: float) -> None:
        self.percent.setText(f"{100 * scale:.0f} %")

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        wide = self.width() >= scaled(_WIDE)
        self._sizes.show_titles(wide)
        if "glance" in self.__dict__:
            self.glance.widen(wide)
        style = Qt.ToolButtonStyle.ToolButtonTextBesideIcon if wide else Qt.ToolButtonStyle.ToolButtonIconOnly
        for button in (self.differences, self.auto):
            button.setToolButtonStyle(style)

    # --- changes --------------------------------------------------------------------------------------------------

    def move_pair(self, index: int, side: str, layer: str) -> None:
        """Match another layer: one side of a pair of the student changes."""
        items = current_items(self._experiment)
        items[index][side] = layer
        self._set_items(f"Match {items[index]['student']} with {items[index]['teacher']}", items)
        self.view.select_pair("student", index)

    def add_pair(self, student: str, teacher: str) -> None:
        """Match two more layers."""
        items = current_items(self._experiment)
        row = self.view.choice.row_for(self.view.rows, student)
        items.insert(row, {"student": student, "teacher": teacher, "weight": 1.0})
        self._set_items(f"Match {student} with {teacher}", items)
        self.view.select_pair("student", row)

    def remove_pair(self, index: int) -> None:
        """Remove a pair of the student."""
        items = current_items(self._experiment)
        gone = items.pop(index)
        self._set_items(f"Remove the pair {gone['student']}, {gone['teacher']}", items)

    def weigh_pair(self, index: int) -> None:
        """Open the weight of a pair in the table of pairs; pairs of a strategy become the user's own first."""
        if not uses_own_pairs(self._experiment.document):
            self._set_items("Edit pairs", current_items(self._experiment))
        self.field_wanted.emit(f"{PAIRS}.{index}.weight", True)

    def match_automatically(self) -> None:
        """Let the engine choose the pairs."""
        self._amend("Match automatically", with_strategy(self._experiment.document, "auto"))

    def _set_items(self, name: str, items: list[dict[str, object]]) -> None:
        self._amend(name, with_items(self._experiment.document, items))

    def _amend(self, name: str, document: dict[str, object]) -> None:
        self._experiment.amend(name, document)
        self._experiment.describe()  # a drop is one change: there is nothing to wait for

    # --- choosing -------------------------------------------------------------------------------------------------

    def _choose_block(self, role: str, name: str) -> None:
        self._show_readout()
        self.section_wanted.emit("assistants" if role.startswith("assistant") else role)
        self.glance.show_layer(role, name)

    def _choose_pair(self, learner: str, index: int) -> None:
        self._show_readout()
        self._clear_glance()
        own = learner == "student" and uses_own_pairs(self._experiment.document)
        self.field_wanted.emit(f"{PAIRS}.{index}" if own else _STRATEGY, False)

    def _open_menu(self, place: QPoint, item: BlockItem | PairItem | None) -> None:
        menu = QMenu(self)
        menu.setObjectName("architecture.context")
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.setToolTipsVisible(True)
        fill_menu(menu, self, item)
        menu.popup(place)

    # --- for the menu of the panel ----------------------------------------------------------------------------------

    def figure(self) -> QWidget | None:
        return self._canvas if self._subject.backing.flows and self._pages.currentIndex() == 1 else None

    def numbers(self) -> dict[str, Table]:
        flows = self._experiment.flows_by_role()
        return {"Layers": layers_table(flows)} if flows else {}

    def export_name(self) -> str:
        return file_stem(self._experiment.name, "architecture")
