"""The sample inspector: one example under every flow, what they make of the same noise, and the nearest example."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from nfkd.protocol.events import RunEvent, StageFinished
from nfkd.protocol.inspection import InspectSample, Origin, SampleDetails, SampleFigures
from nfkd.protocol.requests import Reply
from nfkd.protocol.roles import DATA, find_role, role_label
from nfkd.text import feature_names
from nfkd_gui.model.csv_files import Table
from nfkd_gui.model.inspection import Inspection
from nfkd_gui.model.studio import Studio
from nfkd_gui.numbers import format_measure, format_together
from nfkd_gui.panels.base import Panel
from nfkd_gui.panels.pictures import data_kind
from nfkd_gui.plotting.mosaic import Mosaic, themed
from nfkd_gui.theme import fix_size, role_colour, set_space, set_type
from nfkd_gui.widgets.flow_layout import FlowLayout
from nfkd_gui.widgets.labels import ElidedLabel, PlainLabel, ToneLabel, TypeLabel, WrappedLabel
from nfkd_gui.widgets.waiting_line import WaitingLine

_LARGE, _SMALL = 112, 64
_MOST_FEATURES = 24
_HEADS = (
    ("log p", "Log-density under the flow, in nats of scaled values."),
    ("percentile", "Share of test examples that are less likely under the flow."),
    ("norm of z", "Norm of the noise that the flow gives the example."),
)


class SamplePanel(Panel):
    """Shows the example that was clicked in any panel."""

    title = "Sample"
    name = "sample"
    placeholder = "A sample, point or frame that you click"
    event_types = (StageFinished,)
    has_numbers = True

    used = Signal(int, object)
    """The user wants the example as the first (0) or second (1) end of the interpolation: an `Origin`."""
    flow_wanted = Signal(object)
    """The user wants to see the example in the flows: an `Origin`."""

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(studio, parent)
        self._origin: Origin | None = None
        self._details: SampleDetails | None = None
        self._inspection = Inspection(studio, self, long=True)
        self._inspection.replied.connect(self._show)
        self._waiting = WaitingLine(self.name, "figures", self._inspection, self.content)
        studio.example_chosen.connect(self.inspect)
        self._lay_out()

    def _lay_out(self) -> None:
        self._drawing = QWidget(self.content)
        self._about = ElidedLabel(parent=self._drawing)
        self._about.setObjectName("sample.about")
        self._image = Mosaic(1, self._drawing)
        self._image.setObjectName("sample.image")
        fix_size(self._image, _LARGE, _LARGE)
        self._figures = QGridLayout()
        set_space(self._figures, 8)
        self._figures.setColumnStretch(0, 1)
        head = QHBoxLayout()
        set_space(head, 12)
        head.addWidget(self._image, alignment=Qt.AlignmentFlag.AlignTop)
        head.addLayout(self._figures, 1)
        self._note = WrappedLabel(parent=self._drawing)
        set_type(self._note, "caption")
        self._gallery = QWidget(self._drawing)
        self._pictures = FlowLayout(8, self._gallery)
        self._values_note = WrappedLabel(parent=self._drawing)
        set_type(self._values_note, "caption")
        self._values = QGridLayout()
        self._values.setColumnStretch(0, 1)
        set_space(self._values, 8)
        column = QVBoxLayout(self._drawing)
        set_space(column, 8)
        column.addWidget(self._about)
        column.addLayout(head)
        column.addWidget(self._note)
        column.addWidget(self._gallery)
        column.addWidget(self._values_note)
        column.addLayout(self._values)
        whole = QVBoxLayout(self.content)
        set_space(whole, 8, 12, 12, 12, 12)
        whole.addWidget(self._drawing)
        whole.addWidget(self._waiting)
        whole.addLayout(self._buttons())
        whole.addStretch(1)

    def _buttons(self) -> QHBoxLayout:
        line = QHBoxLayout()
        set_space(line, 8)
        self._uses: list[QPushButton] = []
        for name, text, help_, slot in (
            ("use_a", "Use as A", "Make it the first end of the interpolation.", self._use_first),
            ("use_b", "Use as B", "Make it the second end of the interpolation.", self._use_second),
            ("flow", "Show in Flow", "Follow it through the layers of every flow.", self._show_in_flow),
        ):
            button = QPushButton(text, self.content)
            button.setObjectName(f"sample.{name}")
            button.setToolTip(help_)
            button.clicked.connect(slot)
            button.setEnabled(False)
            self._uses.append(button)
            line.addWidget(button)
        line.addStretch(1)
        return line

    # --- the example ----------------------------------------------------------------------------------------------

    def inspect(self, origin: Origin) -> None:
        """Ask for the figures of an example of the shown run."""
        if self.view is None:
            return
        self._origin = origin
        self._take(None)
        self._waiting.clear()
        self._ask()

    def _ask(self) -> None:
        if self.view is not None and self._origin is not None:
            run, seed, ticket = self.view.row.run, self.studio.seed, self._inspection.ticket
            self._inspection.ask(InspectSample(run, seed=seed, ticket=ticket, origin=self._origin))

    def on_event(self, event: RunEvent) -> None:
        super().on_event(event)
        if isinstance(event, StageFinished):  # there is another flow, or one with its final weights
            self._ask()

    def _take(self, details: SampleDetails | None) -> None:
        """Show other figures, or none; the buttons act on the example whose figures are shown."""
        self._details = details
        for button in self._uses:
            button.setEnabled(details is not None)
        self.mark_dirty()

    def _show(self, reply: Reply) -> None:
        if isinstance(reply, SampleDetails):
            self._take(reply)

    def _use_first(self) -> None:
        self._use(0)

    def _use_second(self) -> None:
        self._use(1)

    def _use(self, end: int) -> None:
        if self._details is not None:
            self.used.emit(end, self._details.origin)

    def _show_in_flow(self) -> None:
        if self._details is not None:
            self.flow_wanted.emit(self._details.origin)

    # --- the panel ------------------------------------------------------------------------------------------------

    def run_changed(self) -> None:
        self._inspection.cancel()
        self._origin = None
        self._take(None)
        self._waiting.clear()

    def restyle(self) -> None:
        self.mark_dirty()

    def has_content(self) -> bool:
        return self._origin is not None

    def drawing(self) -> QWidget:
        return self._drawing

    def draw(self) -> None:
        details = self._details
        self._drawing.setVisible(details is not None)
        if details is None:
            return
        about = describe_origin(details.origin)
        self._about.setText(about)
        self._image.setAccessibleName(about)
        image = details.example.ndim == 3
        self._image.setVisible(image)
        self._gallery.setVisible(image)
        if image:
            self._image.show_images(self._themed(details.example))
        self._fill_figures(details)
        self._fill_pictures(details)
        self._fill_values(details)
        self._note.setText(describe_figures(list(details.flows.values())))

    def _themed(self, image: np.ndarray) -> np.ndarray:
        if self.view is None or self.studio.preferences.images_as_stored:
            return image[None]
        return themed(image[None], data_kind(self.view.config))

    def _fill_figures(self, details: SampleDetails) -> None:
        _clear(self._figures)
        for column, (text, help_) in enumerate(_HEADS, start=1):
            self._figures.addWidget(_caption(text, help_, self._drawing), 0, column, Qt.AlignmentFlag.AlignRight)
        for row, (role, figures) in enumerate(details.flows.items(), start=1):
            self._figures.addWidget(_role_label(role, self._drawing), row, 0)
            texts = (
                format_measure(figures.log_prob, 1),
                _ordinal(figures.percentile),
                format_measure(figures.latent_norm, 1),
            )
            for column, text in enumerate(texts, start=1):
                label = PlainLabel(text, self._drawing)
                label.setObjectName(f"sample.{role}.{_HEADS[column - 1][0]}")
                self._figures.addWidget(label, row, column, Qt.AlignmentFlag.AlignRight)

    def _fill_pictures(self, details: SampleDetails) -> None:
        _clear(self._pictures)
        if details.example.ndim != 3:
            return
        shown: dict[str, np.ndarray] = {
            role: figures.counterpart for role, figures in details.flows.items() if figures.counterpart.size
        }
        if math.isfinite(details.distance):
            shown[DATA] = details.nearest
        for role, image in shown.items():
            title = "Nearest train" if role == DATA else role_label(role)
            caption = "same noise"
            if role == DATA:
                caption = f"distance {format_measure(details.distance, 2)}{_class_of(details, ', class {}')}"
            self._pictures.addWidget(_Picture(title, caption, role, self._themed(image), self._gallery))

    def _fill_values(self, details: SampleDetails) -> None:
        """Show the features of the example, of the nearest one and of the counterparts, in the units of the data."""
        _clear(self._values)
        columns, finite = value_columns(details), math.isfinite(details.distance)
        self._values_note.setVisible(bool(columns) or not finite)
        nearest = (
            f"Nearest: training example {details.nearest_index}{_class_of(details, ' (class {})')}, "
            f"{format_measure(details.distance, 2)} away."
        )
        flows = " Flows: what each makes of the same noise." if columns else ""
        self._values_note.setText(f"{nearest if finite else 'The example is not finite.'}{flows}")
        shown = [format_together(row) for row in zip(*columns.values(), strict=False)][:_MOST_FEATURES]
        for column, name in enumerate(columns, start=1):
            role = find_role(name)
            head = _caption(name, "", self._drawing) if role is None else _role_label(role, self._drawing)
            self._values.addWidget(head, 0, column, Qt.AlignmentFlag.AlignRight)
            for row in range(1, len(shown) + 1):
                label = PlainLabel(shown[row - 1][column - 1], self._drawing)
                set_type(label, "caption")
                self._values.addWidget(label, row, column, Qt.AlignmentFlag.AlignRight)
        for row, name in enumerate(details.columns[:_MOST_FEATURES] if columns else (), start=1):
            self._values.addWidget(ElidedLabel(name, parent=self._drawing), row, 0)
        further = max(map(len, columns.values()), default=0) - _MOST_FEATURES
        if further > 0:
            text = f"and {further:,} more: save the numbers"
            self._values.addWidget(_caption(text, "", self._drawing), _MOST_FEATURES + 1, 0, 1, -1)

    # --- for the menu ---------------------------------------------------------------------------------------------

    def numbers(self) -> dict[str, Table]:
        details = self._details
        if details is None:
            return {}
        rows = [
            [role, figures.log_prob, figures.percentile, figures.latent_norm] for role, figures in details.flows.items()
        ]
        tables = {"Figures": Table(["flow", "log p (nats)", "percentile (%)", "norm of the latent"], rows)}
        if math.isfinite(details.distance):
            nearest = [details.nearest_index, details.distance, details.label]
            tables["Nearest"] = Table(["training example", "distance (scaled)", "class"], [nearest])
        if columns := value_columns(details):
            names = feature_names(len(columns["Example"]), details.columns)
            values = zip(names, *columns.values(), strict=True)
            tables["Features"] = Table(["feature", *map(str.lower, columns)], [list(row) for row in values])
        return tables


class _Picture(QWidget):
    """A small image below its title and above its caption."""

    def __init__(self, title: str, caption: str, role: str, image: np.ndarray, parent: QWidget) -> None:
        super().__init__(parent)
        head = _role_label(role, self)
        head.setText(title)
        mosaic = Mosaic(1, self)
        mosaic.setObjectName(f"sample.{role}.picture")
        mosaic.setAccessibleName(f"{title}, {caption}")
        fix_size(mosaic, _SMALL, _SMALL)
        mosaic.show_images(image)
        column = QVBoxLayout(self)
        set_space(column, 4)
        for widget in (head, mosaic, _caption(caption, "", self)):
            column.addWidget(widget)


def value_columns(details: SampleDetails) -> dict[str, np.ndarray]:
    """Return the features of the example, of the nearest one, and of the counterparts by role; empty for images."""
    if details.values is None:
        return {}
    example, nearest = details.values
    found = {"Example": example} | ({"Nearest": nearest} if math.isfinite(details.distance) else {})
    return found | {role: flow.counterpart for role, flow in details.flows.items() if flow.counterpart.size}


def describe_figures(flows: Sequence[SampleFigures]) -> str:
    """Return what percentiles and norms are compared with."""
    tested, norm = max(flow.tested for flow in flows), flows[0].expected_norm
    percentile = f"Percentile among {tested:,} test examples. " if tested else ""
    return f"{percentile}Noise of {norm**2:.0f} dimensions has a norm near {format_measure(norm, 1)}."


def _class_of(details: SampleDetails, template: str) -> str:
    """Return the class of the nearest example in a text with ``{}``; empty if the data has no classes."""
    return "" if details.label is None else template.format(details.label)


def describe_origin(origin: Origin) -> str:
    """Return where an example comes from, such as ``Student's sample 5, temperature 0.80``."""
    owner = f"{role_label(origin.role)}'s " if origin.role is not None else ""
    match origin.kind:
        case "sample":
            noise = "" if origin.noise_seed is None else f", noise {origin.noise_seed}"
            return f"{owner}sample {origin.index}{noise}, temperature {origin.temperature:.2f}".capitalize()
        case "values":
            return f"{owner}picture, as shown".capitalize()
        case "scaled":
            return f"{owner}point".capitalize()
        case "likely":
            return f"{owner}most likely point".capitalize()
        case "file":
            return origin.path
        case kind:
            return f"{kind} example {origin.index}".capitalize()


def _role_label(role: str, parent: QWidget) -> PlainLabel:
    label = TypeLabel("caption", role_label(role), parent)
    label.setStyleSheet(f"color: {role_colour(role)};")
    return label


def _caption(text: str, help_: str, parent: QWidget) -> ToneLabel:
    label = ToneLabel(text, parent=parent)
    set_type(label, "caption")
    label.setToolTip(help_)
    return label


def _ordinal(percent: float) -> str:
    """Return a percentile as ``38 %``, or a dash."""
    return "–" if np.isnan(percent) else f"{percent:.0f} %"


def _clear(layout: QGridLayout | FlowLayout) -> None:
    while (item := layout.takeAt(0)) is not None:
        widget = item.widget()
        if widget is not None:
            widget.hide()
            widget.deleteLater()
