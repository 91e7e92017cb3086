"""Single training steps of tiny flows."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nfkd.config import DistillationConfig, TermConfig
from nfkd.data import Batch, Dataset
from nfkd.distillation.distiller import Distiller
from nfkd.distillation.loss import Loss
from nfkd.distillation.matching import match_layers
from nfkd.distillation.passes import Generators
from nfkd.flows.flow import Flow


def config(weights: dict[str, float], rest: dict[str, Any] | None = None, **others: Any) -> DistillationConfig:
    """Return a config with these weights only, five samples where a term draws some, and further settings by term."""

    def changed(name: str, term: TermConfig) -> TermConfig:
        few = {"batch_size": 5} if "batch_size" in type(term).model_fields else {}
        return type(term)(**{"weight": float(weights.get(name, 0.0)), **few, **(rest or {}).get(name, {})})

    terms: dict[str, Any] = {name: changed(name, term) for name, term in DistillationConfig().terms().items()}
    return DistillationConfig(**terms, **others)


def distiller(settings: DistillationConfig, student: Flow, teacher: Flow, dataset: Dataset, **rest: Any) -> Distiller:
    """Return the loss with layers matched as the settings say."""
    pairs = match_layers(settings.matching, student.layer_info(), teacher.layer_info())
    return Distiller(settings, teacher, pairs, dataset, **rest)


def generator() -> torch.Generator:
    """Return a generator with a fixed seed."""
    return torch.Generator().manual_seed(5)


def generators() -> Generators:
    """Return a generator with the same fixed seed for every purpose."""
    made: dict[str, torch.Generator] = {}
    return lambda purpose: made.setdefault(purpose, generator())


def backward(
    settings: DistillationConfig, student: Flow, teacher: Flow, dataset: Dataset, batch: Batch | torch.Tensor
) -> Loss:
    """Return the loss of one step, and leave its gradient in the student."""
    batch = batch if isinstance(batch, Batch) else Batch(batch)
    return distiller(settings, student, teacher, dataset).backward(student, batch, generators())


def term(name: str, student: Flow, teacher: Flow, dataset: Dataset, x: torch.Tensor, **settings: Any) -> float:
    """Return the value of one term alone."""
    loss = backward(config({name: 1.0}, {name: settings}), student, teacher, dataset, x)
    assert loss.total.item() == pytest.approx(loss.terms[name].item())
    return loss.terms[name].item()


def gradients(flow: Flow) -> dict[str, torch.Tensor]:
    """Return copies of the gradients of a flow's parameters by name."""
    return {name: value.grad.clone() for name, value in flow.named_parameters() if value.grad is not None}
