"""The steps of a student on any device, and data with examples that are not finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from nfkd.config import ComputeConfig, DistillationConfig, ExperimentConfig
from nfkd.data import Batch, Dataset, load_dataset
from nfkd.distillation.distiller import Distiller
from nfkd.distillation.known_passes import NONE_KNOWN, KnownPasses, teacher_passes
from nfkd.distillation.matching import match_layers
from nfkd.distillation.pool import draw_pool
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from nfkd.training.state import StageState
from nfkd.training.step import StepResult
from nfkd.training.stepper import Stepper
from tests.core.tiny import digits

TERMS = ("nll", "lkd", "ilkd")
LOSS = {name: {"weight": float(name in TERMS)} for name in DistillationConfig().terms()} | {
    "balance": "gradient_norm",
    "balance_every": 2,
}


def stepper(
    config: ExperimentConfig, device: torch.device, *, every: int, pool_rows: int = 0
) -> tuple[Stepper, StageState, list[StepResult]]:
    """Return what makes the steps of a student on a device, whose flows are initialised, and what it will report."""
    dataset = load_dataset(config.data)
    first = dataset.batch(dataset.train.some(32), torch.Generator())
    flows: list[Flow] = []
    for number, flow_config in enumerate((config.student, config.teacher)):
        flow = build_flow(flow_config, dataset.event_shape, generator=torch.Generator().manual_seed(number))
        flow.initialize(first.x)
        assert flow.initialized
        flows.append(flow)
    pairs = match_layers(config.distillation.matching, *(flow.layer_info() for flow in flows))
    pool, known = None, NONE_KNOWN
    if pool_rows:
        pool, _ = draw_pool(flows[1].eval(), dataset.train, pool_rows, torch.Generator().manual_seed(2))
    student, teacher = (flow.to(device) for flow in flows)
    if pool is not None:
        known = KnownPasses(pool=teacher_passes(teacher, pool, [pair.teacher for pair in pairs]))
    state = StageState.fresh("student", 1, student.train(), config.training, len(dataset.train))
    state.step = 1  # the first step initialises the flow and reads its values at once
    loss = Distiller(
        config.distillation,
        teacher,
        pairs,
        dataset,
        steps=100,
        measure_every=3,
        norms=state.norms,
        pool=pool,
        known=known,
    )
    reported: list[StepResult] = []
    made = Stepper(
        state,
        loss,
        dataset,
        config.training,
        ComputeConfig(check_every=every),
        steps=100,
        elapsed=lambda: 0.0,
        report=lambda result, _: reported.append(result),
    )
    return made, state, reported


def small(**changes: Any) -> ExperimentConfig:
    training = {"ema_decay": 0.9, "gradient_clip": 1.0, "batch_size": 16, "optimizer": "adamax", "schedule": "cosine"}
    return digits(
        training=training | changes.pop("training", {}), distillation=LOSS | changes.pop("loss", {}), **changes
    )


def damage(monkeypatch: pytest.MonkeyPatch, *examples: int) -> None:
    """Make some training examples not finite."""
    original = Dataset.training_batch

    def training_batch(self: Dataset, index: np.ndarray, *generators: torch.Generator) -> Batch:
        batch = original(self, index, *generators)
        batch.x[torch.from_numpy(np.isin(index, examples))] = np.nan
        return batch

    monkeypatch.setattr(Dataset, "training_batch", training_batch)
