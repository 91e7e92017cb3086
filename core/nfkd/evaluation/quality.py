"""Sample quality: the classifier two-sample test (C2ST)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy

_FOLDS = 3
_ROUNDS = 40
_DIVISIONS = 4
C2ST_MAX = 2000


def c2st(real: np.ndarray, generated: np.ndarray) -> float:
    """Return the classifier two-sample test of Lopez-Paz & Oquab (arXiv 1610.06545), as an area under the ROC curve.

    The area is computed from the classifier's scores on folds that it was not fitted on.

    Parameters
    ----------
    real, generated
        (N, …) examples and (M, …) samples; at most 2,000 of each are used.

    Returns
    -------
    float
        0.5 where the classifier cannot tell them apart, 1 where it always can; NaN for samples that are not finite
        or too few.
    """
    from sklearn.metrics import roc_auc_score

    labels, scores = _scores(real, generated)
    return float(roc_auc_score(labels, scores)) if len(labels) else float("nan")


def c2st_error(
    real: np.ndarray, generated: np.ndarray, check: Callable[[], None] = lambda: None
) -> tuple[float, float]:
    """Return `c2st` and its standard error.

    The variance is that of an area under the curve over examples and samples, whose ranks among each other are compared
    (DeLong et al. 1988, doi 10.2307/2531595), plus the variance over four random divisions into folds: the classifiers
    are fitted anew for each.

    Parameters
    ----------
    real, generated
        As for `c2st`.
    check
        Called before each division; may raise.
    """
    from sklearn.metrics import roc_auc_score

    areas, variances = list[float](), list[float]()
    for division in range(_DIVISIONS):
        check()
        labels, scores = _scores(real, generated, division)
        if not len(labels):
            return float("nan"), float("nan")
        areas.append(float(roc_auc_score(labels, scores)))
        variances.append(_delong(scores[labels == 1], scores[labels == 0]))
    return areas[0], float(np.sqrt(variances[0] + np.var(areas, ddof=1)))


def _scores(real: np.ndarray, generated: np.ndarray, division: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels and the scores of all examples and samples; empty where they cannot be computed."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold

    if min(len(real), len(generated)) < 2 * _FOLDS or not np.isfinite(generated).all():
        return np.empty(0), np.empty(0)
    real, generated = (values[:C2ST_MAX].reshape(min(len(values), C2ST_MAX), -1) for values in (real, generated))
    features = np.concatenate([real, generated])
    labels = np.repeat([0, 1], [len(real), len(generated)])
    scores = np.empty(len(labels))
    for fitted, scored in StratifiedKFold(_FOLDS, shuffle=True, random_state=division).split(features, labels):
        classifier = HistGradientBoostingClassifier(max_iter=_ROUNDS, random_state=0)
        classifier.fit(features[fitted], labels[fitted])
        scores[scored] = classifier.predict_proba(features[scored])[:, 1]
    return labels, scores


def _delong(positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the variance of the area under the curve of scores, by the midranks of each within all."""
    count, other = len(positive), len(negative)
    rank = scipy.stats.rankdata
    ranks = rank(np.concatenate([positive, negative]))
    above = (ranks[:count] - rank(positive)) / other  # share of the negative scores below each positive one
    below = 1 - (ranks[count:] - rank(negative)) / count
    return float(above.var(ddof=1) / count + below.var(ddof=1) / other)
