"""Image files that are decoded when they are looked at."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nfkd.data.files import ConfigPath
from nfkd.files import open_regular

_KEPT = 512 << 20  # bytes
_MOST_PIXELS = 64_000_000
_TOO_LARGE = f"has more than {_MOST_PIXELS // 1_000_000} megapixels: make it smaller"
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""How the names of image files end."""
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # of Pillow's others some start programs


class ImageFiles:
    """Images in a file each, as (N, channels, height, width) uint8.

    Each is decoded when it is first looked at, and kept where all together take no more than 512 MiB.

    Parameters
    ----------
    paths
        The files.
    shape
        Of an image: channels, height and width.
    decode
        Returns the image of a file in that shape.
    """

    def __init__(
        self, paths: Sequence[Path], shape: tuple[int, int, int], decode: Callable[[Path], np.ndarray]
    ) -> None:
        self._paths, self._decode = paths, decode
        self.shape = (len(paths), *shape)
        self.fits = int(np.prod(self.shape)) <= _KEPT
        self._kept = np.empty(self.shape, np.uint8) if self.fits else None
        self._known = np.zeros(len(paths), bool)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> np.ndarray:
        numbers = np.arange(len(self))[index]
        if self._kept is None:
            return np.stack([self._decode(self._paths[number]) for number in numbers]) if len(numbers) else self._none()
        for number in numbers[~self._known[numbers]]:
            self._kept[number] = self._decode(self._paths[number])
            self._known[number] = True
        return self._kept[numbers]

    def _none(self) -> np.ndarray:
        return np.empty((0, *self.shape[1:]), np.uint8)


def decode(place: ConfigPath, size: int, *, colour: bool, square: int | None = None) -> np.ndarray:
    """Return the middle square of an image, resized: (channels, size, size) uint8.

    An image that its camera marked as turned is turned; transparency is dropped. The resizing is Pillow's bilinear
    one, which takes the mean over what becomes a pixel (the default of torchvision's ``Resize``, too).

    Parameters
    ----------
    place
        The file.
    size
        Height and width of the result.
    colour
        Three channels, or one of grey (ITU-R 601 luma).
    square
        Side of the square; None: the shorter side of the image.

    Raises
    ------
    DataError
        When it is no image, is damaged, has more than 8 bits a channel or is smaller than the square.
    """
    from PIL import Image, ImageOps

    with place.reading(), _opened(place) as opened:
        if opened.mode.startswith(("I", "F")):
            place.refuse(f"has more than 8 bits a channel (Pillow's mode {opened.mode}): save it with 8")
        image = ImageOps.exif_transpose(opened).convert("RGB" if colour else "L")
        side = square or min(image.size)
        if min(image.size) < side:
            place.refuse(f"has {image.width}×{image.height} pixels: {side}×{side} from its middle are wanted")
        left, top = (image.width - side) // 2, (image.height - side) // 2
        cropped = image.crop((left, top, left + side, top + side))
        values = np.asarray(cropped.resize((size, size), Image.Resampling.BILINEAR))
        return np.ascontiguousarray(np.moveaxis(values, 2, 0)) if colour else values[None].copy()


@contextmanager
def _opened(place: ConfigPath) -> Iterator[Any]:
    """Open an image; its size, as its header tells it, is looked at before anything is decoded."""
    from PIL import Image

    with open_regular(place.path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # of what is refused below
        try:
            image = Image.open(file, formats=_FORMATS)
        except Image.DecompressionBombError:
            place.refuse(_TOO_LARGE)
        with image:
            if image.width * image.height > _MOST_PIXELS:
                place.refuse(_TOO_LARGE)
            yield image


def image_paths(root: Path) -> list[Path]:
    """Return the image files of a folder and its sub-folders in the order of their names; links are not followed."""
    return sorted(_found(root))


def _found(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and name.lower().endswith(ENDINGS):
                yield Path(folder, name)
