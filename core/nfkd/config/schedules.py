"""The weight of each term of the loss at a step: its schedule, and the convex weights."""

from __future__ import annotations

import math

from nfkd.config.distillation import DistillationConfig
from nfkd.config.terms import TermConfig


def weights_at(config: DistillationConfig, step: int, steps: int) -> dict[str, float]:
    """Return the weights of the active terms at a step; convex weights are divided by their sum.

    Parameters
    ----------
    config
        The terms.
    step
        From 0 to ``steps - 1``.
    steps
        The student's budget.
    """
    weights = {name: term.weight * schedule_factor(term, step, steps) for name, term in config.active_terms().items()}
    total = sum(weights.values())
    if config.normalize_weights and total > 0:
        return {name: weight / total for name, weight in weights.items()}
    return weights


def schedule_factor(term: TermConfig, step: int, steps: int) -> float:
    """Return the number that a term's schedule multiplies its weight by; arguments as `weights_at`."""
    span = term.schedule_span * steps
    if term.schedule == "constant":
        return 1.0
    if term.schedule == "warmup":
        return min(1.0, (step + 1) / span)
    progress = min(1.0, step / max(1.0, span - 1))
    if term.schedule == "cosine":
        progress = 0.5 * (1 - math.cos(math.pi * progress))
    return 1.0 + (term.schedule_end - 1.0) * progress
