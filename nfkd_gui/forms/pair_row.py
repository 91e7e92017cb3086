"""One row of the pairs table: two layers, a weight and a message."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QToolButton, QWidget

from nfkd.protocol.requests import LayerInfo
from nfkd.text import plain
from nfkd_gui.forms.layout import fill_column
from nfkd_gui.theme import fix_size, set_space
from nfkd_gui.widgets.combo import FittingComboBox
from nfkd_gui.widgets.labels import tip
from nfkd_gui.widgets.message_cell import MessageCell
from nfkd_gui.widgets.number_box import HEIGHT, NumberBox
from nfkd_gui.widgets.wheel import guard_wheel

WEIGHT_WIDTH = 56
REMOVE_WIDTH = 24
SPACING = 4


class LayerBox(FittingComboBox):
    """A choice of the layers that fit; another layer of a document is shown and kept until the user chooses."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMaxVisibleItems(24)
        guard_wheel(self)

    def offer(self, layers: list[LayerInfo], value: str, label: str) -> None:
        """Offer layers, and select `value`, which is shown as `label` if it is none of them."""
        self.clear()
        for layer in layers:
            self.addItem(plain(layer.label), layer.name)
            shape = "×".join(str(size) for size in layer.shape)
            self.setItemData(self.count() - 1, tip(f"{layer.name}, {shape}"), Qt.ItemDataRole.ToolTipRole)
        if self.findData(value) < 0:
            self.addItem(plain(label), value)
        self.setCurrentIndex(self.findData(value))


class PairRow(QWidget):
    """A row of the table; keeps unknown keys of a document."""

    chosen = Signal()
    """The user chose another layer."""
    typed = Signal()
    """The user changed the weight."""
    removed = Signal()

    def __init__(self, item: dict[str, Any], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._item = dict(item)
        self.student, self.teacher = LayerBox(self), LayerBox(self)
        self.weight = NumberBox(whole=False, buttons=False, parent=self)
        fix_size(self.weight, WEIGHT_WIDTH, HEIGHT)
        self.weight.setAlignment(Qt.AlignmentFlag.AlignRight)
        guard_wheel(self.weight)
        self.weight.set_value(item.get("weight", 1.0))
        self.remove = QToolButton(self)
        self.remove.setText("✕")
        self.remove.setAutoRaise(True)
        self.remove.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        fix_size(self.remove, REMOVE_WIDTH)
        self._lay_out()
        self.student.activated.connect(lambda _index: self._choose("student", self.student))
        self.teacher.activated.connect(lambda _index: self._choose("teacher", self.teacher))
        self.weight.changed.connect(self._set_weight)
        self.remove.clicked.connect(self.removed)

    def _lay_out(self) -> None:
        widgets = QWidget(self)
        self._cell = MessageCell(widgets, self)
        line = QHBoxLayout(widgets)
        set_space(line, SPACING)
        line.addWidget(self.student, 1)
        line.addWidget(self.teacher, 1)
        line.addWidget(self.weight)
        line.addWidget(self.remove)
        fill_column(self, self._cell)

    @property
    def message(self) -> str:
        """What is wrong with the pair; may be empty."""
        return self._cell.message

    def set_index(self, index: int, path: str) -> None:
        """Set the object names and accessible names for the row's index in the field `path`."""
        widgets = {"student": self.student, "teacher": self.teacher, "weight": self.weight, "remove": self.remove}
        tips = {
            "student": "The student's layer",
            "teacher": "The teacher's layer to match it with",
            "weight": "The pair's weight in the loss; a pair of weight zero is only measured",
            "remove": "Remove this pair",
        }
        for name, widget in widgets.items():
            widget.setObjectName(f"{path}.{index}.{name}")
            widget.setAccessibleName(f"{tips[name]}, pair {index + 1}")
            widget.setToolTip(f"{tips[name]}.")
        self._cell.setObjectName(f"{path}.{index}.message")

    @property
    def names(self) -> tuple[str, str]:
        """The names of the two layers; may be empty."""
        return str(self._item.get("student", "")), str(self._item.get("teacher", ""))

    def set_teacher(self, name: str) -> None:
        """Set the teacher's layer."""
        self._item["teacher"] = name

    def value(self) -> dict[str, Any]:
        """Return the pair as a document has it."""
        return dict(self._item)

    def set_value(self, item: dict[str, Any]) -> None:
        """Show another pair; the choices of layers follow with `LayerBox.offer`."""
        if item != self._item:
            self._item = dict(item)
            self.weight.set_value(item.get("weight", 1.0))

    def show_message(self, text: str) -> None:
        """Show what is wrong with the pair; may be empty."""
        self._cell.show_message(text)
        for widget in (self.student, self.teacher, self.weight):
            widget.setAccessibleDescription(text or widget.toolTip())

    def _choose(self, side: str, box: LayerBox) -> None:
        self._item[side] = box.currentData()
        self.chosen.emit()

    def _set_weight(self) -> None:
        value = self.weight.value()
        self._item["weight"] = float(value) if isinstance(value, int) else value
        self.typed.emit()
