"""How good samples are, as a classifier sees them."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

_FOLDS = 3
_ROUNDS = 40
C2ST_MOST = 2000


def c2st(real: np.ndarray, generated: np.ndarray) -> float:
    """Return the classifier two-sample test of Lopez-Paz & Oquab (arXiv 1610.06545), as an area under the curve.

    Parameters
    ----------
    real, generated
        (N, …) and (M, …): examples and samples; at most 2,000 of each are used.

    Returns
    -------
    float
        0.5 where the classifier cannot tell them apart, 1 where it always can; NaN for samples that are not finite
        or too few. It is taken from the classifier's scores on folds that it was not fitted on, never from hard
        predictions.
    """
    ours, theirs = (values[:C2ST_MOST].reshape(len(values[:C2ST_MOST]), -1) for values in (real, generated))
    if min(len(ours), len(theirs)) < 2 * _FOLDS or not np.isfinite(theirs).all():
        return float("nan")
    features = np.concatenate([ours, theirs])
    labels = np.repeat([0, 1], [len(ours), len(theirs)])
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    classifier = HistGradientBoostingClassifier(max_iter=_ROUNDS, random_state=0)
    scores = np.asarray(cross_val_predict(classifier, features, labels, cv=folds, method="predict_proba"))
    return float(roc_auc_score(labels, scores[:, 1]))
