"""The probe of the flow panel: a point, and log p under each flow as a base term and one term for each layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PySide6.QtCore import QRectF, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QConicalGradient, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QScrollArea, QVBoxLayout, QWidget

from nfkd.protocol.inspection import FlowStates
from nfkd.protocol.roles import Role, role_label, the_role
from nfkd_gui.numbers import format_measure
from nfkd_gui.plotting.plane import noise_colour
from nfkd_gui.plotting.waterfall import Terms, Waterfall, common_range
from nfkd_gui.theme import fix_size, role_colour, scaled, set_space
from nfkd_gui.widgets.labels import MarkupLabel, PlainLabel, ToneLabel, TypeLabel, WrappedLabel
from nfkd_gui.widgets.number_field import DecimalField

_LIMIT, _RING = 1000.0, 36
_FORMULA = "log p(x) = log N(z) + Σ<sub>k</sub> log |det J<sub>k</sub>|"


class _Block(QWidget):
    """The terms of one flow below its name."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.role: Role | None = None
        self.title = TypeLabel("strong", parent=self)
        self.chart = Waterfall(self)
        column = QVBoxLayout(self)
        set_space(column, 4)
        column.addWidget(self.title)
        column.addWidget(self.chart)

    def show_terms(self, terms: Terms, span: tuple[float, float]) -> None:
        self.role = terms.role
        self.title.setText(role_label(terms.role))
        self.chart.setObjectName(f"flow.terms.{terms.role}")
        self.chart.show_terms(terms, span)
        self.restyle()

    def restyle(self) -> None:
        if self.role is not None:
            self.title.setStyleSheet(f"color: {role_colour(self.role)};")


class NoiseRing(QWidget):
    """Shows which hue stands for which angle of the noise."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Colours of the angles of the noise")
        fix_size(self, _RING, _RING)

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        side, width = self.width(), self.width() / 5
        colours = QConicalGradient(side / 2, side / 2, 0)
        for step in range(25):
            colours.setColorAt(step / 24, noise_colour(step / 24))
        painter.setPen(QPen(colours, width))
        painter.drawEllipse(QRectF(width / 2, width / 2, side - width, side - width))
        painter.end()


class Probe(QFrame):
    """Holds the fields of the point and its waterfalls."""

    placed = Signal(float, float)
    """A point of the data that the user typed."""
    likely_wanted = Signal()
    random_wanted = Signal()
    inspect_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shown: list[Terms] = []
        self._layers: Mapping[Role, int] = {}
        self.fields = self._field(0), self._field(1)
        self._names = [PlainLabel(parent=self) for _ in self.fields]
        formula = MarkupLabel(self)
        formula.setText(_FORMULA)
        formula.setAlignment(Qt.AlignmentFlag.AlignCenter)
        formula.setProperty("formula", True)
        self.blocks = [_Block(self), _Block(self)]
        self.difference_name = PlainLabel(parent=self)
        self.difference = TypeLabel("strong", parent=self)
        self.difference.setObjectName("flow.difference")
        self.spread = MarkupLabel(self)
        self.spread.setObjectName("flow.spread")
        self.spread.setWordWrap(True)
        self.message = WrappedLabel("Drag the ring in either plane, or click.", parent=self)
        self.message.setObjectName("flow.probe_message")
        self.likely = self._button("likely", "Most likely", "Go to where the teacher's density is highest.")
        self.likely.clicked.connect(self.likely_wanted)
        self.random = self._button("random", "Random", "Go to a random sample of the teacher.")
        self.random.clicked.connect(self.random_wanted)
        self.inspect = self._button("inspect_probe", "Inspect", "Show the point in the sample inspector.")
        self.inspect.clicked.connect(self.inspect_wanted)
        self._lay_out(formula)

    def _field(self, number: int) -> DecimalField:
        field = DecimalField(self)
        field.setObjectName(f"flow.x{number + 1}")
        field.setRange(-_LIMIT, _LIMIT)
        field.setDecimals(3)
        field.setSingleStep(0.05)
        field.setProperty("plain", True)
        field.setButtonSymbols(DecimalField.ButtonSymbols.NoButtons)
        field.setKeyboardTracking(False)
        field.setToolTip("A value of the point, scaled as the flows see it.")
        field.valueChanged.connect(self._place)
        return field

    def _button(self, name: str, text: str, help_: str) -> QPushButton:
        button = QPushButton(text, self)
        button.setObjectName(f"flow.{name}")
        button.setToolTip(help_)
        return button

    def _lay_out(self, formula: QWidget) -> None:
        point, line, buttons, legend = QHBoxLayout(), QHBoxLayout(), QHBoxLayout(), QHBoxLayout()
        for layout in (point, line, buttons, legend):
            set_space(layout, 8)
        for name, field in zip(self._names, self.fields, strict=True):
            name.setBuddy(field)
            point.addWidget(name)
            point.addWidget(field, 1)
        line.addWidget(self.difference_name, 1)
        line.addWidget(self.difference)
        for button in (self.likely, self.random, self.inspect):
            buttons.addWidget(button)
        buttons.addStretch(1)
        legend.addWidget(NoiseRing(self))
        meaning = "Colour: angle of the noise.\nRings: 1 (solid) and 2 (dashed) standard deviations."
        explanation = ToneLabel(meaning, parent=self)
        explanation.setWordWrap(True)
        legend.addWidget(explanation, 1)
        inside = QWidget(self)
        column = QVBoxLayout(inside)
        set_space(column, 12, 0, 0, 8, 0)
        for widget in (*self.blocks, self.message):
            column.addWidget(widget)
        column.addLayout(line)
        column.addWidget(self.spread)
        column.addStretch(1)
        scroll = QScrollArea(self)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidgetResizable(True)
        scroll.setWidget(inside)
        whole = QVBoxLayout(self)
        set_space(whole, 12, 12, 4, 4, 4)
        whole.addLayout(point)
        whole.addWidget(formula)
        whole.addWidget(scroll, 1)
        whole.addLayout(buttons)
        whole.addLayout(legend)

    def _place(self) -> None:
        self.placed.emit(*(field.value() for field in self.fields))

    def sizeHint(self) -> QSize:
        return QSize(scaled(320), scaled(480))

    # --- what is shown --------------------------------------------------------------------------------------------

    def name_features(self, names: Sequence[str]) -> None:
        """Set the names of the two features."""
        for number, (label, field) in enumerate(zip(self._names, self.fields, strict=True)):
            name = names[number] if number < len(names) else f"x{'₁₂'[number]}"
            label.setText(name)
            field.setAccessibleName(name)

    def show_point(self, flows: Mapping[Role, FlowStates], roles: Sequence[Role]) -> None:
        """Show an example on its way through some flows; the first of `roles` stands above."""
        shown = [Terms.of(role, flows[role]) for role in roles if role in flows]
        self._shown = shown
        self.message.setVisible(not shown)
        self.inspect.setEnabled(bool(shown))
        if shown:
            state = flows[shown[0].role].state
            for field, value in zip(self.fields, state, strict=False):
                with QSignalBlocker(field):
                    field.setValue(float(value))
        span = common_range(shown)
        for block, terms in zip(self.blocks, [*shown, None, None], strict=False):
            block.setVisible(terms is not None)
            if terms is not None:
                block.show_terms(terms, span)
        self._compare()
        self.mark(self._layers)

    def _compare(self) -> None:
        for label in (self.difference_name, self.difference):
            label.setVisible(len(self._shown) == 2)
        if len(self._shown) == 2:
            first, second = self._shown
            self.difference_name.setText(f"{role_label(second.role)} minus {role_label(first.role).lower()}")
            change = second.total - first.total
            self.difference.setText(f"{'+' if 0 <= change < math.inf else ''}{format_measure(change)} nats")

    def mark(self, layers: Mapping[Role, int]) -> None:
        """Mark the layer of each flow, counted from 1."""
        self._layers = layers
        factors = []
        for block, terms in zip(self.blocks, self._shown, strict=False):
            layer = layers.get(terms.role, 0)
            block.chart.mark(layer)
            if layer:
                begin = "" if factors else " has spread the space around this point"
                by = "by" if factors else "by a factor of"
                factors.append(f"{the_role(terms.role)}{begin} {by} <b>{_factor(terms.so_far(layer))}</b>")
        self.spread.setText(f"Up to the marked layer {', '.join(factors)}." if factors else "")
        self.spread.setVisible(bool(factors))

    def restyle(self) -> None:
        """Apply the current theme."""
        for block in self.blocks:
            block.restyle()
        self.update()


def _factor(log_det: float) -> str:
    """Return exp of a log-determinant with three digits."""
    if abs(log_det) < 7:
        return f"{math.exp(log_det):.3g}"
    return f"e<sup>{format_measure(log_det, 1)}</sup>"
