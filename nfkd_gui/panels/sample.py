"""The sample inspector: one example under every flow, what they make of the same noise, and the nearest example."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from nfkd.protocol.inspection import InspectSample, Origin, SampleDetails
from nfkd.protocol.requests import Reply
from nfkd.protocol.roles import DATA, find_role, role_label
from nfkd_gui.model.csv_files import Table
from nfkd_gui.model.inspection import Inspection
from nfkd_gui.model.studio import Studio
from nfkd_gui.numbers import format_measure
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
    event_types = ()
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
        for number, letter in enumerate("AB"):
            button = QPushButton(f"Use as {letter}", self.content)
            button.setObjectName(f"sample.use_{letter.lower()}")
            place = ("first", "second")[number]
            button.setToolTip(f"Make it the {place} end of the interpolation.")
            button.clicked.connect((self._use_first, self._use_second)[number])
            line.addWidget(button)
        flow = QPushButton("Show in Flow", self.content)
        flow.setObjectName("sample.flow")
        flow.setToolTip("Follow it through the layers of every flow.")
        flow.clicked.connect(self._show_in_flow)
        line.addWidget(flow)
        line.addStretch(1)
        return line

    # --- the example ----------------------------------------------------------------------------------------------

    def inspect(self, origin: Origin) -> None:
        """Ask for the figures of an example of the shown run."""
        if self.view is None:
            return
        self._origin = origin
        self._waiting.clear()
        run, seed = self.view.row.run, self.studio.seed
        self._inspection.ask(InspectSample(run, seed=seed, ticket=self._inspection.ticket, origin=origin))
        self.mark_dirty()

    def _show(self, reply: Reply) -> None:
        if isinstance(reply, SampleDetails):
            self._details = reply
            self.mark_dirty()

    def _use_first(self) -> None:
        self.used.emit(0, self._origin)

    def _use_second(self) -> None:
        self.used.emit(1, self._origin)

    def _show_in_flow(self) -> None:
        self.flow_wanted.emit(self._origin)

    # --- the panel ------------------------------------------------------------------------------------------------

    def run_changed(self) -> None:
        self._inspection.cancel()
        self._origin = self._details = None
        self._waiting.clear()

    def restyle(self) -> None:
        self.mark_dirty()

    def has_content(self) -> bool:
        return self._origin is not None

    def drawing(self) -> QWidget:
        return self._drawing

    def draw(self) -> None:
        origin, details = self._origin, self._details
        self._drawing.setVisible(details is not None)
        if origin is None or details is None:
            return
        self._about.setText(describe_origin(details.origin))
        image = details.example.ndim == 3
        self._image.setVisible(image)
        self._gallery.setVisible(image)
        if image:
            self._image.show_images(self._themed(details.example))
        self._fill_figures(details)
        self._fill_pictures(details)
        self._fill_values(details)
        first = next(iter(details.flows.values()))
        self._note.setText(
            f"Percentile among {first.tested:,} test examples. Noise of {first.expected_norm**2:.0f} dimensions has a "
            f"norm near {format_measure(first.expected_norm, 1)}."
        )

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
        shown = {role: figures.counterpart for role, figures in details.flows.items() if figures.counterpart.size}
        for role, image in (shown | {DATA: details.nearest}).items():
            title = "Nearest train" if role == DATA else role_label(role)
            caption = f"distance {format_measure(details.distance, 2)}" if role == DATA else "same noise"
            self._pictures.addWidget(_Picture(title, caption, role, self._themed(image), self._gallery))

    def _fill_values(self, details: SampleDetails) -> None:
        """Show the features of the example, of the nearest one and of the counterparts, in the units of the data."""
        _clear(self._values)
        self._values_note.setVisible(details.values is not None)
        if details.values is None:
            return
        self._values_note.setText(
            f"Nearest: training example {details.nearest_index}, {format_measure(details.distance, 2)} away. "
            "Flows: what each makes of the same noise."
        )
        example, nearest = details.values
        columns = {"Example": example, "Nearest": nearest} | {
            role: figures.counterpart for role, figures in details.flows.items() if figures.counterpart.size
        }
        for column, (name, values) in enumerate(columns.items(), start=1):
            role = find_role(name)
            head = _caption(name, "", self._drawing) if role is None else _role_label(role, self._drawing)
            self._values.addWidget(head, 0, column, Qt.AlignmentFlag.AlignRight)
            for row, value in enumerate(values[:_MOST_FEATURES], start=1):
                label = PlainLabel(f"{value:.4g}".replace("-", "−"), self._drawing)
                set_type(label, "caption")
                self._values.addWidget(label, row, column, Qt.AlignmentFlag.AlignRight)
        for row, name in enumerate(details.columns[:_MOST_FEATURES], start=1):
            self._values.addWidget(ElidedLabel(name, parent=self._drawing), row, 0)

    # --- for the menu ---------------------------------------------------------------------------------------------

    def numbers(self) -> dict[str, Table]:
        details = self._details
        if details is None:
            return {}
        rows = [
            [role, figures.log_prob, figures.percentile, figures.latent_norm] for role, figures in details.flows.items()
        ]
        return {"Figures": Table(["flow", "log p (nats)", "percentile (%)", "norm of the latent"], rows)}


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


def describe_origin(origin: Origin) -> str:
    """Return where an example comes from, such as ``Student's sample 5, temperature 0.80``."""
    owner = f"{role_label(origin.role)}'s " if origin.role is not None else ""
    match origin.kind:
        case "sample":
            noise = "" if origin.noise_seed is None else f", noise {origin.noise_seed}"
            return f"{owner}sample {origin.index}{noise}, temperature {origin.temperature:.2f}".capitalize()
        case "values" | "scaled":
            return f"{owner}picture, as shown".capitalize()
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
