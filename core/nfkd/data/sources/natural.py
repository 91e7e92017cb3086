"""Crops and patches of the two photographs that scikit-learn ships.

Each photograph, 427×640 pixels, is cut into six vertical bands: 448 columns are for training, 96 for validation and 96
for testing (70, 15 and 15 %). No crop crosses a band's border, so the splits share no pixel. Crops of one split may
overlap, but no two are the same. The bands are chosen so that all splits have about the same contrast: 8×8 patches
deviate from their mean by 0.088, 0.078 and 0.070 of the range from black to white.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from nfkd.config import ConfigProblem
from nfkd.config.data import NaturalCropsConfig, NaturalPatchesConfig
from nfkd.data.bundled import photographs
from nfkd.data.dataset import DataError, DataSplit
from nfkd.data.images import loaded_images, refuse_labels
from nfkd.data.source import Loaded, Source

_CROP, _PATCH = 32, 8
_TRAIN = ((96, 320), (368, 592))  # columns of both photographs
_VALIDATION = ((0, 48), (320, 368))
_TEST = ((48, 96), (592, 640))
_SHARES = {_TRAIN: 1.0, _VALIDATION: 48 / 224, _TEST: 48 / 224}  # number of crops, relative to training


@lru_cache(maxsize=1)
def _photographs() -> np.ndarray:
    """Return the photographs of a temple and of a flower, (2, 427, 640, 3) uint8."""
    return photographs()


@dataclass(frozen=True)
class _Positions:
    """Positions of crops: index of the photograph, top row and left column; (N,) each."""

    photograph: np.ndarray
    row: np.ndarray
    column: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, index: Any) -> _Positions:
        return _Positions(self.photograph[index], self.row[index], self.column[index])


def _draw(count: int, side: int, seed: int) -> list[_Positions]:
    """Return the positions of the crops of each split: `count` for training, 48/224 as many for each of the others.

    Raises
    ------
    DataError
        If there are not so many different ones.
    """
    rng = np.random.default_rng(seed)
    photographs, height = _photographs().shape[:2]
    found = []
    for bands, share in _SHARES.items():
        columns = np.concatenate([np.arange(first, end - side + 1) for first, end in bands])
        sizes = (photographs, height - side + 1, len(columns))
        drawn, available = round(count * share), int(np.prod(sizes))
        if drawn > available:
            message = f"the photographs have only about {int(available / share):,} different crops: take fewer"
            raise DataError([ConfigProblem("data.count", message)])
        photograph, row, column = np.unravel_index(rng.choice(available, drawn, replace=False), sizes)
        found.append(_Positions(photograph, row, columns[column]))
    return found


class _Crops:
    """Colour crops, (N, 3, 32, 32) uint8, cut out on access."""

    def __init__(self, positions: _Positions) -> None:
        self._positions = positions
        photographs = np.moveaxis(_photographs(), 3, 1)
        self._windows = np.lib.stride_tricks.sliding_window_view(photographs, (_CROP, _CROP), axis=(2, 3))
        self.shape = (len(positions), 3, _CROP, _CROP)

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: Any) -> np.ndarray:
        positions = self._positions[index]
        return self._windows[positions.photograph, :, positions.row, positions.column]


class NaturalCrops(Source[NaturalCropsConfig]):
    """Colour crops of 32×32 pixels."""

    config = NaturalCropsConfig
    shape, unit, origin = "3×32×32", "bits/dim", "scikit-learn"

    def load(self, config: NaturalCropsConfig) -> Loaded:
        """Return the crops."""
        if config.class_labels:
            refuse_labels("crops of photographs have no classes", (3, _CROP, _CROP))
        train, validation, test = (
            DataSplit(_Crops(positions)) for positions in _draw(config.count, _CROP, config.split_seed)
        )
        return loaded_images(config, "natural crops", train, validation, test)


def _patches(positions: _Positions, rng: np.random.Generator) -> np.ndarray:
    """Return grey patches made as those of BSDS300, (N, 63) float32.

    Uria et al. 2013 (arXiv 1306.0186): grey levels from 0 to 255 plus uniform noise from [0, 1), divided by 256, minus
    the patch's mean. The last pixel, at the bottom right, is left out: it is minus the sum of the others (as in
    ``datasets/bsds300.py`` of gpapamak/maf). Grey is ITU-R 601 luma, rounded to whole levels.
    """
    grey = np.rint(_photographs() @ np.array([0.299, 0.587, 0.114]))
    windows = np.lib.stride_tricks.sliding_window_view(grey, (_PATCH, _PATCH), axis=(1, 2))
    levels = windows[positions.photograph, positions.row, positions.column].reshape(len(positions), -1)
    values = (levels + rng.random(levels.shape)) / 256
    return (values - values.mean(axis=1, keepdims=True))[:, :-1].astype(np.float32)


class NaturalPatches(Source[NaturalPatchesConfig]):
    """Grey patches of 8×8 pixels as 63 numbers."""

    config = NaturalPatchesConfig
    shape, unit, origin = "63", "nats", "scikit-learn"

    def load(self, config: NaturalPatchesConfig) -> Loaded:
        """Return the patches."""
        rng = np.random.default_rng([config.split_seed, 1])  # of the noise
        drawn = _draw(config.count, _PATCH, config.split_seed)
        train, validation, test = (DataSplit(_patches(positions, rng)) for positions in drawn)
        columns = tuple(f"pixel {row},{column}" for row in range(_PATCH) for column in range(_PATCH))[:-1]
        return Loaded("natural patches", train, validation, test, columns=columns)


SOURCES = (NaturalCrops(), NaturalPatches())
