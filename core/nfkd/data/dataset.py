"""Data sets of three splits, and their batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nfkd.config import ConfigProblem
from nfkd.data.augmentation import PLAIN, Augmentation
from nfkd.data.batch import Batch
from nfkd.data.column_statistics import chunks_of
from nfkd.data.examples import Examples, in_any_order, in_memory, take
from nfkd.data.scaling import Scaler
from nfkd.data.units import DataUnits, Unit
from nfkd.protocol.events import SCALED
from nfkd.protocol.flags import NOT_FINITE, OUT_OF_RANGE, USABLE

if TYPE_CHECKING:
    from nfkd.data.dequantization import Dequantizer
    from nfkd.data.fingerprint import Fingerprint

_MARGIN = 0.1
_LISTED = 20  # columns in a message
_IMAGE_RANGE, _RANGE_EXAMPLES = (-0.5, 1.5), 100_000
_CHOICE_SEED = 0
_EXAMPLES_PATH = "training.student_examples"


class DataError(ValueError):
    """Data that cannot be used.

    Attributes
    ----------
    problems
        What is wrong, each with the path of its field.
    event_shape
        Shape of one example, if it is known anyway: the flows can be checked against it.
    reading
        How a table was read before the problem was found, as in `Dataset.reading`; may be empty.
    """

    def __init__(self, problems: list[ConfigProblem], event_shape: tuple[int, ...] | None = None) -> None:
        self.problems = problems
        self.event_shape = event_shape
        self.reading = ""
        super().__init__("; ".join(str(problem) for problem in problems))


@contextmanager
def reported_as(reading: str) -> Iterator[None]:
    """Tell how a table was read with every `DataError` that does not tell it."""
    try:
        yield
    except DataError as error:
        error.reading = error.reading or reading
        raise


class UnusedColumn(NamedTuple):
    """A column of a table that is not used.

    Attributes
    ----------
    name, reason
        Its name, and why it is not used.
    usable
        Whether it holds numbers, so that it is used where the config names it.
    """

    name: str
    reason: str
    usable: bool = False


@dataclass(frozen=True, eq=False)
class DataSplit:
    """Examples with their contexts and weights, if the data has them.

    Attributes
    ----------
    values
        Images as integer levels, (N, channels, height, width) uint8; vectors as (N, features) float32.
    context
        (N, context features) float32, or None.
    weights
        (N,) float32, or None if all examples count the same.
    labels
        Classes of images, (N,) int64, also where they are not the context; None if there are none.
    """

    values: Examples
    context: np.ndarray | None = None
    weights: np.ndarray | None = None
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, index: np.ndarray | slice) -> DataSplit:
        """Return some of the examples."""
        others = (self.context, self.weights, self.labels)
        return DataSplit(take(self.values, index), *(None if other is None else other[index] for other in others))

    def some(self, count: int) -> DataSplit:
        """Return the split, or a random subset of `count` examples if it has more; always the same subset."""
        if len(self) <= count:
            return self
        return self.take(np.sort(np.random.default_rng(0).choice(len(self), count, replace=False)))

    def normalise_weights(self, problem: ConfigProblem) -> DataSplit:
        """Return the split with weights of average 1, so that a weighted sum is as large as a plain one.

        Raises
        ------
        DataError
            With the given problem, if the weights have no positive sum.
        """
        if self.weights is None:
            return self
        mean = self.weights.mean(dtype=np.float64)
        if not mean > 0:
            raise DataError([problem])
        return replace(self, weights=(self.weights / mean).astype(np.float32))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training, validation and test splits; no example is in two of them.

    Attributes
    ----------
    name
        Such as ``digits``.
    train, validation, test
        The splits; vectors are scaled already, unless they are dequantized: those are as the source returns them.
    levels, scaler, context_scaler, standardised, dequantizer, gaussian_noise
        As in `DataUnits`.
    augmentation
        Of training images.
    noise_draws
        Draws of noise and augmentation of each training example, from which each batch takes one; zero draws anew.
    columns
        Names of a vector's features; may be empty.
    missing
        Number of missing values of each feature in the whole file; empty if there are none.
    first_rows
        Some training rows of vectors before noise and scaling, (n, features) float64; None for images, and where they
        are not known.
    reading
        How a table was read, such as ``separated by ;, decimal comma``; may be empty.
    unused
        Name of each column of a table that is not used, and why.
    warnings
        What the user should know about the values.
    split
        How the examples are split, such as ``split by column part``; empty: at random, or as published.
    scaled_pictures
        Whether `to_picture` keeps vectors scaled, for a run of an older version whose pictures are.
    fingerprint
        Returns the fingerprint of the loaded data and may read files; None for a data set that was not loaded.
    """

    name: str
    train: DataSplit
    validation: DataSplit
    test: DataSplit
    levels: int | None = None
    scaler: Scaler | None = None
    context_scaler: Scaler | None = None
    standardised: bool = False
    dequantizer: Dequantizer | None = None
    gaussian_noise: float = 0.0
    augmentation: Augmentation = PLAIN
    noise_draws: int = 0
    columns: tuple[str, ...] = ()
    missing: tuple[int, ...] = ()
    first_rows: np.ndarray | None = None
    reading: str = ""
    unused: tuple[UnusedColumn, ...] = ()
    warnings: tuple[ConfigProblem, ...] = ()
    split: str = ""
    scaled_pictures: bool = False
    fingerprint: Callable[[], Fingerprint] | None = None

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return tuple(self.train.values.shape[1:])

    @property
    def context_features(self) -> int:
        """Length of each example's context; 0 if there is none."""
        return 0 if self.train.context is None else self.train.context.shape[1]

    @property
    def is_image(self) -> bool:
        """Whether the examples are images."""
        return self.levels is not None

    @property
    def units(self) -> DataUnits:
        """The map between the data's units and the scaled values that flows see."""
        scalers = self.scaler, self.context_scaler
        return DataUnits(self.levels, *scalers, self.standardised, self.dequantizer, self.gaussian_noise)

    @property
    def unit(self) -> Unit:
        """The unit in which the likelihood is reported, as in `DataUnits`."""
        return self.units.unit

    @property
    def storage(self) -> str:
        """Where the examples are, for a message: ``read from disk, batch by batch``; empty if they are in memory."""
        return "" if in_memory(self.train.values) else "read from disk, batch by batch"

    @property
    def summary(self) -> str:
        """One line that describes the data set."""
        counts = f"{len(self.train):,} train, {len(self.validation):,} validation, {len(self.test):,} test"
        context = f", context of {self.context_features}" if self.context_features else ""
        split = f", {self.split}" if self.split else ""
        return f"{self.name}: {counts}, {'×'.join(str(size) for size in self.event_shape)}{context}{split}"

    def describe_unused(self) -> str:
        """Return the columns that are not used, with the reasons, for a message; empty if all are used."""
        listed = [f"{column.name} ({column.reason})" for column in self.unused[:_LISTED]]
        more = f" and {len(self.unused) - _LISTED:,} more" if len(self.unused) > _LISTED else ""
        return f"{', '.join(listed)}{more}"

    @property
    def picture_columns(self) -> list[str]:
        """Names of the features in pictures, marked if they are scaled there; may be empty."""
        scaled = self.scaled_pictures and self.scaler is not None
        return [f"{name} {SCALED}" if scaled else name for name in self.columns]

    @property
    def picture_units(self) -> DataUnits:
        """The map between the units of pictures of vectors and the scaled values that flows see."""
        return DataUnits() if self.scaled_pictures else self.units

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """The rectangle (x0, x1, y0, y1) around data of two features, with a margin, in the units of pictures.

        Raises
        ------
        ValueError
            If the data does not have two features.
        """
        if self.event_shape != (2,):
            msg = f"{self.name} has no plane: its examples have shape {self.event_shape}"
            raise ValueError(msg)
        scaled = (self.scaled(chunk) for _, chunk in chunks_of(in_any_order(self.train.values)))
        ends = np.concatenate([(chunk.min(axis=0), chunk.max(axis=0)) for chunk in scaled])
        low, high = self.to_picture(torch.from_numpy(np.stack([ends.min(axis=0), ends.max(axis=0)])))
        margin = _MARGIN * (high - low)
        (x0, y0), (x1, y1) = low - margin, high + margin
        return float(x0), float(x1), float(y0), float(y1)

    def with_training_examples(self, count: int) -> Dataset:
        """Return the data set with only `count` of its training examples; 0 for all.

        The choice is the same for every seed, and a larger count includes the examples of a smaller one. Scaling,
        validation and test stay as they are. Weights are scaled again to an average of 1.

        Raises
        ------
        DataError
            If there are fewer examples, or the chosen ones have no positive weight.
        """
        available = len(self.train)
        if count > available:
            message = f"the data has {available:,} training examples: give at most so many, or 0 for all"
            raise DataError([ConfigProblem(_EXAMPLES_PATH, message)])
        if count in (0, available):
            return self
        chosen = np.random.default_rng(_CHOICE_SEED).permutation(available)[:count]
        weightless = ConfigProblem(
            _EXAMPLES_PATH, "the weights of the chosen examples are all zero: give more examples"
        )
        return replace(self, train=self.train.take(np.sort(chosen)).normalise_weights(weightless))

    def batch(self, split: DataSplit, generator: torch.Generator) -> Batch:
        """Return a split as the input of a flow, its images dequantized."""
        context, weights = (
            None if values is None else torch.from_numpy(np.ascontiguousarray(values))
            for values in (split.context, split.weights)
        )
        values = np.array(split.values[:])  # copied: a memory map may be read-only, which torch does not support
        return Batch(self.dequantize(torch.from_numpy(values), generator), context, weights)

    def training_batch(
        self, index: np.ndarray, dequantization: torch.Generator, augmentation: torch.Generator
    ) -> Batch:
        """Return training examples by their indices; images are augmented, then dequantized."""
        if self.noise_draws and self._random:
            rows = torch.from_numpy(index) + len(self.train) * torch.randint(
                self.noise_draws, (len(index),), generator=dequantization
            )
            return replace(self._draws.take(rows), train_rows=rows)
        batch = self._new_batch(index, dequantization, augmentation)
        return batch if self._random else replace(batch, train_rows=torch.from_numpy(index))

    @property
    def _random(self) -> bool:
        """Whether training examples get noise, flips, shifts or labels at random."""
        drops_labels = self.train.context is not None and self.augmentation.label_dropping > 0
        return self.is_image or self.dequantizer is not None or self.augmentation.active or drops_labels

    @property
    def fixed_rows(self) -> int:
        """Number of different rows of which all training batches consist; zero if they are drawn anew."""
        return len(self.train) * self.noise_draws if self._random else len(self.train)

    @property
    def drawn_rows(self) -> int:
        """How many of these rows are draws of noise that are kept in memory."""
        return self.fixed_rows if self._random else 0

    def fixed_batch(self) -> Batch:
        """Return these rows, (fixed_rows, *event_shape); only where there are any."""
        return self._draws if self._random else self.batch(self.train, torch.Generator())

    @cached_property
    def _draws(self) -> Batch:
        """All draws, one after the other; the same for every seed."""
        generator, indices = torch.Generator().manual_seed(_CHOICE_SEED), np.arange(len(self.train))
        return Batch.join([self._new_batch(indices, generator, generator) for _ in range(self.noise_draws)])

    def _new_batch(self, index: np.ndarray, dequantization: torch.Generator, augmentation: torch.Generator) -> Batch:
        split = self.train.take(index)
        if self.augmentation.active:
            split = replace(split, values=self.augmentation(split.values[:], augmentation))
        split = replace(split, context=self.augmentation.drop_labels(split.context, augmentation))
        return self.batch(split, dequantization)

    def dequantize(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Return examples of a split as the input of a flow, float32, with noise where they are dequantized."""
        plain = self.levels is None and self.dequantizer is None
        return raw.float() if plain else self.units.dequantize(raw, generator)

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Return values of a split as flows see them, float32, without noise: at the middles of steps and levels."""
        if self.levels is not None:
            return (values.astype(np.float32) + 0.5) / np.float32(self.levels)
        if self.dequantizer is None:
            return values.astype(np.float32, copy=False)
        return self.units.middles(torch.from_numpy(np.array(values, np.float64))).float().numpy()

    def nll(self, log_prob: Tensor) -> Tensor:
        """Return the negative log-likelihood of each example in `unit`, as `DataUnits.nll`."""
        return self.units.nll(log_prob, self.event_shape)

    def nll_loss(self, log_prob: Tensor) -> Tensor:
        """Return the loss of each example: bits/dim for images, nats per dimension for vectors."""
        return self.nll(log_prob) if self.is_image else self.nll(log_prob) / math.prod(self.event_shape)

    @cached_property
    def usable_range(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and highest value of a sample that is not far outside the range of the data.

        Images are in [0, 1), and their range is [−0.5, 1.5]. A feature's range is three times as wide as that of the
        training examples (of some, where there are very many).
        """
        if self.is_image:
            return np.array(_IMAGE_RANGE[:1], np.float32), np.array(_IMAGE_RANGE[1:], np.float32)
        values = self.scaled(self.train.some(_RANGE_EXAMPLES).values[:])
        low, high = values.min(axis=0), values.max(axis=0)
        return low - (high - low), high + (high - low)

    def sample_flags(self, x: Tensor) -> np.ndarray:
        """Return which samples are not finite or far outside the range of the data, (B,) of `nfkd.protocol.flags`."""
        values = x.detach().float().cpu().numpy()
        low, high = self.usable_range
        features = tuple(range(1, values.ndim))
        outside = ((values < low) | (values > high)).any(axis=features)
        flags = np.where(outside, OUT_OF_RANGE, USABLE)
        return np.where(np.isfinite(values).all(axis=features), flags, NOT_FINITE).astype(np.uint8)

    def to_picture(self, x: Tensor) -> np.ndarray:
        """Return images clamped to [0, 1] for display, or vectors in the data's units; float32. See `sample_flags`."""
        values = x.detach().float().cpu()
        if self.is_image:
            return torch.nan_to_num(values).clamp(0, 1).numpy()
        shown = self.picture_units.to_data(values.reshape(-1, values.shape[-1])).float().reshape(values.shape)
        return torch.where(values.isfinite(), shown, values).numpy()
