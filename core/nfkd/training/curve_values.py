"""The values that a training step adds to the curves."""

from __future__ import annotations

import math

import torch

from nfkd.config import TERMS
from nfkd.data import Dataset
from nfkd.distillation.balance import gradient_shares
from nfkd.distillation.distiller import Loss


def step_values(loss: Loss, dataset: Dataset) -> dict[str, float]:
    """Return the total, each term and the norm of the gradient; training stops if one is not finite.

    Likelihoods of vectors are in nats, as in validation. The values are transferred from the device all at once.
    """
    named = {"train/total": loss.total} | {f"train/{name}": value for name, value in loss.terms.items()}
    named["gradient_norm"] = loss.gradient_norm
    numbers = torch.stack([value.detach() for value in named.values()]).tolist()
    values: dict[str, float] = dict(zip(named, numbers, strict=True))
    for name in loss.terms:
        values[f"train/{name}"] *= _scale(name, dataset)
    return values


def _scale(term: str, dataset: Dataset) -> int:
    likelihood = not TERMS[term].unit
    return math.prod(dataset.event_shape) if likelihood and not dataset.is_image else 1


def term_values(loss: Loss, dataset: Dataset, values: dict[str, float]) -> dict[str, float]:
    """Return each term's weighted value, its share of the gradient where measured, and the number of masked examples.

    Parameters
    ----------
    loss, dataset
        As for `step_values`.
    values
        What `step_values` returns. Weighted likelihoods of vectors are in nats a dimension, as in the total.
    """
    shown = {"masked": float(sum(loss.masked.values()))}
    if len(loss.terms) > 1:
        scales = {name: _scale(name, dataset) for name in loss.terms}
        shown |= {f"weighted/{name}": loss.weights[name] * values[f"train/{name}"] / scales[name] for name in scales}
    norms = {name: float(norm) for name, norm in loss.norms.items()}
    return shown | {f"share/{name}": share for name, share in gradient_shares(loss.weights, norms).items()}


def describe_masked(loss: Loss, step: int) -> dict[str, str]:
    """Return a message for each term that left examples out of a step."""
    return {
        name: f"{TERMS[name].label}: {count:,} {'example' if count == 1 else 'examples'} of step {step:,} gave "
        "values or gradients that are not finite and were left out; the curve of masked examples counts further ones"
        for name, count in loss.masked.items()
    }
