"""Flags of samples that a picture cannot show as they are: not finite, or far outside the range of the data."""

from __future__ import annotations

import numpy as np

USABLE, NOT_FINITE, OUT_OF_RANGE, UNKNOWN = range(4)
"""A sample's flag, uint8. *Unknown* occurs only in files: the sample was stored without a flag."""


def describe_flag(flag: int) -> str:
    """Return what is wrong with one sample, for a tooltip; empty if nothing is."""
    return {NOT_FINITE: "not finite", OUT_OF_RANGE: "far outside the range of the data"}.get(int(flag), "")


def describe_flags(flags: np.ndarray) -> str:
    """Return how many samples have a flag, for a caption; empty if none has.

    Examples
    --------
    >>> describe_flags(np.array([0, 1, 1, 2, 0], np.uint8))
    '2 of 5 samples not finite, 1 far outside the range of the data'
    """
    counts = [(int((flags == flag).sum()), describe_flag(flag)) for flag in (NOT_FINITE, OUT_OF_RANGE)]
    parts = [(f"{count:,}", what) for count, what in counts if count]
    if not parts:
        return ""
    (count, what), *rest = parts
    return ", ".join([f"{count} of {flags.size:,} samples {what}", *(" ".join(part) for part in rest)])


def stored_flags(flags: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    """Return flags for a file, *unknown* where there are none."""
    return np.full(shape, UNKNOWN, np.uint8) if flags is None else flags


def flags_of_vectors(values: np.ndarray) -> np.ndarray:
    """Return flags of vectors, (…, features), of which only the values are known: not finite, or usable."""
    return np.where(np.isfinite(values).all(axis=-1), USABLE, NOT_FINITE).astype(np.uint8)
