"""Data sets that the tests of a process share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import lru_cache

import pytest

_KEPT = 24


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
