"""Small pictures of the samples of a run's student."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

from nfkd.runs import schema
from nfkd.runs.errors import RunError
from nfkd.runs.opening import open_file
from nfkd.runs.schema import FINAL, Node
from nfkd.runs.summary_file import seed_files

MIN_PIXELS, MAX_PIXELS = 8, 512
_PLACES = (f"student/{FINAL}/samples", "student/samples")
_DENSITY = "student/density"
_BINS = (8, 32)  # fewest and most of a histogram
_NEAREST, _BOX, _SMOOTH = Image.Resampling.NEAREST, Image.Resampling.BOX, Image.Resampling.BILINEAR


def read_thumbnail(run: Path, pixels: int) -> np.ndarray | None:
    """Return a picture of the last stored samples of the student of a run's first seed; None if there are none.

    Images are drawn as a grid of 3×3, 2×2 or one, points as the density of their first two columns.

    Returns
    -------
    np.ndarray or None
        uint8, (pixels, pixels) from background (0) to ink (255), or (pixels, pixels, 3).

    Raises
    ------
    RunError
        When the seed's file cannot be read, or the size is not between 8 and 512 pixels.
    """
    if not MIN_PIXELS <= pixels <= MAX_PIXELS:
        title, cause = "The pictures cannot be made", f"{pixels:,} pixels were requested."
        raise RunError(title, cause, f"Request {MIN_PIXELS} to {MAX_PIXELS}.")
    paths = seed_files(str(run))
    if not paths:
        return None
    with open_file(paths[0], [*_PLACES, _DENSITY]) as file:
        for place in _PLACES:
            group: Node = file.get(place)
            if group is None or not (rows := schema.complete_rows(group)):
                continue
            if group["images"].ndim == 5:
                return draw_images(group["images"][rows - 1, :9], pixels)
            return draw_points(group["images"][rows - 1], pixels, _extent(file))
    return None


def _extent(file: Node) -> tuple[float, float, float, float] | None:
    """Return the range of the plane in which the run draws densities; None for other data."""
    values = file[_DENSITY]["extent"][...].tolist() if _DENSITY in file else []
    if len(values) != 4 or not all(map(math.isfinite, values)) or values[0] >= values[1] or values[2] >= values[3]:
        return None
    return values[0], values[1], values[2], values[3]


def draw_images(images: np.ndarray, pixels: int) -> np.ndarray:
    """Return a grid of the first images in [0, 1], (count, channels, height, width); other numbers are clamped."""
    side = next(side for side in (3, 2, 1) if len(images) >= side * side or side == 1)
    colours = 3 if images.shape[1] == 3 else 1
    chosen = np.nan_to_num(images[: side * side, :colours], nan=0.0, posinf=1.0, neginf=0.0)
    bytes_ = (chosen.clip(0, 1) * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
    height, width = bytes_.shape[1:3]
    grid = bytes_.reshape(side, side, height, width, colours).swapaxes(1, 2).reshape(side * height, side * width, -1)
    filtering = _BOX if max(grid.shape[:2]) > pixels else _NEAREST
    return np.asarray(Image.fromarray(grid[..., 0] if colours == 1 else grid).resize((pixels, pixels), filtering))


def draw_points(points: np.ndarray, pixels: int, extent: tuple[float, float, float, float] | None = None) -> np.ndarray:
    """Return the density of the first two columns of points, (count, features), y upwards; bars of a single column.

    Parameters
    ----------
    extent
        The lowest and highest x, then y; None for the range of the points.
    """
    points = points[np.isfinite(points).all(axis=1)].astype(np.float64)
    bins = int(min(max(math.sqrt(len(points)), _BINS[0]), _BINS[1], pixels))
    if points.shape[1] == 1:
        counts = np.histogram(points[:, 0], bins)[0]
        heights = np.round(counts / max(counts.max(), 1) * pixels).repeat(-(-pixels // bins))[:pixels]
        return np.where(np.arange(pixels)[::-1, None] < heights, 255, 0).astype(np.uint8)
    if extent is None:
        x0, x1, y0, y1 = (*_range(points[:, 0]), *_range(points[:, 1]))
    else:
        x0, x1, y0, y1 = extent
    counts = np.histogram2d(points[:, 0], points[:, 1], bins, ((x0, x1), (y0, y1)))[0]
    ink = np.sqrt(counts / max(counts.max(), 1.0)).T[::-1]  # the root shows tails
    return np.asarray(Image.fromarray((255 * ink).round().astype(np.uint8)).resize((pixels, pixels), _SMOOTH))


def _range(values: np.ndarray) -> tuple[float, float]:
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, low + 0.5)
