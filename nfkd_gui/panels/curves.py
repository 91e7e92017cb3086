"""The curves panel: likelihoods, loss terms, learning rate and gradient norm over the training."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap, QResizeEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QSlider,
    QSplitter,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from nfkd.protocol.events import CurvePoints, RunEvent, SeedStarted, StageFinished, StageStarted
from nfkd.protocol.roles import ROLES, USUAL, Role, role_label, role_name
from nfkd.protocol.view import Curve
from nfkd.text import plain
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.base import SPACE, Panel, heading
from nfkd_gui.panels.curve_plot import CurvePlot, CurveSettings
from nfkd_gui.panels.quantities import LIKELIHOOD, Quantity, list_quantities
from nfkd_gui.theme import role_colour
from nfkd_gui.widgets.labels import ElidedLabel, PlainLabel, WrappedLabel, tip

_MOST_SMOOTHING = 0.99
_LONGEST = 80
"""Characters of a name in the list."""
_SIDE_FROM = 720
"""Panels at least this wide, in pixels, show the choices beside the plots."""


class CurvesPanel(Panel):
    """Shows one plot per chosen quantity, with the legend and the choices beside."""

    title = "Curves"
    name = "curves"
    placeholder = "The likelihood of teacher, student and baseline, and every term of the loss,"
    event_types = (CurvePoints, SeedStarted, StageStarted, StageFinished)

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(studio, parent)
        self.plots: dict[str, CurvePlot] = {}
        self._chosen = {LIKELIHOOD}
        self._column = QSplitter(Qt.Orientation.Vertical, self.content)
        self._readout = ElidedLabel(parent=self.content)
        self._readout.setObjectName("curves.readout")
        self._caution = WrappedLabel("Values at or below 0 are not shown on a log axis.", "warning", self.content)
        self._caution.setObjectName("curves.caution")
        self._caution.hide()
        self._quantities = QListWidget(self.content)
        self._quantities.setObjectName("curves.quantities")
        self._quantities.setToolTip("Check what to plot; each item gets its own plot.")
        self._quantities.setFrameShape(QListWidget.Shape.NoFrame)
        self._quantities.viewport().setAutoFillBackground(False)  # its base colour is that of the check boxes
        self._quantities.itemChanged.connect(self._choose)
        self._roles: dict[Role, QCheckBox] = {}
        self._lay_out()
        self._arrange()
        self.restyle()

    def _lay_out(self) -> None:
        plots = QVBoxLayout()
        plots.setSpacing(0)
        self._more = self._choose_button()
        self.tools.append(self._more)
        plots.addWidget(self._column, 1)
        plots.addWidget(self._caution)
        plots.addWidget(self._readout)
        row = QHBoxLayout(self.content)
        row.setContentsMargins(SPACE, SPACE, SPACE, SPACE)
        row.setSpacing(SPACE)
        row.addLayout(plots, 1)
        self._beside = self._side()
        row.addWidget(self._beside)

    def _choose_button(self) -> QToolButton:
        """Return the button for the head of panels that are too narrow for the choices beside the plots."""
        button = QToolButton(self)
        button.setObjectName("curves.more")
        button.setText("&Choose")
        button.setToolTip("Choose flows, plots, smoothing and axes.")
        button.setProperty("flat", True)
        button.setCheckable(True)
        button.toggled.connect(self._arrange)
        return button

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrange()

    def _arrange(self) -> None:
        wide = self.width() >= _SIDE_FROM
        self._more.setVisible(not wide)
        self._beside.setVisible(wide or self._more.isChecked())

    def _side(self) -> QWidget:
        side = QWidget(self.content)
        side.setFixedWidth(176)
        column = QVBoxLayout(side)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(SPACE // 2)
        column.addWidget(heading("Flows", side))
        for role in ROLES:
            box = self._roles[role] = QCheckBox(role_label(role), side)
            box.setObjectName(f"curves.role.{role}")
            box.setChecked(True)
            box.toggled.connect(self.mark_dirty)
            box.setVisible(role in USUAL)
            column.addWidget(box)
        column.addWidget(WrappedLabel("Bold: validation. Thin: training. Faint: other seeds.", parent=side))
        column.addSpacing(SPACE)
        column.addWidget(heading("Plots", side))
        column.addWidget(self._quantities, 1)
        column.addSpacing(SPACE)
        self._add_settings(side, column)
        return side

    def _add_settings(self, side: QWidget, column: QVBoxLayout) -> None:
        label = PlainLabel("&Smoothing", side)
        self._smoothing = QSlider(Qt.Orientation.Horizontal, side)
        self._smoothing.setObjectName("curves.smoothing")
        self._smoothing.setRange(0, 100)
        self._smoothing.setToolTip("Moving average; the raw line stays visible behind it.")
        self._smoothing.valueChanged.connect(self.mark_dirty)
        label.setBuddy(self._smoothing)
        self._axis = QComboBox(side)
        self._axis.setObjectName("curves.axis")
        self._axis.addItems(["by step", "by time"])
        self._axis.currentIndexChanged.connect(self.mark_dirty)
        self._log = QCheckBox("&Log values", side)
        self._log.setObjectName("curves.log")
        self._log.toggled.connect(self.mark_dirty)
        for widget in (label, self._smoothing, self._axis, self._log):
            column.addWidget(widget)

    @property
    def settings(self) -> CurveSettings:
        """How the curves are drawn."""
        return CurveSettings(
            smoothing=_MOST_SMOOTHING * math.sqrt(self._smoothing.value() / 100),
            by_time=self._axis.currentIndex() == 1,
            logarithmic=self._log.isChecked(),
            roles=frozenset(role for role, box in self._roles.items() if box.isChecked()),
        )

    def restyle(self) -> None:
        for role, box in self._roles.items():
            box.setIcon(_swatch(role_colour(role), self.devicePixelRatioF()))
        self._show_roles()
        for plot in self.plots.values():
            plot.restyle()

    def _show_roles(self) -> None:
        """Show the names and check boxes of the run's flows."""
        roles = self.roles()
        for role, box in self._roles.items():
            box.setVisible(role in roles)

    def run_changed(self) -> None:
        self._show_roles()
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
        self._show_roles()
        quantities = list_quantities(self.view)
        self._list(quantities)
        self._make_plots([quantity for quantity in quantities if quantity.name in self._chosen])
        settings = self.settings
        for plot in self.plots.values():
            plot.draw(self.view, self.studio.seed, settings)
        self._caution.setVisible(any(plot.incomplete for plot in self.plots.values()))

    def _list(self, quantities: list[Quantity]) -> None:
        listed = [self._quantities.item(row).data(Qt.ItemDataRole.UserRole) for row in range(self._quantities.count())]
        if listed == [quantity.name for quantity in quantities]:
            return
        self._quantities.blockSignals(True)
        self._quantities.clear()
        for quantity in quantities:
            item = QListWidgetItem(plain(quantity.label, _LONGEST))
            item.setData(Qt.ItemDataRole.UserRole, quantity.name)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable | Qt.ItemFlag.ItemIsSelectable)
            item.setCheckState(Qt.CheckState.Checked if quantity.name in self._chosen else Qt.CheckState.Unchecked)
            item.setToolTip(tip(f"in {quantity.unit}" if quantity.unit else quantity.label))
            self._quantities.addItem(item)
        self._quantities.blockSignals(False)

    def _choose(self, item: QListWidgetItem) -> None:
        name = item.data(Qt.ItemDataRole.UserRole)
        (self._chosen.add if item.checkState() == Qt.CheckState.Checked else self._chosen.discard)(name)
        if not self._chosen:
            self._chosen.add(name)  # at least one stays plotted
            item.setCheckState(Qt.CheckState.Checked)
        self.mark_dirty()

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

    def _point(self, x: float) -> None:
        for plot in self.plots.values():
            plot.point(x)
        self._readout.setText(self._read(x) if math.isfinite(x) else "")

    def _read(self, x: float) -> str:
        settings = self.settings
        texts = [f"{x:.1f} s" if settings.by_time else f"step {max(0, round(x)):,}"]
        for plot in self.plots.values():
            values = []
            for role in self.roles():
                stage = self.stage(role)
                curve = stage.curves.get(plot.quantity.curves[-1]) if stage is not None else None
                if curve is not None and len(curve) and role in settings.roles:
                    values.append(f"{role_name(role)} {_nearest(curve, x, by_time=settings.by_time):.4g}")
            texts.append(f"{plot.quantity.label}: {', '.join(values)}" if values else "")
        return "  ·  ".join(text for text in texts if text)


def _swatch(colour: str, ratio: float) -> QIcon:
    """Return an icon of a short line in a colour."""
    picture = QPixmap(round(SPACE * 2 * ratio), round(SPACE * 2 * ratio))
    picture.setDevicePixelRatio(ratio)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.fillRect(0, SPACE - 2, 2 * SPACE, 4, QColor(colour))
    painter.end()
    return QIcon(picture)


def _nearest(curve: Curve, x: float, *, by_time: bool) -> float:
    xs = curve.times if by_time else curve.steps
    return float(curve.values[int(np.abs(xs - x).argmin())])
