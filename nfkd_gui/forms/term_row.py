"""A row of the loss table: a term, its weight, schedule and share of the gradient."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from nfkd_gui.forms.fields import Section
from nfkd_gui.forms.term_cells import CURVE_WIDTH, SHARE_WIDTH, ScheduleCurve, ShareBar
from nfkd_gui.theme import fix_size, scaled, set_space, set_type, tokens
from nfkd_gui.widgets.labels import ElidedLabel, ToneLabel, TypeLabel, WrappedLabel, tip
from nfkd_gui.widgets.message_cell import mark_wrong
from nfkd_gui.widgets.number_box import HEIGHT, NumberBox
from nfkd_gui.widgets.panel_dock import IconButton

ROW, HEAD = 44, 28
CHEVRON, WEIGHT, GAP, EDGE = 20, 48, 8, 12
"""Widths of the chevron and the weight, between columns, and at the right edge."""
_LEFT = 4
_ARROWS = {Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_Left, Qt.Key.Key_Right}


class TableHead(QFrame):
    """The names of the columns."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        fix_size(self, height=HEAD)
        line = QHBoxLayout(self)
        set_space(line, GAP, _LEFT + CHEVRON + 4, 0, EDGE, 0)
        last = QHBoxLayout()
        set_space(last, 0)
        line.addWidget(self._label("Term"), 1)
        line.addWidget(self._label("Weight", WEIGHT))
        line.addLayout(last)
        last.addWidget(self._label("Schedule", CURVE_WIDTH))
        share = self._label("Gradient share", GAP + SHARE_WIDTH)  # wider than its column
        share.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        last.addWidget(share)

    def _label(self, text: str, width: int = 0) -> ToneLabel:
        label = ToneLabel(text, parent=self)
        set_type(label, "caption")
        if width:
            fix_size(label, width)
        return label

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(tokens().raised))
        _draw_line(painter, self)
        painter.end()


class _Chevron(IconButton):
    """Leaves the arrow keys to the row; a button would move the focus to any button near it."""

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in _ARROWS:
            event.ignore()
        else:
            super().keyPressEvent(event)


class TermRow(QFrame):
    """One term. A message takes the place of schedule and share, which are not known then."""

    toggled = Signal()
    """The user wants to unfold or fold the row."""
    moved = Signal(int)
    """The user wants to go to the next (1) or the previous row (−1)."""

    def __init__(self, field: Section, plain_name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        label = field.label
        self.unfolded = False
        self.chevron = _Chevron("folded", f"Settings of {label}", f"Show the other settings of {label}.", self)
        self.chevron.setObjectName(f"{field.path}.unfold")
        self.chevron.setCheckable(True)
        self.chevron.clicked.connect(self.toggled)
        fix_size(self.chevron, CHEVRON, CHEVRON)
        self.name = TypeLabel("strong", label.replace("&", "&&"), self)
        self.plain_name = ElidedLabel(plain_name, parent=self)
        set_type(self.plain_name, "caption")
        self.weight = NumberBox(whole=False, buttons=False, parent=self)
        self.name.setBuddy(self.weight)
        fix_size(self.weight, WEIGHT, HEIGHT)
        self.curve = ScheduleCurve(self)
        self.share = ShareBar(quiet=field.name == "nll", parent=self)
        self._message = WrappedLabel(tone="error", parent=self)
        self._message.setObjectName(f"{field.path}.weight.message")
        set_type(self._message, "caption")
        for widget in (self, self.name, self.plain_name):
            widget.setToolTip(tip(f"{field.title}. {field.help}"))
        self._lay_out()

    def _lay_out(self) -> None:
        fix_size(self, height=ROW)
        names = QVBoxLayout()
        set_space(names, 0)
        names.addStretch(1)
        names.addWidget(self.name)
        names.addWidget(self.plain_name)
        names.addStretch(1)
        figures = QWidget(self)
        inside = QHBoxLayout(figures)
        set_space(inside, GAP)
        inside.addWidget(self.curve)
        inside.addWidget(self.share)
        self._right = QStackedWidget(self)
        self._right.addWidget(figures)
        self._right.addWidget(self._message)
        fix_size(self._right, CURVE_WIDTH + GAP + SHARE_WIDTH, ROW - 2)
        line = QHBoxLayout(self)
        set_space(line, GAP, _LEFT, 0, EDGE, 1)
        head = QHBoxLayout()
        set_space(head, 4)
        head.addWidget(self.chevron)
        head.addLayout(names, 1)
        line.addLayout(head, 1)
        line.addWidget(self.weight)
        line.addWidget(self._right)

    @property
    def message(self) -> str:
        """What is wrong with the weight; may be empty."""
        return self._message.text()

    def show_message(self, text: str, help_: str) -> None:
        """Show what is wrong with the weight, or schedule and share."""
        self._message.setText(text)
        self._message.setToolTip(tip(text))
        self._right.setCurrentIndex(1 if text else 0)
        self.weight.setAccessibleDescription(text or help_)
        mark_wrong(self.weight, wrong=bool(text))

    def set_unfolded(self, unfolded: bool) -> None:
        """Show whether the settings below are shown."""
        self.unfolded = unfolded
        self.chevron.setChecked(unfolded)
        self.chevron.show_picture("unfolded" if unfolded else "folded")
        self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        del event
        self.chevron.setFocus()
        self.toggled.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = event.key()
        if key in {Qt.Key.Key_Up, Qt.Key.Key_Down}:
            self.moved.emit(-1 if key == Qt.Key.Key_Up else 1)
        elif key in {Qt.Key.Key_Left, Qt.Key.Key_Right}:
            if self.unfolded == (key == Qt.Key.Key_Left):
                self.toggled.emit()
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        if self.unfolded:
            painter.fillRect(self.rect(), QColor(tokens().soft))
        _draw_line(painter, self)
        painter.end()


def _draw_line(painter: QPainter, widget: QWidget) -> None:
    """Draw the line below a row."""
    painter.setPen(QColor(tokens().border))
    painter.drawLine(0, widget.height() - scaled(1), widget.width(), widget.height() - scaled(1))
