"""The images of one flow in a grid, and how one is marked that a picture cannot show as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PySide6.QtCore import QRect
from PySide6.QtGui import QColor, QImage, QPainter, QPen

from nfkd.protocol.flags import NOT_FINITE
from nfkd.protocol.roles import role_label
from nfkd_gui.theme import role_colour, scaled, tokens

_RGB = 3
_HATCH = 6
"""Pixels between the lines of a hatched image."""


@dataclass(frozen=True)
class GridRow:
    """The images of a flow.

    Attributes
    ----------
    role
        The flow, or the data; its name and colour are shown unless there are others.
    images
        (n, channels, height, width) in [0, 1]; None draws an empty row with the caption in it.
    caption
        Texts from long to short; the first that fits stands below the name.
    flags, log_prob
        (n,) as in `SamplesDrawn`, and in nats, if they are known.
    label, colour
        In place of the name and the colour of the flow.
    """

    role: str
    images: np.ndarray | None
    caption: Sequence[str] = ()
    flags: np.ndarray | None = None
    log_prob: np.ndarray | None = field(default=None, repr=False)
    label: str = ""
    colour: str = ""

    @property
    def title(self) -> str:
        """The name beside the images."""
        return self.label or role_label(self.role)

    @property
    def ink(self) -> str:
        """The colour of the name, as ``#RRGGBB``."""
        return self.colour or role_colour(self.role)


def strip_of(images: np.ndarray, *, ink: bool) -> QImage:
    """Return images side by side as one picture."""
    count, channels, height, width = images.shape
    levels = np.rint(np.clip(np.nan_to_num(images[:, :_RGB]), 0, 1) * 255).astype(np.uint8)
    if channels < _RGB:
        levels = np.repeat(255 - levels[:, :1] if ink else levels[:, :1], _RGB, axis=1)
    picture = np.ascontiguousarray(levels.transpose(2, 0, 3, 1).reshape(height, count * width, _RGB))
    return QImage(picture.data, count * width, height, 3 * count * width, QImage.Format.Format_RGB888).copy()


def paint_flag(painter: QPainter, place: QRect, flag: int) -> None:
    """Mark an image: a cross in place of one that is not finite, lines over one that is out of range."""
    painter.save()
    painter.setClipRect(place)
    warn = QColor(tokens().warn)
    if flag == NOT_FINITE:
        painter.fillRect(place, QColor(tokens().warn_soft))
        painter.setPen(QPen(warn, 2))
        painter.drawLine(place.topLeft(), place.bottomRight())
        painter.drawLine(place.topRight(), place.bottomLeft())
    else:
        painter.setPen(QPen(warn, 1))
        for shift in range(-place.height(), place.width(), scaled(_HATCH)):
            painter.drawLine(place.left() + shift, place.bottom(), place.left() + shift + place.height(), place.top())
    painter.setPen(QPen(warn, 1))
    painter.drawRect(place.adjusted(0, 0, -1, -1))
    painter.restore()
