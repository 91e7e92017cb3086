"""A Gaussian fitted to the training data: the density that a useful flow must improve on."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from nfkd.data import Dataset
from nfkd.evaluation.likelihood import noisy_batches

_FITTED = 10_000  # examples at most; their mean and covariance are close enough, and few batches have to be read
_PIECE = 500
_FULL = 512  # dimensions; beyond, a covariance takes seconds to factorise, and more examples to estimate
_SHRINKAGE = 1e-3


def gaussian_nll(dataset: Dataset) -> float:
    """Return the mean figure on validation data, in the data's unit, of a Gaussian fitted to the training data.

    The Gaussian is that of the scaled values, dequantized for images. Its covariance S is shrunk to its diagonal,
    (1 − a)·S + a·diag(S) with a = max(0.001, D/N) for D dimensions and N examples, so that it is never singular; for
    more than 512 dimensions it is the diagonal alone. Contexts are ignored. So are weights in the fit; the mean is
    weighted. NaN where the data is not finite.
    """
    mean, scale = _fitted(_training_rows(dataset))
    widths = scale if scale.dim() == 1 else scale.diagonal()
    constant = -float(widths.log().sum()) - 0.5 * len(mean) * math.log(2 * math.pi)
    total, number = 0.0, 0
    for batch in noisy_batches(dataset, dataset.validation):
        standard = _standardised(batch.x.flatten(1).double() - mean, scale)
        figures = dataset.nll(constant - 0.5 * standard.square().sum(1))
        total += float((figures if batch.weights is None else figures * batch.weights.double()).sum())
        number += len(batch)
    return total / number


def _training_rows(dataset: Dataset) -> Tensor:
    """Return training examples as flows see them, (N, D) float64: pieces from all over the part."""
    count, generator = len(dataset.train), torch.Generator().manual_seed(0)
    pieces = min(math.ceil(count / _PIECE), _FITTED // _PIECE)
    starts = np.linspace(0, max(0, count - _PIECE), pieces).astype(int)
    batches = [dataset.batch(dataset.train.take(slice(start, start + _PIECE)), generator) for start in starts.tolist()]
    return torch.cat([batch.x.flatten(1) for batch in batches]).double()


def _fitted(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean, and the Cholesky factor of the covariance or, for many dimensions, the deviations."""
    mean, (count, dimensions) = rows.mean(0), rows.shape
    centred = rows - mean
    variance = centred.square().mean(0).clamp_min(torch.finfo(torch.float32).tiny)
    if dimensions > _FULL:
        return mean, variance.sqrt()
    shrinkage = min(1.0, max(_SHRINKAGE, dimensions / count))
    covariance = (1 - shrinkage) * (centred.T @ centred) / count + shrinkage * torch.diag(variance)
    return mean, torch.linalg.cholesky_ex(covariance).L


def _standardised(x: Tensor, scale: Tensor) -> Tensor:
    if scale.dim() == 1:
        return x / scale
    return torch.linalg.solve_triangular(scale, x.T, upper=False).T
