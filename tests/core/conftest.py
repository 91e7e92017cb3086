"""Data sets that the tests of a process share."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import pytest

_KEPT = 24
Score = Callable[[np.ndarray, np.ndarray], float]


@pytest.fixture(scope="session", autouse=True)
def data_sets_are_kept() -> Iterator[None]:
    """Keep more data sets than the program, and the classifiers of digits, which take a second of training each."""
    loading, features = (sys.modules.get(f"nfkd.{name}") for name in ("data.loading", "evaluation.features"))
    with pytest.MonkeyPatch.context() as patch:
        if loading is not None:
            patch.setattr(loading, "_KEPT", _KEPT)
        if features is not None:
            patch.setattr(features, "_trained", lru_cache(_KEPT)(features._trained.__wrapped__))
        yield


@pytest.fixture(scope="session", autouse=True)
def scores_of_samples_are_kept() -> Iterator[None]:
    """Keep C2ST at the end of stages: many tests train the same flow, and C2ST takes a third of a short run."""
    summary = sys.modules.get("nfkd.evaluation.summary")
    with pytest.MonkeyPatch.context() as patch:
        if summary is not None:
            patch.setattr(summary, "c2st", _kept(summary.c2st))
        yield


def _kept(score: Score) -> Score:
    scores: dict[bytes, float] = {}

    def kept(real: np.ndarray, generated: np.ndarray) -> float:
        parts = [f"{values.shape} {values.dtype}".encode() + values.tobytes() for values in (real, generated)]
        key = hashlib.sha256(b" ".join(parts)).digest()
        if key not in scores:
            scores[key] = score(real, generated)
        return scores[key]

    return kept
