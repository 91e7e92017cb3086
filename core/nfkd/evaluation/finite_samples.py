"""Samples that are not finite: the metrics of samples leave out a few of them."""

from __future__ import annotations

import torch
from torch import Tensor

MOST_LEFT_OUT = 0.01
"""Share of the samples; where more are not finite, the metrics have no value."""


def usable_samples(samples: Tensor) -> Tensor:
    """Return which samples the metrics use, (N,) booleans: those that are finite.

    None are used where more than one per cent are not finite: the others do not describe such a flow.

    Parameters
    ----------
    samples
        (N, …).
    """
    finite = samples.flatten(1).isfinite().all(1)
    return finite if count_not_finite(samples) <= MOST_LEFT_OUT * len(samples) else torch.zeros_like(finite)


def count_not_finite(samples: Tensor) -> int:
    """Return how many samples, (N, …), have a value that is not finite."""
    return int((~samples.flatten(1).isfinite().all(1)).sum())


def not_finite_note(count: int, total: int, flow: str) -> str:
    """Return a sentence without a full stop about samples that are not finite.

    Parameters
    ----------
    count, total
        Samples that are not finite, and all samples.
    flow
        Whose samples they are, such as *the student in seed 1*.
    """
    few = count <= MOST_LEFT_OUT * total
    effect = "the metrics of samples leave them out" if few else "the metrics of samples have no value"
    verb = "is" if count == 1 else "are"
    return f"{count:,} of {total:,} samples of {flow} {verb} not finite: {effect}"
