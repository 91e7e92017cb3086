"""Another data set in the scaling of a run's data, so that the flows of the run can be evaluated on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from nfkd.data import Dataset, DataSplit
from nfkd.runs.errors import RunError


def require_same_shape(own: Dataset, other: Dataset) -> None:
    """Refuse a data set whose examples the flows of a run cannot take.

    Raises
    ------
    RunError
        When its examples have another shape, or the flows need a context.
    """
    if other.event_shape != own.event_shape or other.is_image != own.is_image:
        shapes = ["×".join(map(str, each.event_shape)) for each in (other, own)]
        cause = f"An example of {other.name} has {shapes[0]} values, one of {own.name} {shapes[1]}."
        title = "The second data set does not fit"
        raise RunError(title, cause, "Choose one with examples of the same shape.")
    if own.context_features:
        cause = "The flows need a context with each example, and other data has another one."
        title = "A second data set cannot be used"
        raise RunError(title, cause, "Choose a run without context.")


def rescaled(own: Dataset, other: Dataset, split: DataSplit) -> DataSplit:
    """Return a split of another data set as one of a run's data: images cut to its levels, vectors as it has them."""
    values = np.array(split.values[:])
    if own.levels is not None:
        values = (values.astype(np.int64) * own.levels // (other.levels or own.levels)).astype(np.uint8)
    else:
        stored = torch.from_numpy(values)
        rows = stored if other.dequantizer else other.units.to_data(stored)
        values = (rows if own.dequantizer else own.units.to_scaled(rows).float()).numpy()
    return replace(split, values=values, context=None, weights=None)
