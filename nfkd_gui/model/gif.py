"""Animated GIFs of image grids, of a run's samples over its steps, and of interpolations. No widgets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from nfkd.protocol.pictures import SampleSeries
from nfkd_gui.model.export_files import ExportError, Progress, exporting

_GAP, _GREY = 1, 128  # pixels between two images before the enlargement, and their level
_DOTS, _DOT = 240, 1  # size of a picture of points, and the pixels around the centre of a dot
_MARGIN = 0.05
_COLOURS = 240  # of a frame; leaves some for its caption
_TEXT = 14  # height of a caption's letters in pixels
MAX_WIDTH = 4096
"""Largest width of a GIF in pixels."""


def write_gif(
    path: Path,
    frames: np.ndarray,
    *,
    width: int = 480,
    columns: int = 0,
    captions: Sequence[str] = (),
    seconds: float = 0.1,
    progress: Progress | None = None,
) -> None:
    """Write an animated GIF that repeats without end.

    Parameters
    ----------
    path
        Replaced if it exists.
    frames
        (frames, n, channels, height, width) in [0, 1]: a grid of n images in each frame, grey or RGB.
    width
        Width of the GIF in pixels; pixels of the images are enlarged without smoothing.
    columns
        Images in a row of the grid; 0 for a square one.
    captions
        A text below each frame, or nothing.
    seconds
        Duration of a frame; GIF stores hundredths, and shows identical frames in a row as one.
    progress
        Told after each frame.

    Raises
    ------
    ExportError
        When there are no frames, or the file cannot be written.
    CancelledError
        When `progress` is cancelled.
    ValueError
        When the frames are no grids of images, or captions are missing for some.
    """
    _check(frames, width, captions)
    pictures = _counted(_pictures(frames, width, columns, captions), len(frames), progress or Progress())
    _save(path, pictures, seconds)


def pack_frame(picture: np.ndarray) -> bytes:
    """Return a picture, (height, width, 3) uint8, in the colours of a GIF's frame, compressed as PNG."""
    file = BytesIO()
    frame = Image.fromarray(picture).quantize(_COLOURS, Image.Quantize.FASTOCTREE)
    frame.save(file, format="PNG", compress_level=1)
    return file.getvalue()


def write_pictures_gif(
    path: Path, frames: Sequence[bytes], *, seconds: float = 0.1, progress: Progress | None = None
) -> None:
    """Write an animated GIF of the pictures of `pack_frame`; frames may be the same object.

    Further parameters and errors are those of `write_gif`.
    """
    if not frames:
        cause = "There are no pictures yet."
        raise ExportError(cause, "Try again when the run has drawn some.")
    pictures = (Image.open(BytesIO(frame)) for frame in frames)
    _save(path, _counted(pictures, len(frames), progress or Progress()), seconds)


def _save(path: Path, pictures: Iterator[Image.Image], seconds: float) -> None:
    duration = max(1, round(100 * seconds)) * 10  # milliseconds
    with exporting(path) as temporary:
        first = next(pictures)
        first.save(temporary, format="GIF", save_all=True, append_images=pictures, duration=duration, loop=0)


def write_samples_gif(
    path: Path, series: SampleSeries, *, width: int = 480, seconds: float = 0.1, progress: Progress | None = None
) -> None:
    """Write the samples of a stage over its steps: images as a grid, vectors as points of their first two features.

    Parameters and errors are those of `write_gif`.
    """
    captions = [f"step {step:,}" for step in series.steps]
    if series.final and captions:
        captions[-1] = f"final weights (step {series.steps[-1]:,})"
    frames = point_frames(series.samples) if series.samples.ndim == 3 else series.samples
    write_gif(path, frames, width=width, captions=captions, seconds=seconds, progress=progress)


def write_interpolation_gif(
    path: Path, paths: np.ndarray, *, width: int = 480, seconds: float = 0.1, progress: Progress | None = None
) -> None:
    """Write paths between examples there and back.

    Images, (paths, steps, channels, height, width), are side by side; vectors, (paths, steps, features), are points of
    their first two features.

    Parameters and errors are those of `write_gif`.
    """
    if paths.ndim not in (3, 5):
        msg = f"paths have five dimensions for images or three for vectors, not {paths.ndim}"
        raise ValueError(msg)
    there = paths.swapaxes(0, 1)
    frames = point_frames(there) if paths.ndim == 3 else there
    both = np.concatenate([frames, frames[-2:0:-1]])
    write_gif(path, both, width=width, columns=both.shape[1], seconds=seconds, progress=progress)


def point_frames(points: np.ndarray) -> np.ndarray:
    """Return pictures of points, dark on white, with the same axes in all frames.

    Parameters
    ----------
    points
        (frames, n, features); the first two features are drawn, or the only one over its index. The axes span all
        finite points.

    Returns
    -------
    ndarray
        (frames, 1, 1, 240, 240) in [0, 1].
    """
    if points.shape[-1] < 2:
        index = np.broadcast_to(np.arange(points.shape[1], dtype=np.float32), points.shape[:2])
        points = np.stack([index, points[..., 0]], axis=-1)
    plane = points[..., :2].astype(np.float64)
    finite = np.isfinite(plane).all(axis=-1)
    shown = plane[finite] if finite.any() else np.zeros((1, 2))
    low, high = shown.min(axis=0), shown.max(axis=0)
    size = np.maximum(high - low, 1e-12) * (1 + 2 * _MARGIN)
    scaled = (plane - (low + high) / 2) / size + 0.5
    pictures = np.ones((len(points), 1, 1, _DOTS, _DOTS), np.float32)
    frame, _ = np.nonzero(finite)
    x, y = (scaled[finite] * (_DOTS - 1)).round().astype(int).T
    for down in range(-_DOT, _DOT + 1):
        for right in range(-_DOT, _DOT + 1):
            pictures[frame, 0, 0, (_DOTS - 1 - y + down).clip(0, _DOTS - 1), (x + right).clip(0, _DOTS - 1)] = 0
    return pictures


def _check(frames: np.ndarray, width: int, captions: Sequence[str]) -> None:
    if frames.size == 0:
        cause = "There are no pictures yet."
        raise ExportError(cause, "Try again when the run has drawn some.")
    if frames.ndim != 5 or frames.shape[2] not in (1, 3):
        msg = f"frames are (frames, n, 1 or 3, height, width), not {frames.shape}"
        raise ValueError(msg)
    if captions and len(captions) != len(frames):
        msg = f"there are {len(captions)} captions for {len(frames)} frames"
        raise ValueError(msg)
    if not 1 <= width <= MAX_WIDTH:
        cause = f"A width of {width:,} pixels was requested."
        raise ExportError(cause, f"Choose 1 to {MAX_WIDTH:,}.")


def _pictures(frames: np.ndarray, width: int, columns: int, captions: Sequence[str]) -> Iterator[Image.Image]:
    for index, images in enumerate(frames):
        picture = _enlarge(_grid(images, columns), width)
        yield _add_caption(picture, captions[index]) if captions else picture


def _counted(pictures: Iterator[Image.Image], count: int, progress: Progress) -> Iterator[Image.Image]:
    for done, picture in enumerate(pictures, start=1):
        progress.advance(done / count)
        yield picture


def _grid(images: np.ndarray, columns: int) -> Image.Image:
    """Return (n, channels, height, width) images in [0, 1] as one picture, with a grey line between them."""
    count, channels, height, width = images.shape
    across = columns or math.ceil(math.sqrt(count))
    down = -(-count // across)
    grid = np.full((down * (height + _GAP) - _GAP, across * (width + _GAP) - _GAP, channels), _GREY, np.uint8)
    levels = np.nan_to_num(255 * images.clip(0, 1)).round().astype(np.uint8).transpose(0, 2, 3, 1)
    for index, image in enumerate(levels):
        top, left = index // across * (height + _GAP), index % across * (width + _GAP)
        grid[top : top + height, left : left + width] = image
    picture = Image.fromarray(grid[..., 0] if channels == 1 else grid)
    if channels == 1 or picture.getcolors(_COLOURS) is not None:
        return picture
    # GIF has 256 colours in a frame. Pillow's own choice of them takes ten times as long.
    return picture.quantize(_COLOURS, Image.Quantize.FASTOCTREE).convert("RGB")


def _enlarge(picture: Image.Image, width: int) -> Image.Image:
    height = max(1, round(picture.height * width / picture.width))
    return picture.resize((width, height), Image.Resampling.NEAREST)


def _add_caption(picture: Image.Image, caption: str) -> Image.Image:
    """Return a picture with a white text on black below it."""
    taller = Image.new(picture.mode, (picture.width, picture.height + 2 * _TEXT))
    taller.paste(picture)
    draw = ImageDraw.Draw(taller)
    white = 255 if picture.mode == "L" else (255, 255, 255)
    place = picture.width // 2, picture.height + _TEXT
    draw.text(place, caption, fill=white, font=ImageFont.load_default(_TEXT), anchor="mm")
    return taller
