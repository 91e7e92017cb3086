"""Class labels as a context."""

from __future__ import annotations

import numpy as np


def class_context(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return labels, (N,) whole numbers below `classes`, one-hot: (N, classes) float32."""
    return np.eye(classes, dtype=np.float32)[labels]
