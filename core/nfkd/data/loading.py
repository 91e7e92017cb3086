"""From a config to a data set in three parts."""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from threading import Lock
from typing import Any

import numpy as np
import psutil

from nfkd.config import ConfigProblem, DataConfig
from nfkd.data.dataset import DataError, Dataset, DataSplit
from nfkd.data.examples import Examples, Mapped, in_memory
from nfkd.data.fingerprint import fingerprinter
from nfkd.data.scaling import as_float, fit_scaler, sample
from nfkd.data.source import Loaded, Said, Source
from nfkd.data.sources import SOURCES

_LEAST = 8  # the live pictures interpolate between four pairs
_KEPT = 3
_PLACES = 32  # bytes for an example's place in the order of its part, which is held three times while it is made
_MOST_VALUES = 1 << 24  # of an example

_cache: OrderedDict[Hashable, Dataset] = OrderedDict()
_loading: defaultdict[Hashable, Lock] = defaultdict(Lock)
_lock = Lock()


def load_dataset(config: DataConfig) -> Dataset:
    """Load, or draw, the data set of a config; the same config and files always give the same parts.

    The last few data sets are kept, for a form that is edited asks for the same one again and again.

    Raises
    ------
    NotFetchedError
        When the data can be downloaded and has not been.
    DataError
        When it cannot be used, or a part would be too small; with every problem.
    """
    source = SOURCES[config.kind]
    key = (config, source.stamp(config))
    with _lock:
        alone = _loading[key]
    try:
        with alone:  # for this data set only: a file that does not answer must not hold up the others
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
    _refuse_endless(loaded)
    parts = {"train": loaded.train, "validation": loaded.validation, "test": loaded.test}
    given = {name: part for name, part in parts.items() if part is not None}
    fingerprint = fingerprinter(given, loaded.columns, lambda: source.value_files(config))
    return replace(_divide(config, loaded), fingerprint=fingerprint)


def fetch_dataset(config: DataConfig, said: Said) -> None:
    """Download what a data set lacks on this machine.

    Raises
    ------
    DataError
        When it cannot be downloaded: the words give the address and where to put the file.
    """
    SOURCES[config.kind].fetch(config, said)


def _refuse_endless(loaded: Loaded) -> None:
    """Refuse more or larger examples than the memory has room for, also where their values stay in a file."""
    count, *shape = loaded.train.values.shape
    free = psutil.virtual_memory().available
    if count * _PLACES > free:
        message = f"{loaded.name}: {count:,} examples are too many for the free memory: give fewer"
        raise DataError([ConfigProblem("data.path", message)], tuple(shape))
    if math.prod(shape) > _MOST_VALUES:
        size = "×".join(map(str, shape))
        message = f"{loaded.name}: an example of {size} values is too large: the limit is {_MOST_VALUES:,} values"
        raise DataError([ConfigProblem("data.path", message)], tuple(shape))


def _divide(config: DataConfig, loaded: Loaded) -> Dataset:
    train, validation, test = loaded.train, loaded.validation, loaded.test
    fractions = {
        name: getattr(config, f"{name}_fraction")
        for name, given in (("validation", validation), ("test", test))
        if given is None
    }
    counts = {name: round(fraction * len(train)) for name, fraction in fractions.items()}
    problems = [
        ConfigProblem(
            f"data.{name}_fraction",
            f"gives {count} examples of {len(train)}: at least {_LEAST} are needed: raise it or bring more",
        )
        for name, count in counts.items()
        if count < _LEAST
    ]
    if problems:
        raise DataError(problems, tuple(train.values.shape[1:]))
    if counts:
        order = np.random.default_rng(getattr(config, "split_seed", 0)).permutation(len(train))
        *split, rest = np.split(order, np.cumsum(list(counts.values())))
        parts = dict(zip(counts, (train.take(index) for index in split), strict=True))
        validation, test, train = parts.get("validation", validation), parts.get("test", test), train.take(rest)
    if validation is None or test is None:
        msg = f"the source {config.kind} gave no test part and its config has no fraction for one"
        raise TypeError(msg)
    return _scaled(loaded, train, validation, test)


def _scaled(loaded: Loaded, train: DataSplit, validation: DataSplit, test: DataSplit) -> Dataset:
    parts = [train, validation, test]
    if loaded.prepare is not None:
        prepared = loaded.prepare(train)
        parts = [prepared(part) for part in parts]
    scaler = None if loaded.scaling == "none" else fit_scaler(loaded.scaling, sample(parts[0].values))
    if loaded.levels is None:
        parts = [replace(part, values=_apply(scaler or as_float, part.values)) for part in parts]
    context = parts[0].context
    context_scaler = None if context is None else fit_scaler(loaded.scaling, context)
    if context is not None:
        scale = context_scaler or as_float
        parts = [replace(part, context=scale(part.context)) for part in parts if part.context is not None]
    for part in parts:
        _refuse_infinite(part, loaded.columns)
    return Dataset(
        name=loaded.name,
        train=_weighted(parts[0]),
        validation=_weighted(parts[1]),
        test=_weighted(parts[2]),
        levels=loaded.levels,
        scaler=scaler,
        context_scaler=context_scaler,
        standardised=loaded.standardised,
        augmentation=loaded.augmentation,
        columns=loaded.columns,
        missing=loaded.missing,
    )


def _apply(function: Callable[[np.ndarray], np.ndarray], values: Examples) -> Examples:
    return function(values[:]) if in_memory(values) else Mapped(values, function)


def _refuse_infinite(part: DataSplit, columns: Sequence[str]) -> None:
    """Refuse values that single precision cannot hold; what is not in memory shows them when it is read."""
    for field, values in (("columns", part.values), ("context", part.context)):
        if isinstance(values, np.ndarray) and values.dtype == np.float32 and not np.isfinite(values).all():
            number = int(np.argwhere(~np.isfinite(values))[0][-1])
            name = columns[number] if field == "columns" and columns else number
            message = f"column {name} of data.{field} has values too large for single precision: choose another scaling"
            raise DataError([ConfigProblem("data.scaling", message)], tuple(part.values.shape[1:]))


def _weighted(part: DataSplit) -> DataSplit:
    """Scale the weights so that they are 1 on average: a weighted sum is then as large as a plain one."""
    if part.weights is None:
        return part
    mean = part.weights.mean(dtype=np.float64)
    if not mean > 0:
        raise DataError([ConfigProblem("data.weight", "the weights of a part add up to nothing: each part needs some")])
    return replace(part, weights=(part.weights / mean).astype(np.float32))
