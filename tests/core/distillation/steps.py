"""Single steps of a tiny student."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nfkd.config import DistillationConfig, TermConfig
from nfkd.data import Batch, Dataset
from nfkd.distillation.distiller import Distiller
from nfkd.distillation.matching import match_layers
from nfkd.distillation.passes import Generators
from nfkd.flows.flow import Flow


def config(weights: dict[str, float], rest: dict[str, Any] | None = None, **others: Any) -> DistillationConfig:
    """Return a config with these weights and no other; `rest` has further settings by term. Samples come by fives."""

    def changed(name: str, term: TermConfig) -> TermConfig:
        few = {"batch_size": 5} if "batch_size" in type(term).model_fields else {}
        return type(term)(**{"weight": float(weights.get(name, 0.0)), **few, **(rest or {}).get(name, {})})

    terms: dict[str, Any] = {name: changed(name, term) for name, term in DistillationConfig().terms().items()}
    return DistillationConfig(**terms, **others)


def distiller(settings: DistillationConfig, student: Flow, teacher: Flow, dataset: Dataset, **rest: Any) -> Distiller:
    """Return the loss with layers matched as the settings say: as in the paper, unless told otherwise."""
    pairs = match_layers(settings.matching, student.layer_info(), teacher.layer_info())
    return Distiller(settings, teacher, pairs, dataset, **rest)


def generator() -> torch.Generator:
    """Return a generator that always begins the same."""
    return torch.Generator().manual_seed(5)


def generators() -> Generators:
    """Return generators for every purpose, each as `generator` returns it when it is first asked for."""
    made: dict[str, torch.Generator] = {}
    return lambda purpose: made.setdefault(purpose, generator())


def term(name: str, student: Flow, teacher: Flow, dataset: Dataset, x: torch.Tensor, **settings: Any) -> float:
    """Return the value of one term alone."""
    loss = distiller(config({name: 1.0}, {name: settings}), student, teacher, dataset)(student, Batch(x), generators())
    assert loss.total.item() == pytest.approx(loss.terms[name].item())
    return loss.terms[name].item()
