"""Sample quality: the classifier two-sample test (C2ST)."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

_FOLDS = 3
_ROUNDS = 40
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
    real, generated = (values[:C2ST_MAX].reshape(len(values[:C2ST_MAX]), -1) for values in (real, generated))
    if min(len(real), len(generated)) < 2 * _FOLDS or not np.isfinite(generated).all():
        return float("nan")
    features = np.concatenate([real, generated])
    labels = np.repeat([0, 1], [len(real), len(generated)])
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    classifier = HistGradientBoostingClassifier(max_iter=_ROUNDS, random_state=0)
    scores = np.asarray(cross_val_predict(classifier, features, labels, cv=folds, method="predict_proba"))
    return float(roc_auc_score(labels, scores[:, 1]))
