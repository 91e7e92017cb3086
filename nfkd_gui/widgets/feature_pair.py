"""Which two features of a vector are looked at."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QWidget

from nfkd.text import plain
from nfkd_gui.widgets.labels import PlainLabel

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_CHARACTERS = 12
_LONGEST = 80
"""Characters of a name in the list."""
_BAR, _WIDEST = 24, 400  # pixels of the list: for its bar, and at most


def feature_names(count: int, columns: Sequence[str] = ()) -> list[str]:
    """Return the names of a vector's features: its columns', or x₁, x₂ and so on."""
    if len(columns) == count:
        return list(columns)
    return [f"x{str(number).translate(_SUBSCRIPTS)}" for number in range(1, count + 1)]


class FeaturePair(QWidget):
    """Two choices, for data of more than two features; it hides where there is nothing to choose."""

    changed = Signal()

    def __init__(self, name: str, parent: QWidget) -> None:
        super().__init__(parent)
        self._names: list[str] = []
        self._boxes = [QComboBox(self) for _ in range(2)]
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for box, axis, words in zip(self._boxes, "xy", ("&Features", "an&d"), strict=True):
            box.setObjectName(f"{name}.feature_{axis}")
            box.setToolTip(f"The feature along {axis}.")
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(_CHARACTERS // 2)
            box.currentIndexChanged.connect(lambda _index: self.changed.emit())
            label = PlainLabel(words, self)
            label.setBuddy(box)
            row.addWidget(label)
            row.addWidget(box)
        self.hide()

    @property
    def chosen(self) -> tuple[int, int]:
        """The numbers of the features along x and y."""
        if len(self._names) <= 2:
            return 0, len(self._names) - 1
        return self._boxes[0].currentIndex(), self._boxes[1].currentIndex()

    @property
    def names(self) -> tuple[str, str]:
        """The names of the two."""
        first, second = self.chosen
        return (self._names[first], self._names[second]) if self._names else ("", "")

    def offer(self, names: Sequence[str]) -> None:
        """Offer these features; the first two are chosen when they are others than before."""
        if list(names) == self._names:
            return
        self._names = list(names)
        for place, box in enumerate(self._boxes):
            box.blockSignals(True)
            box.clear()
            box.addItems([plain(name, _LONGEST) for name in self._names])
            box.setCurrentIndex(min(place, len(self._names) - 1))
            box.view().setMinimumWidth(min(box.view().sizeHintForColumn(0) + _BAR, _WIDEST))
            box.blockSignals(False)
        self.setVisible(len(self._names) > 2)
