r"""Formulas in TeX, painted in the theme's colours; matplotlib's mathtext lays them out, without a network or TeX.

``\teacher{…}``, ``\student{…}``, ``\alone{…}`` and ``\data{…}`` colour a part of a formula.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPaintEvent, QTransform
from PySide6.QtWidgets import QSizePolicy, QWidget

from nfkd.protocol.roles import DATA
from nfkd_gui.theme import role_colour, scaled, tokens

_SIZE = 100.0  # pixels at which formulas are laid out
_GAP = 0.6  # between lines, of the size of the type
_ROLES = {"teacher": "teacher", "student": "student", "alone": "baseline", "data": DATA}
# Combining strokes have no width: they mark where a colour begins and ends, and are not painted.
_MARKS = {"\u0334": "teacher", "\u0335": "student", "\u0336": "baseline", "\u0337": DATA}
_END = "\u0338"
_MACRO = re.compile(r"\\(teacher|student|alone|data)(?![a-z])\s*\{")


class FormulaError(ValueError):
    """A text is not a formula; the message says where."""


@dataclass(frozen=True)
class _Drawing:
    """A line of a formula at the size `_SIZE`: outlines by role (empty for the text colour), and its box."""

    paths: dict[str, QPainterPath]
    width: float
    height: float


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
    above = found.height - found.depth  # of the baseline, from which y is measured
    roles = [""]
    for face, size, code, *_index, x, y in found.glyphs:
        mark = chr(code)
        if mark in _MARKS:
            roles.append(_MARKS[mark])
        elif mark == _END:
            roles.pop()
        else:
            place = QTransform(size / _SIZE, 0, 0, -size / _SIZE, x, above - y)
            paths.setdefault(roles[-1], _empty()).addPath(place.map(_glyph(face, code)))
    for x, y, width, height in found.rects:
        paths.setdefault("", _empty()).addRect(QRectF(x, above - y - height, width, height))
    return _Drawing(paths, float(found.width), float(found.height))


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
        mark = next(mark for mark, role in _MARKS.items() if role == _ROLES[macro[1]])
        tex = f"{tex[: macro.start()]}{{{mark}{tex[macro.end() : end - 1]}{_END}}}{tex[end:]}"
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
        super().__init__(parent)
        self._lines, self._pixels = [drawn(line) for line in lines], size
        self.setAccessibleName("Formula: " + "; ".join(lines))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        ratio = scaled(self._pixels) / _SIZE
        gaps = _GAP * scaled(self._pixels) * (len(self._lines) - 1)
        height = sum(line.height for line in self._lines) * ratio + gaps
        return QSize(round(max(line.width for line in self._lines) * ratio) + 2, round(height) + 2)

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
        shrink = min(1.0, self.width() / self.sizeHint().width())
        ratio, top = shrink * scaled(self._pixels) / _SIZE, 1.0
        for line in self._lines:
            painter.setTransform(QTransform(ratio, 0, 0, ratio, 1, top))
            for role, path in line.paths.items():
                painter.setBrush(QColor(role_colour(role) if role else tokens().text))
                painter.drawPath(path)
            top += (line.height + _GAP * _SIZE) * ratio
        painter.end()
