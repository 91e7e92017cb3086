"""States of examples as small pictures: tiled channels of images, strips of vectors, points in the plane."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtGui import QColor, QImage

from nfkd_gui.plotting.plane import hue_brushes
from nfkd_gui.theme import is_dark, tokens

_CONTRAST = 2.0, 98.0
"""Percentiles of a state that are drawn black and white."""
_THUMBNAIL_POINTS = 600


def tiled(state: np.ndarray) -> np.ndarray:
    """Return a state as one picture, (height, width) float: channels side by side in a grid, a vector as a column."""
    if state.ndim == 1:
        return state[:, None]
    channels, height, width = state.shape
    across = min(math.ceil(math.sqrt(channels * height / width)), channels)
    across = next(each for each in range(across, channels + 1) if channels % each == 0)  # a full grid
    grid = state.reshape(channels // across, across, height, width)
    return grid.transpose(0, 2, 1, 3).reshape(channels // across * height, across * width)


def state_image(state: np.ndarray) -> QImage:
    """Return a state as a grey picture, one pixel for each value, with the contrast of its middle 96 %.

    In a light theme large values are dark; values that are not finite have the colour of errors.
    """
    picture = tiled(np.asarray(state, np.float64))
    finite = np.isfinite(picture)
    low, high = np.percentile(picture[finite], _CONTRAST) if finite.any() else (0.0, 1.0)
    share = np.clip((np.where(finite, picture, low) - low) / max(high - low, 1e-12), 0, 1)
    return _to_image(share if is_dark() else 1 - share, finite)


def example_image(picture: np.ndarray, *, ink: bool) -> QImage:
    """Return an example, (channels, height, width) in [0, 1], in colour or as ink on paper."""
    shown = np.clip(np.nan_to_num(picture), 0, 1)
    if picture.shape[0] >= 3:
        levels = np.ascontiguousarray(np.rint(255 * shown[:3].transpose(1, 2, 0)).astype(np.uint8))
        return _image_of(levels)
    return _to_image(1 - shown[0] if ink else shown[0], np.isfinite(picture[0]))


def _to_image(grey: np.ndarray, finite: np.ndarray) -> QImage:
    error = QColor(tokens().error)
    levels = np.repeat(np.rint(255 * grey).astype(np.uint8)[..., None], 3, axis=-1)
    levels[~finite] = (error.red(), error.green(), error.blue())
    levels = np.ascontiguousarray(levels)
    return _image_of(levels)


def _image_of(levels: np.ndarray) -> QImage:
    """Return (height, width, 3) uint8 as a picture in the format that is drawn fastest."""
    height, width, _ = levels.shape
    image = QImage(levels.data, width, height, 3 * width, QImage.Format.Format_RGB888)
    return image.convertToFormat(QImage.Format.Format_RGB32)


def _rgb(colour: QColor) -> tuple[int, int, int]:
    return colour.red(), colour.green(), colour.blue()


def points_image(points: np.ndarray, hues: np.ndarray, half: float, size: int) -> QImage:
    """Return (n, 2) points inside the square from −half to half as a picture of `size` pixels.

    `hues` are the points' colours, indices of `hue_brushes`.
    """
    ground = QColor(tokens().panel)
    picture = np.empty((size, size, 3), np.uint8)
    picture[:] = (ground.red(), ground.green(), ground.blue())
    shown = points[:_THUMBNAIL_POINTS]
    colours = np.array([_rgb(brush.color()) for brush in hue_brushes()], np.uint8)[hues[: len(shown)]]
    dot = max(1, size // 48)
    with np.errstate(invalid="ignore"):
        pixels = (np.stack([shown[:, 0], -shown[:, 1]]) / half + 1) / 2 * size
        inside = ((pixels >= 0) & (pixels <= size - dot - 1)).all(axis=0)
    x, y = pixels[:, inside].astype(int)
    for right in range(dot + 1):
        for down in range(dot + 1):
            picture[y + down, x + right] = colours[inside]
    return _image_of(picture)
