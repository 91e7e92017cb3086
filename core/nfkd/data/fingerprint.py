"""Fingerprint of a data set. A run stores it, and is not resumed on other data.

It covers what a source has read, before the split and the scaling. So the same files and config always give the same
fingerprint, and the scaling does not spread the change of one value to all others. Paths and times are left out.

An array in memory is hashed whole, and so is a table on disk. So is other data of up to 256 MiB that is read on access
(arrays and folders of images). Of anything larger, 64 blocks of about 1 MiB are hashed, at even distances, and the
names and sizes of its files. A change that keeps the shape, the sizes of the files and these 64 MiB goes unnoticed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

import msgspec
import numpy as np

from nfkd.config import ConfigProblem
from nfkd.data.dataset import DataError, DataSplit
from nfkd.data.examples import Examples, in_memory
from nfkd.data.files import list_names
from nfkd.data.results import Keep, computed

_VERSION = 1
_WHOLE = 256 << 20
_BLOCKS, _BLOCK = 64, 1 << 20
_CHUNK = 16 << 20  # bytes that are hashed at once
_AT_RANDOM = "split at random"


class SplitFingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of a split, and hashes of its values, contexts and weights (empty if it has none)."""

    count: int
    shape: tuple[int, ...]
    values: str
    context_features: int = 0
    context: str = ""
    weights: str = ""


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """Fingerprint of a data set.

    Attributes
    ----------
    parts
        Those of the splits by name; ``train`` alone if the others are split off from it at random.
    columns
        Names of a vector's features; may be empty.
    files
        Hash of the names and sizes of the files, if not all values were hashed.
    split
        The user's own split, as in `Dataset`; unset for others, so that their text stays that of earlier versions.
    """

    version: int = _VERSION
    parts: dict[str, SplitFingerprint]
    columns: tuple[str, ...] = ()
    files: str = ""
    split: str | msgspec.UnsetType = msgspec.UNSET

    def encode(self) -> str:
        """Return it as JSON."""
        return msgspec.json.encode(self).decode()


def decode_fingerprint(text: str) -> Fingerprint | None:
    """Return a stored fingerprint, or None if there is none that can be compared."""
    try:
        found = msgspec.json.decode(text, type=Fingerprint)
    except ValueError:
        return None
    return found if found.version == _VERSION else None


def fingerprinter(
    splits: Mapping[str, DataSplit],
    columns: Sequence[str],
    files: Callable[[], Iterable[Path]],
    split: str = "",
    *,
    keep: Keep = computed,
    whole: bool = False,
) -> Callable[[], Fingerprint]:
    """Return a function that returns the fingerprint of a data set.

    Arrays in memory are hashed now and not kept; all others on the first call of the function.

    Parameters
    ----------
    splits
        As a source returns them, by name.
    columns
        Names of a vector's features.
    files
        Returns the files that values are read from.
    split
        The user's own split, as in `Dataset`.
    keep
        Keeps hashes of what is not in memory.
    whole
        Whether to hash that whole, whatever its size.
    """
    prints = {name: _fingerprint_split(split) for name, split in splits.items()}
    lazy = {name: split.values for name, split in splits.items() if not in_memory(split.values)}

    @cache
    def fingerprint() -> Fingerprint:
        def hashed(values: Examples) -> str:
            return _hash(values, whole=whole)

        hashes = {name: keep(f"hash of {name}", partial(hashed, values)) for name, values in lazy.items()}
        found = {name: msgspec.structs.replace(prints[name], values=found) for name, found in hashes.items()}
        sampled = not whole and any(_bytes(values) > _WHOLE for values in lazy.values())
        sizes = keep("hash of the files", lambda: _hash_sizes(files())) if sampled else ""
        return Fingerprint(parts=prints | found, columns=tuple(columns), files=sizes, split=split or msgspec.UNSET)

    return fingerprint


def _fingerprint_split(split: DataSplit) -> SplitFingerprint:
    context, weights = split.context, split.weights
    return SplitFingerprint(
        count=len(split),
        shape=tuple(int(size) for size in split.values.shape[1:]),
        values=_hash(split.values) if in_memory(split.values) else "",
        context_features=0 if context is None else int(context.shape[1]),
        context="" if context is None else _hash(context),
        weights="" if weights is None else _hash(weights),
    )


def _hash(values: Examples, *, whole: bool = False) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for start, stop in _ranges(values, whole=whole or in_memory(values)):
        digest.update(_canonical(np.asarray(values[start:stop])))
    return digest.hexdigest()


def _ranges(values: Examples, *, whole: bool) -> Iterator[tuple[int, int]]:
    """Yield the first and the last row (exclusive) of each range that is hashed."""
    count, size = len(values), max(1, _bytes(values))
    if whole or size <= _WHOLE:
        rows = max(1, _CHUNK * count // size)
        starts = np.arange(0, count, rows)
    else:
        rows = max(1, _BLOCK * count // size)
        starts = np.unique(np.linspace(0, count - rows, _BLOCKS).astype(int))
    for start in starts.tolist():
        yield start, min(start + rows, count)


def _bytes(values: Examples) -> int:
    return math.prod(values.shape) * np.asarray(values[:1]).dtype.itemsize


def _canonical(values: np.ndarray) -> bytes:
    """Return the bytes of an array: levels of images as they are, other numbers as little-endian float64."""
    if values.dtype == np.uint8:
        return values.tobytes()
    numbers = values.astype("<f8") + 0.0  # turns -0.0 into 0.0
    numbers[np.isnan(numbers)] = np.nan  # there are many NaNs
    return numbers.tobytes()


def _hash_sizes(files: Iterable[Path]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in files:
        try:
            size = path.stat().st_size
        except OSError as error:
            message = f"{path} cannot be found ({error.strerror}): put it back"
            raise DataError([ConfigProblem("data", message)]) from error
        digest.update(f"{path.name} {size}\n".encode())
    return digest.hexdigest()


def differences(made: Fingerprint, now: Fingerprint) -> list[str]:
    """Return the differences between the data and that of a run, for a message; empty if there are none.

    Parameters
    ----------
    made
        Of the data that the run was made with.
    now
        Of the present data.
    """
    if made.parts.keys() != now.parts.keys():
        return [f"it has the splits {', '.join(now.parts)}, the run was made with {', '.join(made.parts)}"]
    found = []
    if made.split != now.split:
        found.append(f"it is {now.split or _AT_RANDOM}, the run was made with data {made.split or _AT_RANDOM}")
    if list(map(_bare, made.columns)) != list(map(_bare, now.columns)):
        found.append(f"the columns differ: {list_names(now.columns)} instead of {list_names(made.columns)}")
    for name, split in made.parts.items():
        found += _split_differences(split, now.parts[name], f"the {name} split" if len(made.parts) > 1 else "")
    if not found and made.files != now.files:
        found.append("the names or sizes of the files differ")
    return found


def _bare(name: str) -> str:
    """Return a column's name without what earlier versions kept: blanks around it, and the sign of a comment."""
    return name.lstrip("#% ").strip()


def _split_differences(made: SplitFingerprint, now: SplitFingerprint, title: str) -> list[str]:
    whose = f" of {title}" if title else ""
    found = []
    if now.count != made.count:
        found.append(f"{title or 'the data'} has {now.count:,} examples, the run was made with {made.count:,}")
    if now.shape != made.shape:
        found.append(f"the examples{whose} have {_describe(now.shape)}, the run was made with {_describe(made.shape)}")
    if now.context_features != made.context_features:
        found.append(
            f"the context{whose} has {now.context_features} features, the run was made with {made.context_features}"
        )
    if found:
        return found
    hashes = {"values": "values", "contexts": "context", "weights": "weights"}
    return [f"the {label}{whose} differ" for label, name in hashes.items() if getattr(made, name) != getattr(now, name)]


def _describe(shape: Sequence[int]) -> str:
    return f"the shape {'×'.join(map(str, shape))}"
