"""A combo box that shows its whole entries where there is room."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QComboBox, QSizePolicy, QStyle, QStyleOptionComboBox, QStylePainter, QWidget

from nfkd_gui.theme import scaled
from nfkd_gui.widgets.labels import tip

_NARROWEST, _WIDEST = 72, 320


class FittingComboBox(QComboBox):
    """As wide as its longest entry; where it gets less room, the text is cut in the middle and is in the tooltip."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._help = ""
        self.picked = False
        """Whether the user has chosen the entry."""
        self.activated.connect(self._note_pick)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.currentTextChanged.connect(self._update_tip)

    def _note_pick(self, _index: int) -> None:
        self.picked = True

    def setToolTip(self, text: str) -> None:
        self._help = text
        self._update_tip()

    def sizeHint(self) -> QSize:
        texts = [self.itemText(index) for index in range(self.count())]
        self.ensurePolished()
        wanted = max((self.fontMetrics().horizontalAdvance(text) for text in texts), default=0)
        frame = scaled(_WIDEST) - self._room(scaled(_WIDEST))
        return QSize(min(wanted + frame + 2, scaled(_WIDEST)), super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        return QSize(min(self.sizeHint().width(), scaled(_NARROWEST)), super().minimumSizeHint().height())

    def visible_text(self) -> str:
        """Return the text as it is shown, with an ellipsis if it is cut."""
        room = self._room(self.width())
        return self.fontMetrics().elidedText(self.currentText(), Qt.TextElideMode.ElideMiddle, room)

    def _room(self, width: int) -> int:
        """Return the width of the text in a box of a width."""
        self.ensurePolished()  # a style sheet changes font and frame
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        option.rect.setWidth(width)  # type: ignore[attr-defined]
        field = QStyle.SubControl.SC_ComboBoxEditField
        return self.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, field, self).width() - 2

    def _update_tip(self) -> None:
        cut = self.visible_text() != self.currentText()
        super().setToolTip("\n".join(text for text in (tip(self.currentText()) if cut else "", self._help) if text))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._update_tip()

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter, option = QStylePainter(self), QStyleOptionComboBox()
        self.initStyleOption(option)
        option.currentText = self.visible_text()  # type: ignore[attr-defined]
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
        painter.end()
