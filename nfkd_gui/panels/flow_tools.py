"""The controls in the head of the flow panel: which flows, which example, and what the planes draw."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QObject, QSignalBlocker, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QCheckBox, QComboBox, QPushButton, QWidget

from nfkd.protocol.inspection import Origin
from nfkd.protocol.roles import Role, role_label
from nfkd_gui.theme import scaled
from nfkd_gui.widgets.number_field import NumberField
from nfkd_gui.widgets.switch import Switch

GRIDS = {"noise": ("Grid of the noise", ""), "data": ("Grid of the data", "")}
_PARTS = {
    "points": ("Points", "Samples of the flow from the same noise, coloured by the angle of the noise."),
    "contours": ("Contours", "Rings of one (solid) and two (dashed) standard deviations of the noise."),
    "arrows": ("Arrows", "The way of some points through the present layer."),
}
_KINDS = {
    "validation": ("Example", "An example of the validation data."),
    "test": ("Test example", "An example of the test data."),
    "sample": ("Sample", "Each flow's own sample from the noise of the run's pictures, as in Samples."),
}
_MOST, _SAMPLES = 999_999, 64


class PlaneTools(QObject):
    """What the planes draw: check boxes and a switch for wide panels, entries of the menu for all.

    Attributes
    ----------
    widgets
        For the head.
    actions
        For the menu.
    grid
        Whether the grid is regular among the noise or among the data.
    """

    parts_changed = Signal()
    grid_changed = Signal(str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.grid = "noise"
        self._switch = Switch("flow.grid", GRIDS, parent)
        self._switch.chosen.connect(self.choose_grid)
        self._boxes: dict[str, QCheckBox] = {}
        self.actions: list[QAction] = []
        for name, (text, help_) in _PARTS.items():
            box = self._boxes[name] = QCheckBox(text, parent)
            box.setObjectName(f"flow.{name}")
            box.setToolTip(help_)
            box.setChecked(name != "arrows")
            box.toggled.connect(self.parts_changed)
            action = QAction(text, parent)
            action.setToolTip(help_)
            action.setCheckable(True)
            action.setChecked(box.isChecked())
            action.setObjectName(f"flow.show_{name}")
            action.toggled.connect(box.setChecked)
            box.toggled.connect(action.setChecked)
            self.actions.append(action)
        self._data_grid = QAction(GRIDS["data"][0], parent)
        self._data_grid.setObjectName("flow.show_data_grid")
        self._data_grid.setToolTip("A grid that is regular in the data, in place of one that is regular in the noise.")
        self._data_grid.setCheckable(True)
        self._data_grid.triggered.connect(self._choose_data)
        self.actions.append(self._data_grid)
        self.widgets: list[QWidget] = [self._switch, *self._boxes.values()]
        self.choose_grid("noise")

    @property
    def parts(self) -> dict[str, bool]:
        """Which parts are drawn, by their names."""
        return {name: box.isChecked() for name, box in self._boxes.items()}

    def _choose_data(self, data: bool) -> None:
        self.choose_grid("data" if data else "noise")

    def choose_grid(self, grid: str) -> None:
        """Choose where the grid is regular."""
        self._switch.show_state(grid, list(GRIDS))
        self._data_grid.setChecked(grid == "data")
        if grid != self.grid:
            self.grid = grid
            self.grid_changed.emit(grid)


class ExampleTools(QObject):
    """The choice of an example, for images and longer vectors."""

    changed = Signal(object)
    """An `Origin` that the user chose."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.kind = QComboBox(parent)
        self.kind.setObjectName("flow.kind")
        self.kind.setAccessibleName("Kind of example")
        self.kind.setToolTip("Where the example comes from.")
        for kind, (text, _help) in _KINDS.items():
            self.kind.addItem(text, kind)
        self.number = NumberField(parent)
        self.number.setObjectName("flow.number")
        self.number.setAccessibleName("Number of the example")
        self.number.setToolTip("Number of the example or of the sample.")
        self.number.setRange(0, _MOST)
        self.number.setKeyboardTracking(False)
        self.number.setMaximumWidth(scaled(84))
        self.kind.activated.connect(self._choose)
        self.number.valueChanged.connect(self._choose)
        self.inspect = QPushButton("Inspect", parent)
        self.inspect.setObjectName("flow.inspect")
        self.inspect.setToolTip("Show the example in the sample inspector.")
        self.widgets: list[QWidget] = [self.kind, self.number, self.inspect]

    def _choose(self) -> None:
        with QSignalBlocker(self.number):
            self.number.setMaximum(_SAMPLES - 1 if self.kind.currentData() == "sample" else _MOST)
        self.changed.emit(Origin(kind=self.kind.currentData(), index=self.number.value(), count=_SAMPLES))

    def show_origin(self, origin: Origin) -> None:
        """Show where the example comes from, without a signal; the number is empty for values and files."""
        found = self.kind.findData(origin.kind)
        self.kind.setCurrentIndex(found)
        with QSignalBlocker(self.number):
            self.number.setMaximum(max(origin.index, _SAMPLES - 1 if origin.kind == "sample" else _MOST))
            self.number.setValue(origin.index)

    @staticmethod
    def describe(origin: Origin) -> str:
        """Return where an example comes from."""
        if origin.kind in _KINDS:
            return f"{_KINDS[origin.kind][0].lower()} {origin.index}"
        return f"{origin.kind} {origin.index}" if origin.kind in ("train", "file") else "a given example"


class RoleChoice(QComboBox):
    """A choice between flows; hidden where there is only one."""

    chosen = Signal(str)

    def __init__(self, name: str, text: str, help_: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.setAccessibleName(text)
        self.setToolTip(help_)
        self.activated.connect(self._choose)

    def _choose(self) -> None:
        self.chosen.emit(self.currentData())

    def offer(self, roles: Sequence[Role], chosen: Role | None) -> None:
        """Show these flows."""
        if [self.itemData(index) for index in range(self.count())] != list(roles):
            self.clear()
            for role in roles:
                self.addItem(role_label(role), role)
        self.setCurrentIndex(self.findData(chosen))
        self.setVisible(len(roles) > 1)
