"""Negative log-likelihood on held-out data, with fixed dequantization noise that all models share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy
import torch

from nfkd.data import Batch, Dataset, DataSplit
from nfkd.data.units import evaluation_noise
from nfkd.flows.flow import Flow, evaluating

_BATCH = 512


def noisy(dataset: Dataset, split: DataSplit) -> Batch:
    """Return the examples as flows see them; the dequantization noise is the same at every call."""
    return dataset.batch(split, evaluation_noise())


def noisy_batches(dataset: Dataset, split: DataSplit) -> Iterator[Batch]:
    """Yield the same examples as `noisy` in batches, for splits that do not fit in memory."""
    generator = evaluation_noise()
    for start in range(0, len(split), _BATCH):
        yield dataset.batch(split.take(slice(start, start + _BATCH)), generator)


@torch.no_grad()
def example_nll(flow: Flow, dataset: Dataset, split: DataSplit) -> np.ndarray:
    """Return each example's negative log-likelihood in the data's unit, (N,) float64, in evaluation mode.

    In a split with weights each value is multiplied by its example's weight. Weights are 1 on average, so the mean of
    the values is the weighted mean.
    """
    device = next(flow.parameters()).device
    result = []
    with evaluating(flow):
        for batch in noisy_batches(dataset, split):
            batch = batch.to(device)
            nll = dataset.nll(flow.log_prob(batch.x, batch.context)).double()
            result.append((nll if batch.weights is None else nll * batch.weights.double()).cpu())
    return torch.cat(result).numpy()


def bootstrap_half_width(values: np.ndarray) -> float:
    """Return half the width of the 95 % bootstrap interval of the mean."""
    if len(values) < 2 or not np.isfinite(values).all() or np.ptp(values) == 0:
        return 0.0
    rng = np.random.default_rng(0)
    result = scipy.stats.bootstrap((values,), np.mean, n_resamples=999, method="percentile", rng=rng, batch=100)
    return float(result.confidence_interval.high - result.confidence_interval.low) / 2
