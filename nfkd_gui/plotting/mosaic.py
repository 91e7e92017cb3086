"""A grid of small images, scaled without interpolation."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import QRect, QSize
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from nfkd_gui.theme import is_dark, scaled, tokens

_GAP = 1
_RGB = 3
_NEARLY = 0.85
INK = frozenset({"digits", "mnist", "kmnist"})
"""Data whose grey images are ink on paper."""


def themed(images: np.ndarray, kind: str) -> np.ndarray:
    """Return images of a kind of data in [0, 1]; in a light theme, grey ones of digits are dark on light."""
    return 1 - images if kind in INK and images.shape[1] == 1 and not is_dark() else images


def compose(images: np.ndarray, columns: int, gap: int = _GAP, background: int = 255) -> np.ndarray:
    """Return a grid of images as one picture, (height, width, 3) uint8.

    Parameters
    ----------
    images
        (n, channels, height, width) in [0, 1]; the first three channels are RGB, one or two are shown as grey.
    columns
        Images per row.
    gap
        Pixels between two images.
    background
        Grey level of the gaps, 0 to 255.
    """
    count, channels, height, width = images.shape
    rows = math.ceil(count / columns)
    picture = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, _RGB), background, np.uint8)
    levels = np.rint(np.clip(np.nan_to_num(images), 0, 1) * 255).astype(np.uint8)
    for index, image in enumerate(levels):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        shown = image[:_RGB] if channels >= _RGB else np.repeat(image[:1], _RGB, axis=0)
        picture[top : top + height, left : left + width] = shown.transpose(1, 2, 0)
    return picture


def best_columns(count: int, tile: tuple[int, int], room: tuple[int, int]) -> int:
    """Return the number of images per row for a grid that fills its room.

    Among the grids whose images are nearly as large as possible, it is the one with the fewest empty cells; ties are
    broken by the size of the images, then by the squarer grid.

    Parameters
    ----------
    count
        Number of images.
    tile, room
        Width and height of an image with its gap and of the whole grid's space, in pixels.
    """

    def scale(columns: int) -> float:
        return min(room[0] / (columns * tile[0]), room[1] / (math.ceil(count / columns) * tile[1]))

    def rank(columns: int) -> tuple[int, float, int]:
        rows = math.ceil(count / columns)
        return count - columns * rows, scale(columns), -abs(columns * tile[0] - rows * tile[1])

    largest = max(map(scale, range(1, count + 1)))
    return max((columns for columns in range(1, count + 1) if scale(columns) >= _NEARLY * largest), key=rank)


class Mosaic(QWidget):
    """Shows a grid of images as large as they fit; pixels are never blended.

    Parameters
    ----------
    columns
        Images per row; 0 chooses the number that shows them largest.
    """

    def __init__(self, columns: int = 0, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._columns = columns
        self._across = 0
        self._images: np.ndarray | None = None
        self._image: QImage | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def minimumSizeHint(self) -> QSize:
        return QSize(scaled(64), scaled(48))

    def show_images(self, images: np.ndarray, columns: int | None = None) -> None:
        """Show (n, channels, height, width) images in [0, 1]; `columns` replaces the mosaic's own."""
        self._images = images
        self._across = columns or self._columns
        self._compose()

    def _compose(self) -> None:
        if self._images is None or not len(self._images):
            return
        _, _, height, width = self._images.shape
        room = (self.width() + _GAP, self.height() + _GAP)
        across = self._across or best_columns(len(self._images), (width + _GAP, height + _GAP), room)
        grey = QColor(tokens().panel).lightness()
        picture = np.ascontiguousarray(compose(self._images, across, background=grey))
        height, width, _ = picture.shape
        self._image = QImage(picture.data, width, height, 3 * width, QImage.Format.Format_RGB888).copy()
        self.update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if not self._across:
            self._compose()

    def clear(self) -> None:
        """Show nothing."""
        self._images = None
        self._image = None
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(240, 240)

    def height_in(self, width: int) -> int:
        """Return the grid's height when its width is limited to `width`; 0 without images."""
        if self._image is None:
            return 0
        return int(self._image.height() * width / self._image.width())

    def picture_size(self) -> QSize:
        """Return the size of the unscaled grid; empty without images."""
        return QSize() if self._image is None else self._image.size()

    def target(self) -> QRect:
        """Return the grid's rectangle: at the top left, as large as it fits."""
        if self._image is None:
            return QRect()
        scale = min(self.width() / self._image.width(), self.height() / self._image.height())
        return QRect(0, 0, int(self._image.width() * scale), int(self._image.height() * scale))

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        if self._image is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
        painter.drawImage(self.target(), self._image)
        painter.end()
