"""Distances between two sets of samples: Fréchet, sliced Wasserstein, MMD, precision and recall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

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
    values, vectors = scipy.linalg.eigh(first)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    # tr (Σ₁ Σ₂)^½ = tr (Σ₁^½ Σ₂ Σ₁^½)^½, of a symmetric matrix
    eigenvalues = scipy.linalg.eigvalsh(root @ second @ root)
    cross = np.sqrt(np.maximum(eigenvalues, 0)).sum()
    return max(0.0, float(mean @ mean + np.trace(first) + np.trace(second) - 2 * cross))


class FrechetPairs:
    """Fréchet distances of subsets of two sets of features, fast also where there are fewer examples than features.

    The cross term tr (Σ₁ Σ₂)^½ is the nuclear norm of A Bᵀ/√((n − 1)(m − 1)), A and B the centred features: n × m inner
    products, which are computed once for all subsets.

    Parameters
    ----------
    real, generated
        Features, (N, F) and (M, F) float64.
    """

    def __init__(self, real: np.ndarray, generated: np.ndarray) -> None:
        middle = real.mean(axis=0)  # a common shift changes nothing, but large means would cost digits
        self._real, self._generated = real - middle, generated - middle
        fewer = min(len(real), len(generated)) <= real.shape[1]
        self._products = self._real @ self._generated.T if fewer else None

    def distance(self, first: np.ndarray, second: np.ndarray) -> float:
        """Return the distance of the subsets at two index arrays, as `frechet_distance`."""
        real, generated = self._real[first], self._generated[second]
        difference = real.mean(axis=0) - generated.mean(axis=0)
        traces = real.var(axis=0, ddof=1).sum() + generated.var(axis=0, ddof=1).sum()
        known = self._products
        square = _covariances(real, generated) if known is None else _inner(known[np.ix_(first, second)])
        cross = np.sqrt(np.maximum(scipy.linalg.eigvalsh(square), 0)).sum()
        return max(0.0, float(difference @ difference + traces - 2 * cross))


def _covariances(real: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """Return Lᵀ Σ₂ L with Σ₁ = L Lᵀ, (F, F): it has the eigenvalues of Σ₁ Σ₂."""
    first, second = (np.atleast_2d(np.cov(values, rowvar=False)) for values in (real, generated))
    try:
        root = scipy.linalg.cholesky(first, lower=True)
    except np.linalg.LinAlgError:  # singular
        values, vectors = scipy.linalg.eigh(first)
        root = vectors * np.sqrt(np.maximum(values, 0))
    return root.T @ second @ root


def _inner(products: np.ndarray) -> np.ndarray:
    """Return P Pᵀ or Pᵀ P, the smaller one: it has the eigenvalues of Σ₁ Σ₂, except zeros.

    Parameters
    ----------
    products
        Inner products of features, (n, m).
    """
    count, other = products.shape
    products = products - products.mean(axis=1, keepdims=True)
    products -= products.mean(axis=0)
    products /= np.sqrt((count - 1) * (other - 1))
    return products @ products.T if count <= other else products.T @ products


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
    directions = random_directions(real.shape[1], rng, projections)
    return projected_wasserstein(directions @ real.T, directions @ generated.T)


def random_directions(size: int, rng: np.random.Generator, projections: int = _PROJECTIONS) -> np.ndarray:
    """Return random unit vectors as rows, (projections, size)."""
    directions = rng.normal(size=(size, projections))
    return (directions / np.linalg.norm(directions, axis=0)).T


def projected_wasserstein(real: np.ndarray, generated: np.ndarray) -> float:
    """Return the mean 1-Wasserstein distance of the rows of (P, N) and (P, M): `sliced_wasserstein` of projections."""
    difference = _quantiles(real)
    difference -= _quantiles(generated)
    return float(np.abs(difference, out=difference).mean())


def _quantiles(rows: np.ndarray) -> np.ndarray:
    """Return the quantiles of each row at the middles of 1,000 equal steps, (1,000, rows), as `np.quantile` does."""
    ordered = np.ascontiguousarray(np.sort(rows, axis=1).T)
    position = (np.arange(_QUANTILES) + 0.5) / _QUANTILES * (len(ordered) - 1)
    index = position.astype(int)
    below, values = ordered[index], ordered[np.minimum(index + 1, len(ordered) - 1)]
    values -= below
    values *= (position - index)[:, None]
    values += below
    return values


def mmd(real: np.ndarray, generated: np.ndarray) -> float:
    """Return the unbiased squared maximum mean discrepancy (Gretton et al. 2012, JMLR 13:723), negative by chance.

    The kernel is exp(−d² / m), with m the median of the squared distances within `real`.

    Parameters
    ----------
    real, generated
        (N, D) and (M, D).
    """
    return PairDistances.of(real, generated).mmd()


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
    return PairDistances.of(real, generated).precision_recall(neighbours)


@dataclass(frozen=True, eq=False)
class PairDistances:
    """Squared distances of all pairs of examples and samples, from which several measures follow.

    Attributes
    ----------
    real, generated, between
        Within the N examples, (N, N); within the M samples, (M, M); and between both, (N, M).
    """

    real: np.ndarray
    generated: np.ndarray
    between: np.ndarray

    @classmethod
    def of(cls, real: np.ndarray, generated: np.ndarray) -> PairDistances:
        """Return the distances of examples, (N, D), and samples, (M, D)."""
        within = _squares(real, real), _squares(generated, generated)
        for squares in within:
            np.fill_diagonal(squares, 0)
        return cls(*within, _squares(real, generated))

    def take(self, real: np.ndarray, generated: np.ndarray) -> PairDistances:
        """Return the distances of some examples and some samples, by their indices."""
        within = self.real[np.ix_(real, real)], self.generated[np.ix_(generated, generated)]
        return PairDistances(*within, self.between[np.ix_(real, generated)])

    def mmd(self) -> float:
        """Return the squared maximum mean discrepancy, as `mmd`."""
        width = float(np.median(self.real[np.triu_indices(len(self.real), 1)])) or 1.0

        def within(squares: np.ndarray) -> float:
            count = len(squares)
            return float((np.exp(-squares / width).sum() - count) / (count * (count - 1)))

        return within(self.real) + within(self.generated) - 2 * float(np.exp(-self.between / width).mean())

    def precision_recall(self, neighbours: int = _NEIGHBOURS) -> tuple[float, float]:
        """Return precision and recall, as `precision_recall`."""
        precision = _radii(self.real, neighbours) >= self.between.T
        recall = self.between <= _radii(self.generated, neighbours)
        return float(precision.any(axis=1).mean()), float(recall.any(axis=1).mean())


def _radii(squares: np.ndarray, neighbours: int) -> np.ndarray:
    """Return each point's squared distance to its k-th neighbour; its nearest is itself."""
    return np.partition(squares, neighbours, axis=1)[:, neighbours]


def _squares(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the squared distances of all pairs, (N, M), by a matrix product."""
    norms = np.square(first).sum(axis=1)[:, None] + np.square(second).sum(axis=1)
    return np.maximum(norms - 2 * (first @ second.T), 0)
