"""Calibration of a flow's latents, and the errors of its inverse and of its log-determinant."""

from __future__ import annotations

import copy
import math

import numpy as np
import scipy
import torch

from nfkd.data import Batch
from nfkd.evaluation.evaluated_flows import Material
from nfkd.evaluation.inspection import log_det_errors
from nfkd.evaluation.intervals import Estimate, jackknife
from nfkd.flows.flow import Flow

_MOST_LATENTS = 1 << 21  # values that are sorted
_FEW, _MANY, _DIMENSIONS = 6, 16, 512  # examples whose Jacobian is computed; fewer for more dimensions


@torch.no_grad()
def latent_noise(flow: Flow, batch: Batch, material: Material) -> np.ndarray:
    """Return the standardised latents of examples, (N, D) float64: standard normal for a perfect flow."""
    count = max(1, _MOST_LATENTS // math.prod(flow.event_shape))
    parts = [
        torch.cat([part.flatten(1) for part in flow.noise_of(rows.x, rows.context)], dim=1).double().cpu()
        for rows in material.parts(batch.take(slice(count)))
    ]
    return torch.cat(parts).numpy()


def calibration(noise: np.ndarray, material: Material | None = None) -> dict[str, Estimate]:
    """Return how far latents are from standard normal ones, with intervals by the jackknife over examples.

    ``pit`` is the Kolmogorov–Smirnov distance of all u = Φ(z) from the uniform distribution (probability integral
    transform, Diebold et al. 1998, doi 10.2307/2527342); ``chi2`` that of ‖z‖² from the χ² distribution of D degrees.
    Both are 0 for a perfect flow with infinitely many examples, at most 1, and of the order of 1/√N by chance.

    Parameters
    ----------
    noise
        Standardised latents, (N, D).
    material
        Whose check is called, if given.

    Returns
    -------
    dict[str, Estimate]
        NaN for latents that are not finite.
    """
    count, size = noise.shape
    if not np.isfinite(noise).all():
        return dict.fromkeys(("pit", "chi2"), Estimate(math.nan, math.nan, math.nan, count))
    uniform = scipy.stats.norm.cdf(noise.ravel())
    squares = scipy.stats.chi2.cdf(np.square(noise).sum(axis=1), size)
    # Sorted once: what remains without some examples is sorted, too.
    orders = [np.argsort(values) for values in (uniform, squares)]
    values = [uniform[orders[0]], squares[orders[1]]]
    owners = [orders[0] // size, orders[1]]

    def distances(kept: np.ndarray) -> list[float]:
        chosen = np.zeros(count, bool)
        chosen[kept] = True
        return [_from_uniform(rows[chosen[owner]]) for rows, owner in zip(values, owners, strict=True)]

    check = (lambda: None) if material is None else material.check
    return dict(zip(("pit", "chi2"), jackknife(distances, [count], [(0, 1), (0, 1)], on_group=check), strict=True))


def _from_uniform(values: np.ndarray) -> float:
    """Return the Kolmogorov–Smirnov distance of sorted values from the uniform distribution."""
    steps = np.arange(len(values) + 1) / len(values)
    return float(max((steps[1:] - values).max(), (values - steps[:-1]).max()))


@torch.no_grad()
def inverse_errors(flow: Flow, batch: Batch, material: Material) -> np.ndarray:
    """Return max |decode(encode(x)) − x| / max(1, max |x|) of each example, (N,); infinite where it is not finite."""
    parts = []
    for rows in material.parts(batch):
        decoded = flow.decode(flow.encode(rows.x, rows.context), rows.context)
        largest = rows.x.flatten(1).abs().amax(1).clamp(min=1)
        parts.append(((decoded - rows.x).flatten(1).abs().amax(1) / largest).double().cpu())
    return torch.nan_to_num(torch.cat(parts), nan=math.inf, posinf=math.inf).numpy()


def log_determinant_errors(flow: Flow, batch: Batch, material: Material) -> np.ndarray:
    """Return |log-determinant − autograd's| / max(1, |autograd's|) of some examples, in double precision on the CPU."""
    count = min(_MANY, max(_FEW, _DIMENSIONS // math.prod(flow.event_shape)))
    double = copy.deepcopy(flow).cpu().double()
    errors = list[float]()
    few = batch.take(slice(count))
    for error in log_det_errors(double, few.x, few.context):
        material.check()
        errors.append(error)
    return np.array(errors)
