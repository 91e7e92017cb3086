"""A data set in three parts, and the arithmetic between its values and a flow's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from nfkd.config import Fault

_MARGIN = 0.1


class DataError(ValueError):
    """Data that cannot be used.

    Attributes
    ----------
    faults
        What is wrong, each with the path of its field.
    event_shape
        Shape of one example, which the flows can be checked against all the same.
    """

    def __init__(self, faults: list[Fault], event_shape: tuple[int, ...]) -> None:
        self.faults = faults
        self.event_shape = event_shape
        super().__init__("; ".join(str(fault) for fault in faults))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training, validation and test parts; no example is in two of them.

    Attributes
    ----------
    name
        Such as ``digits``.
    train, validation, test
        Images as integer levels, (N, channels, height, width) uint8; vectors as (N, features) float32.
    levels
        Number of grey levels of images; None for vectors.
    """

    name: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    levels: int | None = None

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return tuple(self.train.shape[1:])

    @property
    def is_image(self) -> bool:
        """Whether the examples are images."""
        return self.levels is not None

    @property
    def unit(self) -> Literal["bits/dim", "nats"]:
        """The unit in which the likelihood is reported."""
        return "bits/dim" if self.is_image else "nats"

    @property
    def words(self) -> str:
        """The data set in a sentence."""
        counts = f"{len(self.train):,} train, {len(self.validation):,} validation, {len(self.test):,} test"
        return f"{self.name}: {counts}, {'×'.join(str(size) for size in self.event_shape)}"

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """The rectangle (x0, x1, y0, y1) around data of two features, with a margin.

        Raises
        ------
        ValueError
            When the data has not two features.
        """
        if self.event_shape != (2,):
            msg = f"{self.name} has no plane: its examples have shape {self.event_shape}"
            raise ValueError(msg)
        low, high = self.train.min(axis=0), self.train.max(axis=0)
        margin = _MARGIN * (high - low)
        (x0, y0), (x1, y1) = low - margin, high + margin
        return float(x0), float(x1), float(y0), float(y1)

    def dequantize(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Return examples as a flow sees them, float32.

        Images become (k + u)/levels with u uniform in [0, 1) from the CPU generator (Theis et al. 2016,
        arXiv 1511.01844); vectors stay as they are.
        """
        if self.levels is None:
            return raw.float()
        noise = torch.rand(raw.shape, generator=generator)
        return (raw.float() + noise) / self.levels

    def nll(self, log_prob: Tensor) -> Tensor:
        """Return the negative log-likelihood of each example in `unit`.

        Images: −log₂ p(x)/D + log₂ levels, the discrete likelihood's bound in bits/dim. Vectors: −log p(x) in nats.
        """
        if self.levels is None:
            return -log_prob
        return -log_prob / (self._dimensions * math.log(2)) + math.log2(self.levels)

    def nll_loss(self, log_prob: Tensor) -> Tensor:
        """Return what is minimised for each example: bits/dim for images, nats per dimension for vectors."""
        return self.nll(log_prob) if self.is_image else -log_prob / self._dimensions

    @property
    def _dimensions(self) -> int:
        return math.prod(self.event_shape)

    def to_picture(self, x: Tensor) -> np.ndarray:
        """Return images with values in [0, 1] for the eye, or vectors as they are; float32."""
        values = x.detach().float().cpu()
        if self.is_image:
            values = torch.nan_to_num(values).clamp(0, 1)
        return values.numpy()
