"""Fingerprint of a data set. A run keeps it, and is not resumed on other data.

It covers what a source has read, before the split and the scaling. So the same files and config always give the same
fingerprint, and the scaling does not spread the change of one value to all others. Paths and times are left out.

An array in memory is hashed whole. So is what is read later, batch by batch (memory maps, HDF5, folders of images), up
to 256 MiB. Of anything larger, 64 blocks of about 1 MiB are hashed, at even distances, and the names and sizes of its
files. A change that keeps the shape, the sizes of the files and these 64 MiB is not seen.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import msgspec
import numpy as np

from nfkd.config import ConfigProblem
from nfkd.data.dataset import DataError, DataSplit
from nfkd.data.examples import Examples, in_memory

_VERSION = 1
_WHOLE = 256 << 20
_BLOCKS, _BLOCK = 64, 1 << 20
_PIECE = 16 << 20  # bytes that are hashed at once
_SHOWN = 8
_TITLES = {"train": "the training part", "validation": "the validation part", "test": "the test part"}


class PartPrint(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a part: sizes, and hashes of its values, contexts and weights (empty where it has none)."""

    count: int
    shape: tuple[int, ...]
    values: str
    context_features: int = 0
    context: str = ""
    weights: str = ""


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a data set.

    Attributes
    ----------
    parts
        By name; ``train`` alone where the parts are split off from it at random.
    columns
        Names of a vector's features; may be empty.
    files
        Hash of the names and sizes of the files, where not all values were hashed.
    """

    version: int = _VERSION
    parts: dict[str, PartPrint]
    columns: tuple[str, ...] = ()
    files: str = ""

    def encode(self) -> str:
        """Return it as JSON, to be kept with a run."""
        return msgspec.json.encode(self).decode()


def decode_fingerprint(text: str) -> Fingerprint | None:
    """Return a fingerprint that was kept, or None where there is none that can be compared."""
    try:
        found = msgspec.json.decode(text, type=Fingerprint)
    except ValueError:
        return None
    return found if found.version == _VERSION else None


def fingerprinter(
    parts: Mapping[str, DataSplit], columns: Sequence[str], files: Callable[[], Iterable[Path]]
) -> Callable[[], Fingerprint]:
    """Return a function that returns the fingerprint of a data set.

    Arrays in memory are hashed at once and not kept; all others when the fingerprint is first asked for.

    Parameters
    ----------
    parts
        As a source gives them, by name.
    columns
        Names of a vector's features.
    files
        Returns the files that values are read from.
    """
    prints = {name: _print_of(part) for name, part in parts.items()}
    lazy = {name: part.values for name, part in parts.items() if not in_memory(part.values)}

    @cache
    def fingerprint() -> Fingerprint:
        whole = {name: msgspec.structs.replace(prints[name], values=_hash(values)) for name, values in lazy.items()}
        sampled = any(_bytes(values) > _WHOLE for values in lazy.values())
        return Fingerprint(parts=prints | whole, columns=tuple(columns), files=_hash_sizes(files()) if sampled else "")

    return fingerprint


def _print_of(part: DataSplit) -> PartPrint:
    context, weights = part.context, part.weights
    return PartPrint(
        count=len(part),
        shape=tuple(int(size) for size in part.values.shape[1:]),
        values=_hash(part.values) if in_memory(part.values) else "",
        context_features=0 if context is None else int(context.shape[1]),
        context="" if context is None else _hash(context),
        weights="" if weights is None else _hash(weights),
    )


def _hash(values: Examples) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for start, stop in _ranges(values):
        digest.update(_canonical(np.asarray(values[start:stop])))
    return digest.hexdigest()


def _ranges(values: Examples) -> Iterator[tuple[int, int]]:
    """Return the first and the last row (exclusive) of everything that is hashed."""
    count, size = len(values), max(1, _bytes(values))
    if in_memory(values) or size <= _WHOLE:
        rows = max(1, _PIECE * count // size)
        starts = np.arange(0, count, rows)
    else:
        rows = max(1, _BLOCK * count // size)
        starts = np.unique(np.linspace(0, count - rows, _BLOCKS).astype(int))
    for start in starts.tolist():
        yield start, min(start + rows, count)


def _bytes(values: Examples) -> int:
    return math.prod(values.shape) * np.asarray(values[:1]).dtype.itemsize


def _canonical(values: np.ndarray) -> bytes:
    """Return the bytes of an array: levels of images as they are, any other number as float64, little-endian."""
    if values.dtype == np.uint8:
        return values.tobytes()
    numbers = values.astype("<f8") + 0.0  # there are two zeros, and many NaNs
    numbers[np.isnan(numbers)] = np.nan
    return numbers.tobytes()


def _hash_sizes(files: Iterable[Path]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in files:
        try:
            size = path.stat().st_size
        except OSError as error:
            raise DataError(
                [ConfigProblem("data", f"{path} cannot be looked at ({error.strerror}): put it back")]
            ) from error
        digest.update(f"{path.name} {size}\n".encode())
    return digest.hexdigest()


def differences(made: Fingerprint, now: Fingerprint) -> list[str]:
    """Return the differences between the data and that of a run, for a message; empty where it is the same.

    Parameters
    ----------
    made
        Of the data that the run was made with.
    now
        Of the data that is there.
    """
    if made.parts.keys() != now.parts.keys():
        return [f"it has the parts {', '.join(now.parts)}, the run was made with {', '.join(made.parts)}"]
    found = []
    if made.columns != now.columns:
        found.append(f"the columns differ: {_list(now.columns)} instead of {_list(made.columns)}")
    for name, theirs in made.parts.items():
        found += _part_differences(theirs, now.parts[name], _TITLES[name] if len(made.parts) > 1 else "")
    if not found and made.files != now.files:
        found.append("the names or sizes of the files differ")
    return found


def _part_differences(made: PartPrint, now: PartPrint, title: str) -> list[str]:
    whose = f" of {title}" if title else ""
    found = []
    if now.count != made.count:
        found.append(f"{title or 'the data'} has {now.count:,} examples, the run was made with {made.count:,}")
    if now.shape != made.shape:
        found.append(f"the examples{whose} have {_sizes(now.shape)}, the run was made with {_sizes(made.shape)}")
    if now.context_features != made.context_features:
        there, here = made.context_features, now.context_features
        found.append(f"the context{whose} has {here} features, the run was made with {there}")
    if found:
        return found
    pairs = {
        "values": (made.values, now.values),
        "contexts": (made.context, now.context),
        "weights": (made.weights, now.weights),
    }
    return [f"the {what}{whose} differ" for what, (theirs, ours) in pairs.items() if theirs != ours]


def _sizes(shape: Sequence[int]) -> str:
    return f"the shape {'×'.join(map(str, shape))}"


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "none") + more
