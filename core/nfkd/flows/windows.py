"""Neighbours of pixels, gathered and added up, in images with the examples last, (C, H, W, B).

A neighbour is then one offset for a whole row of all images.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

_SPACING = 16
"""Unused columns of a matrix: rows that are a power of two apart would share the same few lines of the cache."""

_TORCH: Any = torch  # it exports no other names for its loops over tensors


class ImageTile(NamedTuple):
    """The same rectangle of pixels in all images: its first row and column, and how many of each."""

    row: int
    column: int
    height: int
    width: int


def parts_of_images(size: Sequence[int], pixels: int) -> list[ImageTile]:
    """Return parts of images, (H, W, B), of at most this many pixels each: some rows, or at least a pixel of one.

    Heights differ by one row at most, and widths by one column.
    """
    height, width, batch = size[0], size[1], max(1, size[2])
    rows = _pieces(height, pixels // (width * batch))
    columns = _pieces(width, pixels // batch)
    return [ImageTile(row, column, down, right) for row, down in rows for column, right in columns]


def _pieces(length: int, longest: int) -> list[tuple[int, int]]:
    """Return starts and lengths of the fewest pieces of a length that are not longer; they differ by one at most."""
    count = -(-length // max(1, longest))
    ends = [length * number // count for number in range(count + 1)]
    return [(start, end - start) for start, end in pairwise(ends)]


def matrix(rows: int, columns: int, like: Tensor, *first: int) -> Tensor:
    """Return a matrix, or several, (*first, rows, columns), whose values are not set."""
    return like.new_empty(*first, rows, columns + _SPACING)[..., :columns]


class Windows:
    """The 3×3 windows of images that are zero outside.

    Parameters
    ----------
    rows
        (9·channels, pixels of the largest part), for the windows of a part: nine rows for each channel.
    size
        (H, W, B).
    parts
        Of the images.
    reverse
        Whether each window is from its last pixel to its first.

    Attributes
    ----------
    image
        (channels, H, W, B).
    rows
        Those of each part.
    """

    def __init__(self, rows: Tensor, size: Sequence[int], parts: Sequence[ImageTile], *, reverse: bool = False) -> None:
        channels, (height, width, batch), spacing = len(rows) // 9, size, rows.stride(0)
        self._padded = rows.new_zeros(channels, height + 2, width + 2, batch)
        self.image = self._padded[:, 1:-1, 1:-1]
        self.rows = [rows[:, : part.height * part.width * batch] for part in parts]
        self._rows: list[list[Tensor]] = []
        self._neighbours: list[list[Tensor]] = []
        channel, row, column, _ = self._padded.stride()
        self._windows: list[tuple[Tensor, Tensor]] = []
        for part in parts:
            shape = (channels, 3, 3, part.height, part.width, batch)
            strides = (9 * spacing, 3 * spacing, spacing, part.width * batch, batch, 1)
            own = rows.as_strided(shape, strides)
            strides, first = (channel, row, column, row, column, 1), part.row * row + part.column * column
            windows = self._padded.as_strided(shape, strides, first)
            self._windows.append((own, windows))
            self._rows.append(_by_neighbour(own))
            self._neighbours.append(_by_neighbour(windows)[:: -1 if reverse else 1])
        self._reverse = reverse

    def gather(self, part: int) -> Tensor:
        """Set the rows of a part to the windows of the images, and return them."""
        if self._reverse:
            _TORCH._foreach_copy_(self._rows[part], self._neighbours[part])
        else:
            rows, windows = self._windows[part]
            rows.copy_(windows)
        return self.rows[part]

    def scatter(self, part: int) -> None:
        """Add the rows of a part to the windows of the images: the transpose of `gather`."""
        _TORCH._foreach_add_(self._neighbours[part], self._rows[part])

    def clear(self) -> None:
        """Set all pixels to zero."""
        self._padded.zero_()

    def fill(self, values: Tensor) -> None:
        """Set all pixels of each channel, and the border, to a value, (channels,)."""
        self._padded.copy_(values.view(-1, 1, 1, 1))


def _by_neighbour(windows: Tensor) -> list[Tensor]:
    """Return windows, (channels, 3, 3, …), as nine tensors, (channels, …)."""
    return [each for row in windows.unbind(1) for each in row.unbind(1)]
