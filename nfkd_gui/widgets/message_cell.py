"""An editor, its label, and the room for a line below them, where a message is written: messages move no field."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QRect, Qt
from PySide6.QtGui import QFontMetrics, QHelpEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QToolTip, QVBoxLayout, QWidget

from nfkd_gui.theme import font, repolish, scaled, set_space
from nfkd_gui.widgets.labels import tip, tone_colour

LINE = 12
"""Height of the line."""


class MessageCell(QWidget):
    """Holds an editor; a message that does not fit is cut with an ellipsis, and its tooltip has all of it.

    Parameters
    ----------
    label
        The label at the left of the editor, or above an editor that is `wide`; None for no label.
    """

    def __init__(
        self, editor: QWidget, parent: QWidget | None = None, *, label: QWidget | None = None, wide: bool = False
    ) -> None:
        super().__init__(parent)
        self.editor, self._help = editor, editor.toolTip()
        self.message = ""
        line = QVBoxLayout(self) if wide else QHBoxLayout(self)
        set_space(line, 0, 0, 0, 0, LINE)
        if label is not None:
            line.addWidget(label, 0, Qt.AlignmentFlag.AlignTop)
        side = Qt.AlignmentFlag.AlignLeft if isinstance(editor, QPushButton) else Qt.AlignmentFlag(0)
        line.addWidget(editor, 1, Qt.AlignmentFlag.AlignTop | side)

    def show_message(self, text: str) -> None:
        """Show a message, or none; the editor gets a red border, and screen readers read the message."""
        if text == self.message:
            return
        self.message = text
        self.editor.setAccessibleDescription(text or self._help)
        mark_wrong(self.editor, wrong=bool(text))
        self.update()

    def visible_message(self) -> str:
        """Return the message as it is shown, with an ellipsis if it is cut."""
        metrics = QFontMetrics(font("caption"))
        return metrics.elidedText(self.message.replace("\n", " "), Qt.TextElideMode.ElideRight, self.width())

    def _line(self) -> QRect:
        return QRect(0, self.height() - scaled(LINE), self.width(), scaled(LINE))

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and self.message and self._line().contains(event.pos()):
            QToolTip.showText(event.globalPos(), tip(self.message), self)
            return True
        return super().event(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self.message:
            return
        painter = QPainter(self)
        painter.setFont(font("caption"))
        painter.setPen(tone_colour("error"))
        shown, line = self.visible_message(), self._line()
        line.setLeft(max(0, min(self.editor.x(), self.width() - painter.fontMetrics().horizontalAdvance(shown))))
        painter.drawText(line, Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextDontClip, shown)
        painter.end()


def mark_wrong(editor: QWidget, *, wrong: bool) -> None:
    """Give an editor, and the lines of text inside it, the border of a wrong value or the usual one."""
    for widget in (editor, *editor.findChildren(QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly)):
        if bool(widget.property("wrong")) != wrong:
            widget.setProperty("wrong", wrong)
            repolish(widget)
