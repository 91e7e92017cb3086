"""The values that a training step adds to the curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nfkd.config import TERMS
from nfkd.data import Dataset
from nfkd.distillation.balance import Weight, gradient_shares
from nfkd.distillation.loss import Loss


@dataclass(frozen=True)
class LossValues:
    """The numbers of a `Loss`, with the names that they have there."""

    total: float
    terms: Mapping[str, float]
    weights: Mapping[str, float]
    gradient_norm: float
    norms: Mapping[str, float]
    masked: Mapping[str, int]

    @property
    def finite(self) -> bool:
        """Whether every number is finite."""
        groups = (self.terms, self.weights, self.norms)
        values = [self.total, self.gradient_norm, *(value for group in groups for value in group.values())]
        return all(map(math.isfinite, values))


def read_losses(losses: Sequence[Loss]) -> list[LossValues]:
    """Return the numbers of some losses, which are transferred from the device all at once."""
    found = read_scalars([value for loss in losses for value in _scalars(loss)])
    values: list[LossValues] = []
    for loss in losses:
        own, found = found[: len(_scalars(loss))], found[len(_scalars(loss)) :]
        numbers = iter(own)
        values.append(
            LossValues(
                total=next(numbers),
                gradient_norm=next(numbers),
                terms=dict(zip(loss.terms, numbers, strict=False)),
                weights=dict(zip(loss.weights, numbers, strict=False)),
                norms=dict(zip(loss.norms, numbers, strict=False)),
                masked=loss.masked,
            )
        )
    return values


def _scalars(loss: Loss) -> list[Weight]:
    return [loss.total, loss.gradient_norm, *loss.terms.values(), *loss.weights.values(), *loss.norms.values()]


def read_scalars(values: Sequence[Weight]) -> list[float]:
    """Return numbers, of which some may be scalars on a device; these are transferred all at once."""
    tensors = [value.detach() for value in values if isinstance(value, Tensor)]
    numbers: list[float] = torch.stack(tensors).tolist() if tensors else []
    read = iter(numbers)
    return [next(read) if isinstance(value, Tensor) else value for value in values]


def step_values(loss: LossValues, dataset: Dataset) -> dict[str, float]:
    """Return the total, each term and the norm of the gradient; training stops if one is not finite.

    Likelihoods of vectors are in nats, as in validation.
    """
    terms = {f"train/{name}": value * _scale(name, dataset) for name, value in loss.terms.items()}
    return {"train/total": loss.total} | terms | {"gradient_norm": loss.gradient_norm}


def _scale(term: str, dataset: Dataset) -> int:
    likelihood = not TERMS[term].unit
    return math.prod(dataset.event_shape) if likelihood and not dataset.is_image else 1


def term_values(loss: LossValues) -> dict[str, float]:
    """Return each term's weighted value, its share of the gradient where measured, and the number of masked examples.

    Weighted likelihoods of vectors are in nats a dimension, as in the total.
    """
    shown = {"masked": float(sum(loss.masked.values()))}
    if len(loss.terms) > 1:
        shown |= {f"weighted/{name}": loss.weights[name] * value for name, value in loss.terms.items()}
    return shown | {f"share/{name}": share for name, share in gradient_shares(loss.weights, loss.norms).items()}


def describe_masked(masked: Mapping[str, int], step: int) -> dict[str, str]:
    """Return a message for each term that left examples out of a step."""
    return {
        name: f"{TERMS[name].label}: {count:,} {'example' if count == 1 else 'examples'} of step {step:,} gave "
        "values or gradients that are not finite and were left out; the curve of masked examples counts further ones"
        for name, count in masked.items()
    }
