"""Image files, decoded on access."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nfkd.data.bit_depth import bits_per_channel
from nfkd.data.decoded_images import DecodedImages
from nfkd.data.files import ConfigPath
from nfkd.data.image_lists import image_names
from nfkd.files import open_regular

_MOST_KEPT = 512 << 20  # bytes
_MOST_PIXELS = 64_000_000
_TOO_LARGE = f"has more than {_MOST_PIXELS // 1_000_000} megapixels: make it smaller"
_BITS = 8  # of a channel
_MANY, _THREADS = 128, 4  # images that are decoded in several threads
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # some of Pillow's other formats start programs


class ImageFiles:
    """Images in a file each, as (N, channels, height, width) uint8.

    Each is decoded on first access, in several threads where there are many, and kept: in a file, if one is given, or
    in memory if all together take at most 512 MiB.

    Parameters
    ----------
    paths
        The files.
    field
        The config field that names them.
    shape
        Of an image: channels, height and width.
    decode
        Returns the image of a file in that shape.
    decoded
        Keeps decoded images in a file.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        field: str,
        shape: tuple[int, int, int],
        decode: Callable[[ConfigPath], np.ndarray],
        decoded: DecodedImages | None = None,
    ) -> None:
        self._paths, self._field, self._read, self._decoded = paths, field, decode, decoded
        self.shape = (len(paths), *shape)
        self.fits = fits(self.shape)
        self._kept = np.empty(self.shape, np.uint8) if self.fits and decoded is None else None
        self._known = np.zeros(len(paths), bool) if decoded is None else decoded.known

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> np.ndarray:
        indices = np.arange(len(self))[index]
        kept: Any = self._kept if self._decoded is None else self._decoded
        if kept is None:
            images = self._decode_all(indices)
            return np.stack(images) if images else np.empty((0, *self.shape[1:]), np.uint8)
        new = np.unique(indices[~self._known[indices]])
        decoded = dict(zip(new.tolist(), self._decode_all(new), strict=True))
        for position, image in decoded.items():
            self._keep(position, image)
        if self._known[indices].all():
            return kept[indices]
        known = self._known  # not all, when the disk is full
        return np.stack([kept[[each]][0] if known[each] else decoded[each] for each in indices.tolist()])

    def _keep(self, position: int, image: np.ndarray) -> None:
        if self._kept is not None:
            self._kept[position] = image
            self._known[position] = True
        elif self._decoded is not None:
            self._decoded.add(position, image)

    def _decode_all(self, positions: np.ndarray) -> list[np.ndarray]:
        if len(positions) < _MANY:
            return [self._decode(position) for position in positions]
        with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1), thread_name_prefix="decoder") as pool:
            return list(pool.map(self._decode, positions))

    def _decode(self, position: int) -> np.ndarray:
        return self._read(ConfigPath(self._paths[position], self._field, self.shape[1:]))


def fits(shape: tuple[int, ...]) -> bool:
    """Return whether images of this shape, (N, channels, height, width), may be kept in memory."""
    return math.prod(shape) <= _MOST_KEPT


def decode(file: ConfigPath, size: int, *, colour: bool, square: int | None = None) -> np.ndarray:
    """Return the middle square of an image, resized: (channels, size, size) uint8.

    The EXIF orientation is applied; transparency is dropped. The resizing is Pillow's bilinear one with antialiasing,
    as torchvision's ``Resize`` by default.

    Parameters
    ----------
    file
        The file.
    size
        Height and width of the result.
    colour
        Whether it has three channels, or one of grey (ITU-R 601 luma).
    square
        Side of the square; None: the shorter side of the image.

    Raises
    ------
    DataError
        If it is not an image, is damaged, has more than 8 bits a channel or is smaller than the square.
    """
    from PIL import Image, ImageOps

    with file.reading(), _opened(file) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB" if colour else "L")
        side = square or min(image.size)
        if min(image.size) < side:
            file.refuse(f"has {image.width}×{image.height} pixels, and at least {side}×{side} are needed")
        left, top = (image.width - side) // 2, (image.height - side) // 2
        cropped = image.crop((left, top, left + side, top + side))
        values = np.asarray(cropped.resize((size, size), Image.Resampling.BILINEAR))
        return np.ascontiguousarray(np.moveaxis(values, 2, 0)) if colour else values[None].copy()


def look_at(file: ConfigPath) -> tuple[int, bool]:
    """Return the shorter side of an image in pixels, and whether it has colours: three channels that differ.

    Raises
    ------
    DataError
        As `decode`.
    """
    with file.reading(), _opened(file) as opened:
        values = np.asarray(opened.convert("RGB"))
        return min(opened.size), bool((values != values[..., :1]).any())


@contextmanager
def _opened(file: ConfigPath) -> Iterator[Any]:
    """Open an image; size and bits in its head are checked before anything is decoded."""
    from PIL import Image, UnidentifiedImageError

    with open_regular(file.path) as content, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # such images are refused below
        bits = bits_per_channel(content)
        if bits > _BITS:
            file.refuse(f"has {bits} bits a channel, and at most {_BITS} are read: save it with {_BITS}")
        try:
            image = Image.open(content, formats=_FORMATS)
        except Image.DecompressionBombError:
            file.refuse(_TOO_LARGE)
        except UnidentifiedImageError:
            file.refuse(f"cannot be read: it is not an image, or in none of the formats {', '.join(_FORMATS)}")
        with image:
            if image.width * image.height > _MOST_PIXELS:
                file.refuse(_TOO_LARGE)
            yield image


def image_paths(root: Path) -> list[Path]:
    """Return the image files of a folder and its sub-folders, sorted by name; links to folders are not followed."""
    return [root / name for name in image_names(root)]
