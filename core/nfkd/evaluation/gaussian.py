"""A Gaussian fitted to the training data: the density that a useful flow must improve on."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from nfkd.data import Dataset
from nfkd.evaluation.likelihood import noisy_batches

_MAX_EXAMPLES = 10_000  # enough for mean and covariance, and few batches to read
_PIECE = 500
_MAX_DIMENSIONS = 512  # beyond, a covariance takes seconds to factorise, and more examples to estimate
_SHRINKAGE = 1e-3


def gaussian_nll(dataset: Dataset) -> float:
    """Return the mean validation NLL, in the data's unit, of a Gaussian fitted to the training data.

    It is fitted to the scaled values, dequantized for images. Its covariance S is shrunk towards its diagonal,
    (1 − a)·S + a·diag(S) with a = max(0.001, D/N) for D dimensions and N examples, so that it is never singular. Above
    512 dimensions only the diagonal is used. The fit ignores contexts and weights; the mean NLL is weighted. NaN where
    the data is not finite.
    """
    mean, scale = _fit(_training_rows(dataset))
    widths = scale if scale.dim() == 1 else scale.diagonal()
    constant = -float(widths.log().sum()) - 0.5 * len(mean) * math.log(2 * math.pi)
    total, number = 0.0, 0
    for batch in noisy_batches(dataset, dataset.validation):
        standard = _standardise(batch.x.flatten(1).double() - mean, scale)
        nll = dataset.nll(constant - 0.5 * standard.square().sum(1))
        total += float((nll if batch.weights is None else nll * batch.weights.double()).sum())
        number += len(batch)
    return total / number


def _training_rows(dataset: Dataset) -> Tensor:
    """Return training examples as flows see them, (N, D) float64, in pieces spread over the whole split."""
    count, generator = len(dataset.train), torch.Generator().manual_seed(0)
    pieces = min(math.ceil(count / _PIECE), _MAX_EXAMPLES // _PIECE)
    starts = np.linspace(0, max(0, count - _PIECE), pieces).astype(int)
    batches = [dataset.batch(dataset.train.take(slice(start, start + _PIECE)), generator) for start in starts.tolist()]
    return torch.cat([batch.x.flatten(1) for batch in batches]).double()


def _fit(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean, and the Cholesky factor of the covariance, or standard deviations for many dimensions."""
    mean, (count, dimensions) = rows.mean(0), rows.shape
    centred = rows - mean
    variance = centred.square().mean(0).clamp_min(torch.finfo(torch.float32).tiny)
    if dimensions > _MAX_DIMENSIONS:
        return mean, variance.sqrt()
    shrinkage = min(1.0, max(_SHRINKAGE, dimensions / count))
    covariance = (1 - shrinkage) * (centred.T @ centred) / count + shrinkage * torch.diag(variance)
    return mean, torch.linalg.cholesky_ex(covariance).L


def _standardise(x: Tensor, scale: Tensor) -> Tensor:
    if scale.dim() == 1:
        return x / scale
    return torch.linalg.solve_triangular(scale, x.T, upper=False).T
