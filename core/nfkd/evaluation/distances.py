"""Distances between two sets of samples: Fréchet, sliced Wasserstein, MMD, precision and recall."""

from __future__ import annotations

import numpy as np
from scipy import linalg
from scipy.spatial import distance
from sklearn.neighbors import NearestNeighbors

_PROJECTIONS = 512
_QUANTILES = 1000
_NEIGHBOURS = 3


def frechet_distance(real: np.ndarray, generated: np.ndarray) -> float:
    """Return the Fréchet distance of two Gaussians fitted to features (Heusel et al. 2017, arXiv 1706.08500).

    ``‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½)``, the squared 2-Wasserstein distance of the Gaussians.

    Parameters
    ----------
    real, generated
        Features, (N, F) and (M, F).
    """
    mean = real.mean(axis=0) - generated.mean(axis=0)
    first, second = (np.atleast_2d(np.cov(values, rowvar=False)) for values in (real, generated))
    root = linalg.sqrtm(first)  # tr (Σ₁ Σ₂)^½ = tr (Σ₁^½ Σ₂ Σ₁^½)^½, whose matrix is symmetric
    eigenvalues = linalg.eigvalsh(np.real(root @ second @ root))
    cross = np.sqrt(np.maximum(eigenvalues, 0)).sum()
    return float(mean @ mean + np.trace(first) + np.trace(second) - 2 * cross)


def sliced_wasserstein(
    real: np.ndarray, generated: np.ndarray, rng: np.random.Generator, projections: int = _PROJECTIONS
) -> float:
    """Return the sliced 1-Wasserstein distance (Bonneel et al. 2015, doi 10.1007/s10851-014-0506-3).

    The mean, over random unit directions, of the 1-Wasserstein distance of the projected samples, by 1,000 quantiles.

    Parameters
    ----------
    real, generated
        (N, D) and (M, D).
    rng
        Draws the directions.
    """
    directions = rng.normal(size=(real.shape[1], projections))
    directions /= np.linalg.norm(directions, axis=0)
    levels = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    first, second = (np.quantile(values @ directions, levels, axis=0) for values in (real, generated))
    return float(np.abs(first - second).mean())


def mmd(real: np.ndarray, generated: np.ndarray) -> float:
    """Return the unbiased squared maximum mean discrepancy (Gretton et al. 2012, JMLR 13:723), negative by chance.

    The kernel is Gaussian; its width is the median distance within `real`.

    Parameters
    ----------
    real, generated
        (N, D) and (M, D).
    """
    width = float(np.median(distance.pdist(real, "sqeuclidean"))) or 1.0

    def kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.exp(-distance.cdist(first, second, "sqeuclidean") / width)

    def within(values: np.ndarray) -> float:
        return float((kernel(values, values).sum() - len(values)) / (len(values) * (len(values) - 1)))

    return within(real) + within(generated) - 2 * float(kernel(real, generated).mean())


def precision_recall(real: np.ndarray, generated: np.ndarray, neighbours: int = _NEIGHBOURS) -> tuple[float, float]:
    """Return precision and recall by nearest neighbours (Kynkäänniemi et al. 2019, arXiv 1904.06991).

    Precision is the share of samples that lie within the balls around real examples; a ball reaches to the k-th nearest
    neighbour. Recall is the same with the roles exchanged.

    Parameters
    ----------
    real, generated
        (N, D) and (M, D).
    neighbours
        k.
    """
    return _coverage(real, generated, neighbours), _coverage(generated, real, neighbours)


def _coverage(support: np.ndarray, points: np.ndarray, neighbours: int) -> float:
    """Return the share of `points` that lie in a ball of `support`."""
    radii = NearestNeighbors(n_neighbors=neighbours + 1).fit(support).kneighbors(support)[0][:, -1]
    return float((distance.cdist(points, support) <= radii).any(axis=1).mean())
