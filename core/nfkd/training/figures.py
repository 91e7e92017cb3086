"""What the curves show of a step."""

from __future__ import annotations

import math

import torch

from nfkd.config import TERMS
from nfkd.data import Dataset
from nfkd.distillation.balance import gradient_shares
from nfkd.distillation.distiller import Loss


def step_values(loss: Loss, dataset: Dataset) -> dict[str, float]:
    """Return the total, each term and the norm of the gradient: what must be finite. One transfer from the device.

    Parameters
    ----------
    loss
        Of the step.
    dataset
        Gives the likelihoods their unit: of vectors they are shown in nats, as validation is.
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
    """Return what each term adds to the total, its share of the gradient where it was measured, and what was left out.

    Parameters
    ----------
    loss
        Of the step.
    dataset
        As in `step_values`.
    values
        As that returns them; a term adds to the total in its own unit, that of vectors' likelihoods being nats a
        dimension.
    """
    shown = {"masked": float(sum(loss.masked.values()))}
    if len(loss.terms) > 1:
        scales = {name: _scale(name, dataset) for name in loss.terms}
        shown |= {f"weighted/{name}": loss.weights[name] * values[f"train/{name}"] / scales[name] for name in scales}
    norms = {name: float(norm) for name, norm in loss.norms.items()}
    return shown | {f"share/{name}": share for name, share in gradient_shares(loss.weights, norms).items()}


def describe_masked(loss: Loss, step: int) -> dict[str, str]:
    """Return by term how many of its examples were left out of a step, in words."""
    return {
        name: f"{TERMS[name].label}: {count:,} {'example' if count == 1 else 'examples'} of step {step:,} gave "
        "figures or gradients that are not finite, left out of it; the curve of masked examples counts on from here"
        for name, count in loss.masked.items()
    }
