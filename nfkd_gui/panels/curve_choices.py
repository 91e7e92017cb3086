"""The choices of the curves panel: menus that stand in its head where there is room, and one menu with all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PySide6.QtCore import QObject, QSize, Qt, Signal
from PySide6.QtGui import QAction, QActionGroup, QColor, QIcon, QPainter, QPixmap, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QMenu, QSizePolicy, QSlider, QToolButton, QWidget, QWidgetAction

from nfkd.protocol.roles import ROLES, USUAL, Role, role_label
from nfkd.text import plain
from nfkd_gui.panels.curve_traces import CurveSettings
from nfkd_gui.panels.quantities import LIKELIHOOD, Quantity
from nfkd_gui.theme import fix_size, limit_size, role_colour, scaled, set_space
from nfkd_gui.widgets.labels import tip
from nfkd_gui.widgets.panel_dock import IconButton

_MOST_SMOOTHING = 0.99
_LONGEST = 80
"""Characters of a name in the list."""
_SWATCH, _BUTTON, _BETWEEN = 16, 24, 8
_AXES = {
    "step": ("by &step", "Steps of the optimizer."),
    "epoch": ("by &epoch", "Passes over the training examples."),
    "time": ("by &time", "Seconds since the stage started."),
}
_VALUES = {
    "linear": ("&Linear", "Even steps."),
    "log": ("L&og", "Powers of ten; only for positive values."),
    "symlog": ("S&ymlog", "Powers of ten of both signs, linear around zero."),
}
_SEEDS = {
    "all": ("&All seeds", "The mean of the seeds that have ended, with a band, and the seed in training."),
    "shown": ("Shown &seed only", "The seed that the other panels show."),
}
_BANDS = {
    "range": ("Band: &minimum to maximum", "The band reaches from the lowest to the highest seed."),
    "deviation": ("Band: ± one standard &deviation", "The band is the mean ± the standard deviation over seeds."),
}


class CurveChoices(QObject):
    """Holds the choices as actions of menus.

    Attributes
    ----------
    tools
        Buttons for the head of the panel.
    chosen
        Names of the quantities that are plotted.
    """

    changed = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._parent = parent
        self.chosen = {LIKELIHOOD}
        self._listed: list[Quantity] = []
        self._menu = QMenu(parent)
        self._quantities = self._submenu("&Plots", "plots")
        self.axis = self._radio(self._submenu("&X axis", "axis"), "axis", _AXES)
        smoothing = self._submenu("S&moothing", "smooth")
        self.smoothing = self._slider(smoothing)
        self.values = self._radio(self._submenu("&Values", "values"), "values", _VALUES)
        seeds = self._submenu("S&eeds", "seeds")
        self.seeds = self._radio(seeds, "seeds", _SEEDS)
        seeds.addSeparator()
        self.band = self._radio(seeds, "band", _BANDS)
        self.roles = self._flow_actions(self._submenu("&Flows", "flows"))
        self.outliers = self._check(self._menu, "outliers", "Ignore &outliers")
        self.outliers.setToolTip("The y axis spans the 5th to the 95th percentile of the values that are plotted.")
        about = {
            "plots": "What to plot; each quantity gets a plot of its own.",
            "axis": "What the x axis shows.",
            "smoothing": "Moving average of training curves; validation points stay as they are.",
        }
        menus = {"plots": self._quantities, "axis": self._submenus["axis"], "smoothing": smoothing}
        self._buttons = {name: self._button(name, menus[name], text) for name, text in about.items()}
        self._more = IconButton("choose", "Choose what the curves show", "Flows, seeds, scale of the values.", parent)
        self._more.setObjectName("curves.more")
        self._more.setMenu(self._menu)
        self._more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.tools = _FittingTools(list(self._buttons.values()), self._more, parent)
        self._name_buttons()

    # --- construction ---------------------------------------------------------------------------------------------

    def _submenu(self, title: str, name: str) -> QMenu:
        menu = self._menu.addMenu(title)
        menu.setObjectName(f"curves.{name}.menu")
        menu.setToolTipsVisible(True)
        self._submenus = {**getattr(self, "_submenus", {}), name: menu}
        return menu

    def _check(self, menu: QMenu, name: str, text: str) -> QAction:
        action = menu.addAction(text)
        action.setObjectName(f"curves.{name}")
        action.setCheckable(True)
        action.toggled.connect(self._changed)
        return action

    def _radio(self, menu: QMenu, name: str, texts: dict[str, tuple[str, str]]) -> dict[str, QAction]:
        group, actions = QActionGroup(menu), dict[str, QAction]()
        for key, (text, about) in texts.items():
            action = actions[key] = self._check(menu, f"{name}.{key}", text)
            action.setToolTip(about)
            group.addAction(action)
        next(iter(actions.values())).setChecked(True)
        return actions

    def _flow_actions(self, menu: QMenu) -> dict[Role, QAction]:
        actions: dict[Role, QAction] = {}
        for role in ROLES:
            action = actions[role] = self._check(menu, f"role.{role}", role_label(role))
            action.setChecked(True)
            action.setVisible(role in USUAL)
        return actions

    def _slider(self, menu: QMenu) -> QSlider:
        slider = QSlider(Qt.Orientation.Horizontal, menu)
        slider.setObjectName("curves.smoothing")
        slider.setAccessibleName("Smoothing of training curves, in per cent")
        slider.setToolTip("Moving average; the raw line stays visible behind it.")
        slider.setRange(0, 100)
        limit_size(slider, least=(160, 0))
        slider.valueChanged.connect(self._changed)
        holder = QWidgetAction(menu)
        holder.setDefaultWidget(slider)
        menu.addAction(holder)
        return slider

    def _button(self, name: str, menu: QMenu, about: str) -> QToolButton:
        button = QToolButton(self._parent)
        button.setObjectName(f"curves.{name}.button")
        button.setToolTip(about)
        button.setMenu(menu)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        fix_size(button, height=_BUTTON)
        if name == "smoothing":
            button.setProperty("flat", True)
        return button

    # --- state ----------------------------------------------------------------------------------------------------

    @property
    def settings(self) -> CurveSettings:
        """How the curves are drawn."""
        return CurveSettings(
            smoothing=_MOST_SMOOTHING * math.sqrt(self.smoothing.value() / 100),
            axis=_checked(self.axis),  # type: ignore[arg-type]
            values=_checked(self.values),  # type: ignore[arg-type]
            roles=frozenset(role for role, action in self.roles.items() if action.isChecked()),
            all_seeds=_checked(self.seeds) == "all",
            band=_checked(self.band),  # type: ignore[arg-type]
            ignore_outliers=self.outliers.isChecked(),
        )

    def _changed(self) -> None:
        if hasattr(self, "_more"):  # the first choices are made while the menus are built
            self._name_buttons()
            self.changed.emit()

    def show_roles(self, roles: Sequence[Role]) -> None:
        """Offer the flows of a run."""
        for role, action in self.roles.items():
            action.setVisible(role in roles)

    def show_epochs(self, known: bool) -> None:
        """Offer epochs where the run says how long they are."""
        self.axis["epoch"].setEnabled(known)
        self.axis["epoch"].setToolTip(
            _AXES["epoch"][1] if known else "Runs of older versions do not tell their epochs."
        )
        if not known and self.axis["epoch"].isChecked():
            self.axis["step"].setChecked(True)

    def show_quantities(self, quantities: list[Quantity]) -> None:
        """List what can be plotted."""
        if quantities == self._listed:
            return
        self._listed = quantities
        self._quantities.clear()
        for quantity in quantities:
            action = QAction(plain(quantity.label, _LONGEST).replace("&", "&&"), self._quantities)
            action.setObjectName(f"curves.quantity.{quantity.name}")
            action.setData(quantity.name)
            action.setCheckable(True)
            action.setChecked(quantity.name in self.chosen)
            action.setToolTip(tip(f"in {quantity.unit}" if quantity.unit else quantity.label))
            action.toggled.connect(self._choose)
            self._quantities.addAction(action)
        self._name_buttons()

    def _choose(self) -> None:
        checked = {action.data() for action in self._quantities.actions() if action.isChecked()}
        if not checked:  # at least one stays plotted
            action = next(each for each in self._quantities.actions() if each.data() in self.chosen)
            action.setChecked(True)
            return
        self.chosen = checked
        self._changed()

    def _name_buttons(self) -> None:
        shown = [quantity for quantity in self._listed if quantity.name in self.chosen]
        texts = {
            "plots": f"{len(shown)} plots" if len(shown) > 1 else shown[0].name_in_head if shown else "Likelihood",
            "axis": self.axis[_checked(self.axis)].text().replace("&", ""),
            "smoothing": f"Smoothing {self.smoothing.value()}",
        }
        for name, button in self._buttons.items():
            button.setText(f"{plain(texts[name], 24).replace('&', '&&')}  ▾")
            button.setAccessibleName(f"{button.toolTip()} Now: {texts[name]}")

    def restyle(self) -> None:
        """Apply the current theme."""
        for role, action in self.roles.items():
            action.setIcon(_swatch(role_colour(role), self._parent.devicePixelRatioF()))


class _FittingTools(QWidget):
    """Buttons of which the first ones are hidden where they do not fit; `last` offers all that they do."""

    def __init__(self, buttons: Sequence[QWidget], last: QWidget, parent: QWidget) -> None:
        super().__init__(parent)
        self._buttons, self._last = buttons, last
        line = QHBoxLayout(self)
        set_space(line, _BETWEEN)
        line.addStretch(1)
        for button in (*buttons, last):
            line.addWidget(button)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)

    def sizeHint(self) -> QSize:
        sizes = [button.sizeHint() for button in (*self._buttons, self._last)]
        width = sum(size.width() for size in sizes) + scaled(_BETWEEN) * (len(sizes) - 1)
        return QSize(width, max(size.height() for size in sizes))

    def minimumSizeHint(self) -> QSize:
        return self._last.minimumSizeHint()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        for button in self._buttons:
            button.setVisible(self.width() >= self.sizeHint().width())


def _checked(actions: dict[str, QAction]) -> str:
    return next((key for key, action in actions.items() if action.isChecked()), next(iter(actions)))


def _swatch(colour: str, ratio: float) -> QIcon:
    """Return an icon of a short line in a colour."""
    size = scaled(_SWATCH)
    picture = QPixmap(round(size * ratio), round(size * ratio))
    picture.setDevicePixelRatio(ratio)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.fillRect(0, size // 2 - 2, size, 4, QColor(colour))
    painter.end()
    return QIcon(picture)
