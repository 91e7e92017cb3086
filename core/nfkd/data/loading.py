"""Loading of a config's data set: splitting, scaling, and a cache of the last few."""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable
from dataclasses import replace
from threading import Lock
from typing import Any

import numpy as np
import psutil
import torch

from nfkd.config import ConfigProblem, DataConfig
from nfkd.data.column_noise import find_dequantizer
from nfkd.data.column_statistics import Change, RowSource, chunks_of
from nfkd.data.dataset import DataError, Dataset, DataSplit, reported_as
from nfkd.data.dequantization import Dequantizer
from nfkd.data.examples import Examples, apply, in_any_order
from nfkd.data.fingerprint import fingerprinter
from nfkd.data.images import FEWEST
from nfkd.data.results import Keep, computed
from nfkd.data.scaling import Scaler, as_float, fit_scaler, scaler_from_dict
from nfkd.data.source import Loaded, OnProgress, Source
from nfkd.data.sources import SOURCES
from nfkd.data.units import evaluation_noise

_KEPT = 3
_INDEX_BYTES = 32  # for each example: three copies of its shuffled index
_MOST_VALUES = 1 << 24  # of an example
_WARNED_ROWS, _WARNED_VALUES = 100_000, 1 << 17
_WEIGHTLESS = ConfigProblem("data.weight", "the weights of a split have no positive sum: each split needs some")

_cache: OrderedDict[Hashable, Dataset] = OrderedDict()
_loading: defaultdict[Hashable, Lock] = defaultdict(Lock)
_lock = Lock()


def load_dataset(config: DataConfig) -> Dataset:
    """Load, or draw, the data set of a config; the same config and files always give the same splits.

    The last few data sets are kept, since an edited form asks for the same one again and again.

    Raises
    ------
    NotFetchedError
        If the data can be downloaded and has not been.
    DataError
        If it cannot be used, or a split would be too small; with every problem.
    """
    source = SOURCES[config.kind]
    key = (config, source.stamp(config))
    with _lock:
        loading = _loading[key]
    try:
        with loading:  # one lock for each data set: a stalled file must not delay the others
            return _kept(key) or _keep(key, _load(config, source))
    finally:
        with _lock:
            _loading.pop(key, None)


def _kept(key: Hashable) -> Dataset | None:
    with _lock:
        if key in _cache:
            _cache.move_to_end(key)
        return _cache.get(key)


def _keep(key: Hashable, dataset: Dataset) -> Dataset:
    with _lock:
        _cache[key] = dataset
        while len(_cache) > _KEPT:
            _cache.popitem(last=False)
    return dataset


def _load(config: DataConfig, source: Source[Any]) -> Dataset:
    loaded = source.load(config)
    _refuse_large(loaded)
    splits = {"train": loaded.train, "validation": loaded.validation, "test": loaded.test}
    own = {name: split for name, split in splits.items() if split is not None}
    fingerprint = fingerprinter(
        own,
        loaded.columns,
        lambda: source.value_files(config),
        loaded.split,
        keep=loaded.keep or computed,
        whole=loaded.hash_whole,
    )
    with reported_as(loaded.reading):
        return replace(divide(config, loaded), fingerprint=fingerprint)


def fetch_dataset(config: DataConfig, on_progress: OnProgress) -> None:
    """Download the missing files of a data set.

    Raises
    ------
    DataError
        If they cannot be downloaded; the message gives the address and where to put the file.
    """
    SOURCES[config.kind].fetch(config, on_progress)


def _refuse_large(loaded: Loaded) -> None:
    """Refuse more or larger examples than fit in memory, also if their values stay in a file."""
    count, *shape = loaded.train.values.shape
    free = psutil.virtual_memory().available
    if count * _INDEX_BYTES > free:
        message = f"{loaded.name}: {count:,} examples are too many for the free memory: give fewer"
        raise DataError([ConfigProblem("data.path", message)], tuple(shape))
    if math.prod(shape) > _MOST_VALUES:
        size = "×".join(map(str, shape))
        message = f"{loaded.name}: an example of {size} values is too large: the limit is {_MOST_VALUES:,} values"
        raise DataError([ConfigProblem("data.path", message)], tuple(shape))


def divide(config: DataConfig, loaded: Loaded) -> Dataset:
    """Return loaded data with the splits and the scaling that a config asks for, without a fingerprint.

    Raises
    ------
    DataError
        If a split would be too small, or values cannot be scaled.
    """
    train = loaded.train
    splits = {"train": train, "validation": loaded.validation, "test": loaded.test}
    counts = {
        name: round(getattr(config, f"{name}_fraction") * len(train)) for name, split in splits.items() if split is None
    }
    problems = [
        ConfigProblem(
            f"data.{name}_fraction",
            f"gives {count} examples of {len(train)}, and at least {FEWEST} are needed: raise it or add examples",
        )
        for name, count in counts.items()
        if count < FEWEST
    ]
    if problems:
        raise DataError(problems, tuple(train.values.shape[1:]))
    if counts:
        *indices, rest = np.split(_order(config, len(train), sum(counts.values())), np.cumsum(list(counts.values())))
        splits |= {name: train.take(index) for name, index in zip(counts, indices, strict=True)}
        splits["train"] = train.take(rest)
    return _scale(loaded, [split for split in splits.values() if split is not None])


def _order(config: DataConfig, count: int, held_out: int) -> np.ndarray:
    """Return the order in which `count` examples are taken for validation, test and training."""
    if getattr(config, "split", "random") != "order":
        return np.random.default_rng(getattr(config, "split_seed", 0)).permutation(count)
    return np.roll(np.arange(count), held_out)  # the last rows first


def _scale(loaded: Loaded, splits: list[DataSplit]) -> Dataset:
    if loaded.prepare is not None:
        splits = list(map(loaded.prepare(splits[0]), splits))
    keep, train = loaded.keep or computed, splits[0]
    dequantizer = _find_noise(loaded, splits, keep)
    scaler = _fit(loaded, train, dequantizer, keep)
    if loaded.levels is None and dequantizer is None:
        splits = [replace(split, values=apply(scaler or as_float, split.values)) for split in splits]
    context = splits[0].context
    context_scaler = None if context is None else fit_scaler(loaded.scaling, RowSource(context))
    if context is not None:
        scale = context_scaler or as_float
        splits = [replace(split, context=scale(split.context)) for split in splits if split.context is not None]
    dataset = Dataset(
        loaded.name,
        *(split.normalise_weights(_WEIGHTLESS) for split in splits),
        levels=loaded.levels,
        scaler=scaler,
        context_scaler=context_scaler,
        dequantizer=dequantizer,
        standardised=loaded.standardised,
        gaussian_noise=loaded.gaussian_noise,
        augmentation=loaded.augmentation,
        columns=loaded.columns,
        missing=loaded.missing,
        first_rows=None if loaded.levels is not None else _first_rows(train.values),
        reading=loaded.reading,
        unused=loaded.unused,
        warnings=loaded.warnings,
        split=loaded.split,
    )
    for number, split in enumerate(splits):
        _refuse_infinite(dataset, split, lambda compute, number=number: keep(f"infinite in {number}", compute))
    return dataset


def _find_noise(loaded: Loaded, splits: list[DataSplit], keep: Keep) -> Dequantizer | None:
    """Return the noise of columns with repeated values; that of a table on disk is kept."""
    if not loaded.dequantize:
        return None

    def find() -> list[dict[str, Any]]:
        found = find_dequantizer(loaded, splits)
        return [] if found is None else found.to_list()

    fields = keep("noise", find)
    return Dequantizer.from_list(fields, splits[0].values.shape[1]) if fields else None


def _fit(loaded: Loaded, train: DataSplit, dequantizer: Dequantizer | None, keep: Keep) -> Scaler | None:
    """Fit the scaling on the training split, with noise where columns are dequantized; that of a table is kept."""
    if loaded.scaling == "none":
        return None

    def start_noise() -> Change:
        generator, noise = evaluation_noise(), dequantizer or Dequantizer({})
        return lambda rows: noise.spread(torch.from_numpy(np.array(rows)), generator).numpy()

    rows = RowSource(train.values, None if dequantizer is None else start_noise)

    def fit() -> dict[str, Any]:
        scaler = fit_scaler(loaded.scaling, rows)
        return {} if scaler is None else scaler.to_dict()

    return scaler_from_dict(keep("scaling", fit), rows.shape[1])


def _first_rows(rows: Examples) -> np.ndarray:
    """Return a copy of as many rows as are looked at for warnings."""
    return np.array(rows[: max(1, min(_WARNED_ROWS, _WARNED_VALUES // rows.shape[1]))], np.float64)


def _refuse_infinite(dataset: Dataset, split: DataSplit, keep: Callable[[Callable[[], Any]], Any]) -> None:
    """Refuse values that single precision cannot hold."""
    found = {"columns": -1 if dataset.is_image else keep(lambda: _infinite_column(dataset, split.values))}
    if split.context is not None:
        found["context"] = _first_infinite(split.context)
    for field, column in found.items():
        if column >= 0:
            name = dataset.columns[column] if field == "columns" and dataset.columns else column
            message = f"column {name} of data.{field} has values too large for single precision: choose another scaling"
            raise DataError([ConfigProblem("data.scaling", message)], tuple(split.values.shape[1:]))


def _infinite_column(dataset: Dataset, values: Examples) -> int:
    """Return the first column with a value that is infinite when scaled, in the first such chunk; -1 without one."""
    found = (_first_infinite(dataset.scaled(chunk)) for _, chunk in chunks_of(in_any_order(values)))
    return next((column for column in found if column >= 0), -1)


def _first_infinite(values: np.ndarray) -> int:
    finite = np.isfinite(values).all(axis=0)
    return -1 if finite.all() else int(np.argmin(finite))
