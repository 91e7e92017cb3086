"""The matched pairs in the document of an experiment: the user's own, or those that a strategy makes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from nfkd.protocol.records import LayerPair
from nfkd_gui.model.experiment import Experiment

OWN = "pairs"
"""The strategy that uses the user's own pairs."""
PAIRS = "distillation.matching.pairs"
"""Path of the user's pairs; the index of a pair follows."""
Item = dict[str, Any]


def pair_items(pairs: Sequence[LayerPair]) -> list[Item]:
    """Return pairs as a document has them."""
    return [{"student": pair.student, "teacher": pair.teacher, "weight": pair.weight} for pair in pairs]


def uses_own_pairs(document: dict[str, Any]) -> bool:
    """Return whether the strategy of a document is `OWN`."""
    return _matching(document).get("strategy") == OWN


def current_items(experiment: Experiment) -> list[Item]:
    """Return the student's pairs: the user's as they are entered, or the strategy's as the engine described them."""
    if uses_own_pairs(experiment.document):
        pairs = _matching(experiment.document).get("pairs")
        own = pairs if isinstance(pairs, list) else []
        return [copy.deepcopy(item) for item in own if isinstance(item, dict)]
    latest = experiment.latest
    return [] if latest is None else pair_items(latest.pairs)


def with_items(document: dict[str, Any], items: Sequence[Item]) -> dict[str, Any]:
    """Return a document with these pairs as the user's own."""
    return _with_matching(document, {"strategy": OWN, "pairs": list(items)})


def with_strategy(document: dict[str, Any], strategy: str) -> dict[str, Any]:
    """Return a document with a strategy, and without pairs of the user."""
    return _with_matching(document, {"strategy": strategy, "pairs": []})


def _matching(document: dict[str, Any]) -> dict[str, Any]:
    distillation = document.get("distillation")
    matching = distillation.get("matching") if isinstance(distillation, dict) else None
    return matching if isinstance(matching, dict) else {}


def _with_matching(document: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    if not isinstance(changed.get("distillation"), dict):
        changed["distillation"] = {}
    changed["distillation"]["matching"] = _matching(changed) | change
    return changed
