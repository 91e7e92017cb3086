r"""Formulas in TeX, painted in the theme's colours; matplotlib's mathtext lays them out, without a network or TeX.

``\teacher{…}``, ``\student{…}``, ``\alone{…}`` and ``\data{…}`` colour a part of a formula.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPaintEvent, QTransform
from PySide6.QtWidgets import QSizePolicy, QWidget

from nfkd.protocol.roles import DATA
from nfkd_gui.theme import role_colour, scaled, tokens

_SIZE = 100.0  # pixels at which formulas are laid out
_GAP = 0.8  # between lines, of the size of the type
_PADDING = 2  # pixels around a formula
_ROLES = {"teacher": "teacher", "student": "student", "alone": "baseline", "data": DATA}
# Combining strokes have no width and are not high: a colour begins with as many tildes as its number and a stroke, and
# ends with another stroke. They are not painted.
_COUNT, _BEGIN, _END = "\u0334", "\u0335", "\u0336"
_MACRO = re.compile(r"\\(teacher|student|alone|data)(?![a-z])\s*\{")


class FormulaError(ValueError):
    """A text is not a formula; the message says where."""


@dataclass(frozen=True)
class _Drawing:
    """A line of a formula at the size `_SIZE`: outlines by role (empty for the text colour), and their rectangle."""

    paths: dict[str, QPainterPath]
    box: QRectF


@functools.cache
def drawn(tex: str) -> _Drawing:
    """Return the outlines of a line of TeX math.

    Raises
    ------
    FormulaError
        When it cannot be read.
    """
    parser, font = _mathtext()
    try:
        found = parser.parse(f"${_marked(tex)}$", 72, font)
    except ValueError as error:
        msg = f"the formula cannot be read: {tex}"
        raise FormulaError(msg) from error
    paths: dict[str, QPainterPath] = {}
    roles, count = [""], 0
    for face, size, code, *_index, x, y in found.glyphs:
        match chr(code):
            case mark if mark == _COUNT:
                count += 1
            case mark if mark == _BEGIN:
                roles.append(list(_ROLES.values())[count - 1])
                count = 0
            case mark if mark == _END:
                roles.pop()
            case _:
                place = QTransform(size / _SIZE, 0, 0, -size / _SIZE, x, -y)
                paths.setdefault(roles[-1], _empty()).addPath(place.map(_glyph(face, code)))
    for x, y, width, height in found.rects:
        paths.setdefault("", _empty()).addRect(QRectF(x, -y - height, width, height))
    box = QRectF()
    for path in paths.values():
        box = box.united(path.boundingRect())
    return _Drawing(paths, box)


def _marked(tex: str) -> str:
    """Return TeX with marks in place of the macros that colour a part."""
    while (macro := _MACRO.search(tex)) is not None:
        depth, end = 1, macro.end()
        while end < len(tex) and depth:
            depth += {"{": 1, "}": -1}.get(tex[end], 0)
            end += 1
        if depth:
            msg = f"the formula has no closing brace after \\{macro[1]}: {tex}"
            raise FormulaError(msg)
        begin = _COUNT * (list(_ROLES).index(macro[1]) + 1) + _BEGIN
        tex = f"{tex[: macro.start()]}{{{begin}{tex[macro.end() : end - 1]}{_END}}}{tex[end:]}"
    return tex


@functools.cache
def _mathtext() -> tuple[Any, Any]:
    """Load matplotlib, when the first formula is shown."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import MathTextParser

    return MathTextParser("path"), FontProperties(size=_SIZE, math_fontfamily="dejavusans")


def _glyph(face: Any, code: int) -> QPainterPath:
    from matplotlib.ft2font import LoadFlags
    from matplotlib.path import Path as Outline

    face.clear()
    face.set_size(_SIZE, 72)
    face.load_char(code, flags=LoadFlags.NO_HINTING)
    path = _empty()
    vertices, codes = face.get_path()
    for points, kind in Outline(vertices, codes).iter_segments(simplify=False, curves=True):
        ends = [QPointF(float(x), float(y)) for x, y in points.reshape(-1, 2)]
        match kind:
            case Outline.MOVETO:
                path.moveTo(ends[0])
            case Outline.LINETO:
                path.lineTo(ends[0])
            case Outline.CURVE3:
                path.quadTo(*ends)
            case Outline.CURVE4:
                path.cubicTo(*ends)
            case _:
                path.closeSubpath()
    return path


def _empty() -> QPainterPath:
    path = QPainterPath()
    path.setFillRule(Qt.FillRule.WindingFill)
    return path


class FormulaView(QWidget):
    """Shows lines of TeX math below each other; a formula that is too wide is made smaller.

    Parameters
    ----------
    lines
        TeX, without the dollar signs.
    size
        Pixels of the type at 100 %.

    Raises
    ------
    FormulaError
        When a line cannot be read.
    """

    def __init__(self, lines: tuple[str, ...], size: float = 15, parent: QWidget | None = None) -> None:
        found = [drawn(line) for line in lines]  # before the widget exists: a half-made one would be painted
        super().__init__(parent)
        self._lines, self._pixels = found, size
        self.setAccessibleName("Formula: " + "; ".join(lines))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        ratio = scaled(self._pixels) / _SIZE
        gaps = _GAP * scaled(self._pixels) * (len(self._lines) - 1)
        height = sum(line.box.height() for line in self._lines) * ratio + gaps
        width = max(line.box.right() for line in self._lines) * ratio
        return QSize(math.ceil(width) + 2 * _PADDING, math.ceil(height) + 2 * _PADDING)

    def minimumSizeHint(self) -> QSize:
        return QSize(scaled(80), self.sizeHint().height())

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in {QEvent.Type.FontChange, QEvent.Type.PaletteChange}:
            self.updateGeometry()
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        room = self.width() - 2 * _PADDING
        ratio = min(1.0, room / (self.sizeHint().width() - 2 * _PADDING)) * scaled(self._pixels) / _SIZE
        top = float(_PADDING)
        for line in self._lines:
            painter.setTransform(QTransform(ratio, 0, 0, ratio, _PADDING, top - line.box.top() * ratio))
            for role, path in line.paths.items():
                painter.setBrush(QColor(role_colour(role) if role else tokens().text))
                painter.drawPath(path)
            top += (line.box.height() + _GAP * _SIZE) * ratio
        painter.end()
