"""Moves the planes of the lab through the layers: a slider with the layers of teacher and student, and play."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from PySide6.QtCore import QElapsedTimer, QRectF, QSignalBlocker, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QSlider, QWidget

from nfkd.protocol.lab import LAB_ROLES
from nfkd.protocol.roles import DATA, Role
from nfkd_gui.panels.lab_cell import LEARNERS, NAMES
from nfkd_gui.theme import fix_size, role_colour, scaled, set_icon_size, set_space, tokens
from nfkd_gui.widgets.caption import Caption
from nfkd_gui.widgets.icons import icon
from nfkd_gui.widgets.labels import PlainLabel, ToneLabel, TypeLabel
from nfkd_gui.widgets.wheel import guard_wheel

STEPS = 1200
"""Positions of the slider from data to noise."""
_HEIGHT, _FRAME = 52, 20
_WAY, _REST = 3500, 600
"""Milliseconds of the way from the data to the noise while playing, and of the rest at each end."""
_SLACK = 0.01
"""Layers by which the slider may be off a layer, as its positions are whole numbers."""
_TICK, _SHORT, _GROOVE, _HANDLE = 14, 8, 4, 14


class Mark(NamedTuple):
    """A layer at a share of the way; a layer matched with one at the same share has no role."""

    share: float
    role: Role | None


class LayerTrack(QSlider):
    """A slider whose ticks are layers: the teacher's above the line, the student's below it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.marks: list[Mark] = []
        self.setRange(0, STEPS)
        self.setPageStep(STEPS // 6)
        fix_size(self, height=28)
        guard_wheel(self)

    def show_layers(self, counts: Mapping[Role, int], matched: Sequence[tuple[int, int]]) -> None:
        """Show the numbers of layers, and the matched ones as pairs of teacher and student, counted from 1."""
        teacher, student = counts.get("teacher", 0), counts.get("student", 0)
        both = {a / teacher for a, b in matched if teacher and student and a * student == b * teacher}
        self.marks = [Mark(share, None) for share in sorted(both)]
        for role, count in counts.items():
            shares = [number / count for number in range(1, count + 1)]
            self.marks += [Mark(share, role) for share in shares if share not in both]
        self.setSingleStep(STEPS // max(next(iter(counts.values()), 1), 1))
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(scaled(320), scaled(28))

    def minimumSizeHint(self) -> QSize:
        return QSize(scaled(100), scaled(28))

    def x_of(self, share: float) -> float:
        """Return the horizontal position of a share of the way."""
        room = self.width() - scaled(_HANDLE)
        return scaled(_HANDLE) / 2 + room * share

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        colours, middle = tokens(), self.height() / 2
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(colours.track))
            groove = QRectF(self.x_of(0), middle - scaled(_GROOVE) / 2, self.x_of(1) - self.x_of(0), scaled(_GROOVE))
            painter.drawRoundedRect(groove, scaled(2), scaled(2))
            for share, role in self.marks:
                painter.setPen(QPen(QColor(colours.accent if role is None else role_colour(role)), scaled(2)))
                above = 0 if role in LEARNERS else scaled(_TICK if role is None else _SHORT)
                below = 0 if role == "teacher" else scaled(_TICK if role is None else _SHORT)
                half = scaled(_GROOVE) / 2
                x, most = self.x_of(share), middle - 1
                top = min(above / 2 if role is None else above + half, most)
                bottom = min(below / 2 if role is None else below + half, most)
                painter.drawLine(round(x), round(middle - top), round(x), round(middle + bottom))
            self._draw_handle(painter)

    def _draw_handle(self, painter: QPainter) -> None:
        colours, side = tokens(), scaled(_HANDLE) - 2
        x = self.x_of(self.value() / STEPS)
        painter.setPen(QPen(QColor(colours.accent), 3 if self.hasFocus() else 2))
        painter.setBrush(QColor(colours.soft if self.hasFocus() else colours.panel))
        painter.drawEllipse(QRectF(x - side / 2, (self.height() - side) / 2, side, side))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Move to where the user clicks, and follow the mouse from there."""
        if event.button() == Qt.MouseButton.LeftButton:
            self.setSliderDown(True)
            self._follow(event.position().x())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self.isSliderDown():
            self._follow(event.position().x())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        del event
        self.setSliderDown(False)

    def _follow(self, x: float) -> None:
        left, right = self.x_of(0), self.x_of(1)
        self.setValue(round(STEPS * min(max((x - left) / max(right - left, 1), 0), 1)))


class LabScrubber(QFrame):
    """Shows and changes the position on the way; playing goes to the noise and back, again and again."""

    moved = Signal(float)
    """The share of the way that the user chose."""
    played = Signal(float)
    """The share of the way that is shown while playing."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        fix_size(self, height=_HEIGHT)
        self._counts: dict[Role, int] = {}
        self._matched: Sequence[tuple[int, int]] = ()
        self._roles: Collection[Role] = LAB_ROLES
        self.play = QPushButton("Play", self)
        self.play.setObjectName("lab.play_layers")
        self.play.setAccessibleName("Play through the layers")
        self.play.setToolTip("Go through the layers, from the data to the noise and back.")
        self.play.setCheckable(True)
        set_icon_size(self.play, 16)
        self.play.toggled.connect(self._toggle)
        self.track = LayerTrack(self)
        self.track.setObjectName("lab.position")
        self.track.setAccessibleName("Position between data and noise")
        self.track.valueChanged.connect(self._moved)
        self.text = Caption(parent=self)
        self.text.setObjectName("lab.layer_text")
        self.text.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._data, noise = PlainLabel("Data", self), ToneLabel("Noise", parent=self)
        self._elapsed = QElapsedTimer()
        self._begin = 0.0
        self._share = 0.0
        self._clock = QTimer(self)
        self._clock.setTimerType(Qt.TimerType.PreciseTimer)
        self._clock.setInterval(_FRAME)
        self._clock.timeout.connect(self._tick)
        line = QHBoxLayout(self)
        set_space(line, 12, 12, 0, 12, 0)
        for widget in (TypeLabel("strong", "Through the layers", self), self.play, self._data):
            line.addWidget(widget)
        line.addWidget(self.track, 4)
        line.addWidget(noise)
        line.addWidget(self.text, 1)
        self.restyle()

    # --- what is shown ------------------------------------------------------------------------------------------------

    @property
    def playing(self) -> bool:
        """Whether it moves by itself."""
        return self._clock.isActive()

    @property
    def share(self) -> float:
        """The share of the way that is shown."""
        return self._share

    def show_layers(self, counts: Mapping[Role, int], matched: Sequence[tuple[int, int]]) -> None:
        """Show the numbers of layers of the flows, and the matched ones of teacher and student."""
        self._counts, self._matched = dict(counts), matched
        self._fit_roles()

    def show_roles(self, roles: Collection[Role]) -> None:
        """Show the layers of some flows; the student alone has as many as the student."""
        self._roles = roles
        self._fit_roles()

    def _fit_roles(self) -> None:
        self.track.show_layers(self._shown, self._matched)
        above_below = {"teacher": "above the line", "student": "below it", "baseline": "below the line"}
        parts = ", ".join(f"{NAMES[role].lower()} {above_below[role]}" for role in self._shown)
        self.track.setToolTip(f"Go through the layers (Left, Right). Marks are layers: {parts}.")
        self._show_text()

    @property
    def _shown(self) -> dict[Role, int]:
        """The numbers of layers of the flows that are named."""
        both = "student" in self._roles
        return {role: count for role, count in self._counts.items()
                if role in self._roles and not (both and role == "baseline")}  # fmt: skip

    def show_share(self, share: float) -> None:
        """Show a share of the way, without a signal."""
        self._share = share
        with QSignalBlocker(self.track):
            self.track.setValue(round(STEPS * share))
        self._show_text()

    def _show_text(self) -> None:
        places = [f"{_number(self._share * count)} of {count}" for count in self._shown.values()]
        named = [f"{NAMES[role].lower()} {place}" for role, place in zip(self._shown, places, strict=True)]
        long = f"layer {places[0]}" if len(places) == 1 else " · ".join(named)
        self.text.show_texts([long, " · ".join(places)])

    # --- by the user --------------------------------------------------------------------------------------------------

    def go_by(self, layers: int) -> None:
        """Move to the next layer of the first flow, or to the one before."""
        count = max(next(iter(self._shown.values()), 1), 1)
        here = self._share * count
        target = math.floor(here + _SLACK) + 1 if layers > 0 else math.ceil(here - _SLACK) - 1
        self.pause()
        self.track.setValue(round(STEPS * min(max(target / count, 0), 1)))

    def pause(self) -> None:
        """Stop playing."""
        self.play.setChecked(False)

    def _moved(self, value: int) -> None:
        self.pause()
        self._share = value / STEPS
        self._show_text()
        self.moved.emit(self._share)

    def _toggle(self, on: bool) -> None:
        if on:
            self._begin = self._share * _WAY
            self._elapsed.start()
            self._clock.start()
        else:
            self._clock.stop()
            self.moved.emit(self._share)
        self.play.setText("Pause" if on else "Play")
        self.restyle()

    def _tick(self) -> None:
        if not self.isVisible():
            return
        self.show_share(_share_after(self._begin + self._elapsed.elapsed()))
        self.played.emit(self._share)

    def restyle(self) -> None:
        """Apply the current theme."""
        self.play.setIcon(icon("pause" if self.playing else "run"))
        self._data.setStyleSheet(f"color: {role_colour(DATA)};")
        self.track.update()


def _share_after(milliseconds: float) -> float:
    """Return the share of the way after a time: to the noise, a rest, back to the data, a rest."""
    turn = milliseconds % (2 * (_WAY + _REST))
    share = turn / _WAY if turn < _WAY + _REST else 1 - (turn - _WAY - _REST) / _WAY
    return min(max(share, 0.0), 1.0)


def _number(position: float) -> str:
    """Return a position between layers with at most one decimal."""
    return f"{position:.1f}".removesuffix(".0")
