"""Two combo boxes that choose the features on the x and y axes."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QWidget

from nfkd.text import plain
from nfkd_gui.theme import scaled, set_space
from nfkd_gui.widgets.combo import FittingComboBox
from nfkd_gui.widgets.labels import PlainLabel

_LONGEST = 80
"""Characters of a name in the list."""
_SCROLL_BAR, _WIDEST = 24, 400
"""Pixels: width of the list's scroll bar, and its greatest width."""


class FeaturePicker(QWidget):
    """Chooses two features; hidden unless there are more than two.

    Parameters
    ----------
    label
        What the features are called, with the shortcut's ampersand.
    """

    changed = Signal()

    def __init__(self, name: str, parent: QWidget, label: str = "&Features") -> None:
        super().__init__(parent)
        self._names: list[str] = []
        self._boxes = [FittingComboBox(self) for _ in range(2)]
        row = QHBoxLayout(self)
        set_space(row, 6)
        for box, axis, text in zip(self._boxes, "xy", (label, "an&d"), strict=True):
            box.setObjectName(f"{name}.feature_{axis}")
            box.setToolTip(f"The feature along {axis}.")
            box.currentIndexChanged.connect(lambda _index: self.changed.emit())
            name_of = PlainLabel(text, self)
            name_of.setBuddy(box)
            row.addWidget(name_of)
            row.addWidget(box)
        self.hide()

    @property
    def chosen(self) -> tuple[int, int]:
        """Indices of the features along x and y; equal if there is only one."""
        if len(self._names) <= 2:
            return 0, len(self._names) - 1
        return self._boxes[0].currentIndex(), self._boxes[1].currentIndex()

    @property
    def names(self) -> tuple[str, str]:
        """Names of the chosen features."""
        first, second = self.chosen
        return (self._names[first], self._names[second]) if self._names else ("", "")

    def offer(self, names: Sequence[str]) -> None:
        """Set the features to choose from; if they changed, the first two are chosen."""
        if list(names) == self._names:
            return
        self._names = list(names)
        for index, box in enumerate(self._boxes):
            box.blockSignals(True)
            box.clear()
            box.addItems([plain(name, _LONGEST) for name in self._names])
            box.setCurrentIndex(min(index, len(self._names) - 1))
            box.view().setMinimumWidth(min(box.view().sizeHintForColumn(0) + scaled(_SCROLL_BAR), scaled(_WIDEST)))
            box.blockSignals(False)
        self.setVisible(len(self._names) > 2)
