"""Trains a single stage and keeps its weights after every step."""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import Tensor

from nfkd.config import ExperimentConfig
from nfkd.data import Batch, Dataset, DataSplit, load_dataset
from nfkd.distillation.distiller import Likelihood
from nfkd.flows.architectures import build_flow
from nfkd.training.control import Control
from nfkd.training.curves import CurveLog
from nfkd.training.loop import Hooks, Trainer
from nfkd.training.state import StageState

Weights = dict[str, Tensor]


def weights_of(flow: torch.nn.Module) -> Weights:
    """Return a copy of a module's weights and buffers."""
    return {name: value.clone() for name, value in flow.state_dict().items()}


class DoubleDataset(Dataset):
    """A data set whose batches are in double precision."""

    def batch(self, split: DataSplit, generator: torch.Generator) -> Batch:
        single = super().batch(split, generator)
        return Batch(single.x.double(), single.context, single.weights)


def train(config: ExperimentConfig, steps: int, dtype: torch.dtype = torch.float32) -> tuple[StageState, list[Weights]]:
    """Train a teacher by likelihood; return its state and the plain weights after every step."""
    dataset = load_dataset(config.data)
    if dtype == torch.float64:
        dataset = DoubleDataset(**{each.name: getattr(dataset, each.name) for each in fields(dataset)})
    flow = build_flow(config.teacher, dataset.event_shape, generator=torch.Generator().manual_seed(0)).to(dtype).train()
    state = StageState.fresh("teacher", 1, flow, config.training, len(dataset.train))
    history: list[Weights] = []
    hooks = Hooks(
        publish=lambda: None,
        checkpoint=lambda: None,
        progress=lambda: history.append(weights_of(state.flow)),
        warn=lambda _: None,
    )
    curves = CurveLog("run", 1, "teacher", lambda _: None, elapsed=0.0, paused_seconds=lambda: 0.0)
    trainer = Trainer(
        config,
        dataset,
        state,
        Likelihood(dataset),
        steps=steps,
        limit=steps,
        patience=0,
        control=Control(),
        curves=curves,
        hooks=hooks,
    )
    trainer.train()
    return state, history
