"""Names of the features of vectors."""

from __future__ import annotations

from nfkd.data import Dataset

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def column_names(dataset: Dataset) -> list[str]:
    """Return the names of a vector's features: those of the file, or x₁, x₂ and so on."""
    features = dataset.event_shape[0]
    return list(dataset.columns) or [f"x{number}".translate(_SUBSCRIPTS) for number in range(1, features + 1)]
