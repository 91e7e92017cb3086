"""Samples that are not finite: the metrics of samples leave out a few of them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from nfkd.protocol.events import StageSummary

_MOST = 0.01  # of the samples


def usable_samples(samples: Tensor) -> Tensor:
    """Return which samples the metrics use, (N,) booleans: those that are finite.

    None are used where more than one per cent are not finite: values of the others would be misleading.

    Parameters
    ----------
    samples
        (N, …).
    """
    finite = samples.flatten(1).isfinite().all(1)
    return finite & (len(finite) - finite.sum() <= _MOST * len(finite))


def usable_features(features: np.ndarray) -> np.ndarray:
    """Return the rows of features, (N, F), that are used: a sample far from the data may have latents that are NaN."""
    return features[usable_samples(torch.from_numpy(features)).numpy()]


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
    effect = (
        "the metrics of samples leave them out" if count <= _MOST * total else "the metrics of samples have no value"
    )
    return f"{count:,} of {total:,} samples of {flow} {'is' if count == 1 else 'are'} not finite: {effect}"


def left_out_note(summaries: Iterable[StageSummary]) -> str:
    """Return a sentence about stages with samples that are not finite; empty without any."""
    found = [summary for summary in summaries if summary.not_finite > 0]
    if not found:
        return ""
    most = int(max(summary.not_finite for summary in found))
    flows = ", ".join(dict.fromkeys(summary.stage for summary in found))
    return (
        f"Some samples are not finite ({flows}; at most {most:,} in a seed). Metrics of samples leave out up to 1 %, "
        "and have no value for more."
    )
