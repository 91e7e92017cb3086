"""Negative log-likelihood on held-out data, with noise that is fixed and shared by all models."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy import stats

from nfkd.data import Batch, Dataset, DataSplit
from nfkd.data.units import evaluation_noise
from nfkd.flows.flow import Flow, evaluating

_BATCH = 512


def noisy(dataset: Dataset, part: DataSplit) -> Batch:
    """Return examples as the flows see them; the dequantization noise is the same at every call."""
    return dataset.batch(part, evaluation_noise())


def noisy_batches(dataset: Dataset, part: DataSplit) -> Iterator[Batch]:
    """Return the same, a few hundred examples at a time: a part need not fit in memory."""
    generator = evaluation_noise()
    for start in range(0, len(part), _BATCH):
        yield dataset.batch(part.take(slice(start, start + _BATCH)), generator)


@torch.no_grad()
def example_nll(flow: Flow, dataset: Dataset, part: DataSplit) -> np.ndarray:
    """Return each example's negative log-likelihood in the data's unit, shape (N,), float64.

    Parameters
    ----------
    flow
        It is in evaluation mode meanwhile.
    dataset
        Gives the unit, and images their noise.
    part
        Of the data set. Where it has weights, each figure is multiplied by its example's; they are 1 on average, so
        that the mean of the figures is the weighted mean.
    """
    device = next(flow.parameters()).device
    figures = []
    with evaluating(flow):
        for batch in noisy_batches(dataset, part):
            there = batch.to(device)
            values = dataset.nll(flow.log_prob(there.x, there.context)).double()
            figures.append((values if there.weights is None else values * there.weights.double()).cpu())
    return torch.cat(figures).numpy()


def bootstrap_half_width(values: np.ndarray) -> float:
    """Return half the width of the 95 % bootstrap interval of the mean over test examples."""
    if len(values) < 2 or not np.isfinite(values).all() or np.ptp(values) == 0:
        return 0.0
    rng = np.random.default_rng(0)
    result = stats.bootstrap((values,), np.mean, n_resamples=999, method="percentile", rng=rng, batch=100)
    return float(result.confidence_interval.high - result.confidence_interval.low) / 2
