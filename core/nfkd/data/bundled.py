"""Files that scikit-learn ships with its package, read without importing it, which takes 1.5 s of CPU time."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np


def _file(*parts: str) -> Path:
    """Return the path of a file of the package ``sklearn.datasets``."""
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        msg = "scikit-learn is not installed: install it, or reinstall nfkd"
        raise ModuleNotFoundError(msg)
    return Path(spec.origin).parent.joinpath("datasets", *parts)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return the handwritten digits, (1797, 8, 8) uint8 with levels 0 to 16, and their classes, (1797,) int64."""
    with gzip.open(_file("data", "digits.csv.gz"), "rt") as file:
        rows = np.array([line.split(",") for line in file], np.float64).astype(np.int64)
    return rows[:, :-1].astype(np.uint8).reshape(-1, 8, 8), rows[:, -1]


def photographs() -> np.ndarray:
    """Return the photographs of a temple and of a flower, (2, 427, 640, 3) uint8."""
    from PIL import Image

    images = []
    for name in ("china.jpg", "flower.jpg"):
        with Image.open(_file("images", name)) as image:
            images.append(np.asarray(image))
    return np.stack(images)
