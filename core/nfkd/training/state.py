"""The state of a stage in training: flow, optimizer, random numbers, position and best weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nfkd.config import TrainingConfig
from nfkd.distillation.balance import Weight
from nfkd.flows.flow import Flow
from nfkd.protocol.events import StageSummary
from nfkd.protocol.roles import Role, learner_of
from nfkd.training.checkpoint import Checkpoint, Position, optimizer_tensors, restore_optimizer
from nfkd.training.control import LiveWeights
from nfkd.training.generators import Batches, Generators
from nfkd.training.optimizers import make_optimizer
from nfkd.training.weight_average import WeightAverage


@dataclass
class StageState:
    """Everything that the next step of a stage depends on.

    Attributes
    ----------
    best
        The best validation value so far, in the data's unit.
    best_weights
        The weights that reached it.
    bad_rounds
        Evaluations since then.
    ema_decay
        Highest decay of the weights' running average; zero for none.
    average
        That average, from the first step on.
    norms
        Running gradient norms of the terms, for balanced weights; empty without them. Scalars on the device between two
        reads of a `Stepper`.
    """

    stage: Role
    seed: int
    flow: Flow
    optimizer: torch.optim.Optimizer
    generators: Generators
    batches: Batches
    step: int = 0
    best: float = math.inf
    best_step: int = 0
    bad_rounds: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    ema_decay: float = 0.0
    average: WeightAverage | None = None
    norms: dict[str, Weight] = field(default_factory=dict)

    @classmethod
    def fresh(cls, stage: Role, seed: int, flow: Flow, config: TrainingConfig, count: int) -> StageState:
        """Return the state before the first step; `count` is the number of training examples.

        Student, baseline and ablation use equal random numbers: they differ only in loss and inheritance.
        """
        generators = Generators(seed, learner_of(stage))
        return cls(
            stage=stage,
            seed=seed,
            flow=flow,
            optimizer=make_optimizer(config, flow.parameters()),
            generators=generators,
            batches=Batches(count, config.batch_size, generators.order),
            ema_decay=config.ema_decay,
        )

    @property
    def eval_flow(self) -> Flow:
        """The flow that is validated, shown and saved: the average if there is one, else the flow in training."""
        return self.flow if self.average is None else self.average.flow

    def live_weights(self) -> LiveWeights:
        """Return a copy of the weights of `eval_flow`, on the CPU."""
        weights = {name: value.cpu() for name, value in copy_weights(self.eval_flow).items()}
        return LiveWeights(self.seed, self.stage, self.step, weights)

    def count_step(self) -> None:
        """Count a step of the optimizer, and add its weights to the average."""
        self.step += 1
        if self.average is not None:
            self.average.update(self.step)
        elif self.ema_decay:
            self.average = WeightAverage(self.flow, self.ema_decay)

    def load_final_weights(self) -> None:
        """Load the weights that the stage keeps into the flow: the best on validation, else the newest."""
        if not self.best_weights:  # no validation value was finite
            self.best_step = self.step
        self.flow.load_state_dict(self.best_weights or self.eval_flow.state_dict())

    def record_validation(self, value: float) -> None:
        """Record a validation value, and keep the weights if it is the best so far."""
        if value < self.best:
            self.best, self.best_step, self.bad_rounds = value, self.step, 0
            self.best_weights = copy_weights(self.eval_flow)
        else:
            self.bad_rounds += 1

    def checkpoint(self, *, seconds: float, done: list[StageSummary], threads: int, data: str = "") -> Checkpoint:
        """Return a checkpoint of the current step."""
        order, cursor = self.batches.state()
        position = Position(
            stage=self.stage,
            step=self.step,
            best=self.best if math.isfinite(self.best) else None,
            best_step=self.best_step,
            bad_rounds=self.bad_rounds,
            cursor=cursor,
            seconds=seconds,
            done=done,
            threads=threads,
            data=data,
        )
        groups = {
            "model": self.flow.state_dict(),
            "average": {} if self.average is None else self.average.flow.state_dict(),
            "best": self.best_weights,
            "optimizer": optimizer_tensors(self.optimizer),
            "random": self.generators.state(),
            "norms": {name: torch.tensor(float(norm), dtype=torch.float64) for name, norm in self.norms.items()},
        }
        tensors = {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}
        return Checkpoint(position, tensors | {"order": order})

    def restore(self, checkpoint: Checkpoint) -> None:
        """Restore a checkpoint of this stage."""
        position = checkpoint.position
        self.step, self.best_step, self.bad_rounds = position.step, position.best_step, position.bad_rounds
        self.best = math.inf if position.best is None else position.best
        self.flow.load_state_dict(checkpoint.group("model"))
        device = next(self.flow.parameters()).device
        self.best_weights = {name: value.to(device) for name, value in checkpoint.group("best").items()}
        average = checkpoint.group("average")
        if average:
            self.average = WeightAverage(self.flow, self.ema_decay)
            self.average.flow.load_state_dict(average)
        restore_optimizer(self.optimizer, checkpoint.group("optimizer"))
        self.generators.restore(checkpoint.group("random"))
        self.norms.update({name: float(norm) for name, norm in checkpoint.group("norms").items()})
        self.batches.restore(checkpoint.tensors["order"], position.cursor)


def copy_weights(flow: Flow) -> dict[str, Tensor]:
    """Return a copy of a flow's weights and buffers."""
    return {name: value.detach().clone() for name, value in flow.state_dict().items()}
