"""Negative log-likelihood on held-out data, with noise that is fixed and shared by all models."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from nfkd.data import Dataset
from nfkd.flows.flow import Flow

_NOISE_SEED = 20_250_621
_BATCH = 512


def noisy(dataset: Dataset, raw: np.ndarray) -> Tensor:
    """Return examples as the flows see them; the dequantization noise is the same at every call."""
    generator = torch.Generator().manual_seed(_NOISE_SEED)
    return dataset.dequantize(torch.from_numpy(raw), generator)


@torch.no_grad()
def example_nll(flow: Flow, dataset: Dataset, x: Tensor) -> np.ndarray:
    """Return each example's negative log-likelihood in the data's unit, shape (N,), float64.

    Parameters
    ----------
    flow
        In evaluation or training mode; it is left as it is.
    dataset
        Gives the unit: bits/dim for images, nats for vectors.
    x
        (N, *event_shape), as `noisy` returns it.
    """
    device = next(flow.parameters()).device
    parts = [dataset.nll(flow.log_prob(batch.to(device))).double().cpu() for batch in x.split(_BATCH)]
    return torch.cat(parts).numpy()


def bootstrap_half_width(values: np.ndarray) -> float:
    """Return half the width of the 95 % bootstrap interval of the mean over test examples."""
    if len(values) < 2 or not np.isfinite(values).all() or np.ptp(values) == 0:
        return 0.0
    rng = np.random.default_rng(0)
    result = stats.bootstrap((values,), np.mean, n_resamples=999, method="percentile", rng=rng, batch=100)
    return float(result.confidence_interval.high - result.confidence_interval.low) / 2
