"""The pixels of a picture as an array: Python takes a microsecond for each of a picture's million pixels."""

from __future__ import annotations

import numpy as np
from PySide6.QtGui import QColor, QImage


def pixels(image: QImage) -> np.ndarray:
    """Return the pixels of a picture as ``0xAARRGGBB``, as `QImage.pixel` does, (height, width)."""
    image = image.convertToFormat(QImage.Format.Format_ARGB32)  # its lines have no padding
    return np.frombuffer(image.constBits(), np.uint32).reshape(image.height(), image.width()).copy()


def channels(image: QImage) -> np.ndarray:
    """Return red, green and blue of each pixel of a picture, (height, width, 3) integers from 0 to 255."""
    return (pixels(image)[..., None] >> np.array([16, 8, 0], np.uint32) & 0xFF).astype(int)


def colour_names(image: QImage) -> set[str]:
    """Return the colours of a picture as ``#rrggbb``."""
    return {f"#{value:06x}" for value in np.unique(pixels(image) & 0xFFFFFF)}


def count_of(image: QImage, colour: str | QColor) -> int:
    """Return how many pixels of a picture have an opaque colour."""
    return int((pixels(image) == QColor(colour).rgb()).sum())
