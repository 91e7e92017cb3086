"""A stage in training: the flow, its optimizer, its random numbers and how far it has come."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nfkd.config import TrainingConfig
from nfkd.flows.flow import Flow
from nfkd.protocol.events import StageSummary
from nfkd.protocol.roles import Role
from nfkd.training.average import WeightAverage
from nfkd.training.checkpoint import Checkpoint, Position, optimizer_tensors, restore_optimizer
from nfkd.training.generators import Batches, Generators
from nfkd.training.optimizers import make_optimizer


@dataclass
class StageState:
    """Everything that the next step of a stage depends on.

    Attributes
    ----------
    best
        The best validation figure so far, in the data's unit.
    best_weights
        The weights that reached it.
    bad_rounds
        Evaluations since then.
    ema_decay
        Highest decay of the weights' running average; zero for none.
    average
        That average, from the first step on.
    norms
        Running norms of the terms' gradients, which a balance of their weights follows; empty without one.
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
    norms: dict[str, float] = field(default_factory=dict)

    @classmethod
    def fresh(cls, stage: Role, seed: int, flow: Flow, config: TrainingConfig, count: int) -> StageState:
        """Return the state before the first step; `count` is the number of training examples.

        Student and baseline draw from generators of the same name, so that they differ in nothing but the loss.
        """
        generators = Generators(seed, random_name(stage))
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
        """The flow that is validated, drawn and saved: the averaged one where there is one, else that in training."""
        return self.flow if self.average is None else self.average.flow

    def advance(self) -> None:
        """Count a step that the optimizer has made, and take its weights into the average."""
        self.step += 1
        if self.average is not None:
            self.average.follow(self.step)
        elif self.ema_decay:
            self.average = WeightAverage(self.flow, self.ema_decay)

    def settle(self) -> None:
        """Give the flow the weights that the stage keeps: the best on validation, else the newest."""
        if not self.best_weights:  # no validation figure was finite
            self.best_step = self.step
        self.flow.load_state_dict(self.best_weights or self.eval_flow.state_dict())

    def judge(self, value: float) -> bool:
        """Take a validation figure; keep the weights and return True when it is the best so far."""
        if value < self.best:
            self.best, self.best_step, self.bad_rounds = value, self.step, 0
            self.best_weights = copy_weights(self.eval_flow)
            return True
        self.bad_rounds += 1
        return False

    def checkpoint(self, *, seconds: float, done: list[StageSummary], threads: int, data: str = "") -> Checkpoint:
        """Return a checkpoint of this very step."""
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
            "norms": {name: torch.tensor(norm, dtype=torch.float64) for name, norm in self.norms.items()},
        }
        tensors = {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}
        return Checkpoint(position, tensors | {"order": order})

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of this stage."""
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


def random_name(stage: Role) -> str:
    """Return the name under which a stage draws its random numbers."""
    return "student" if stage == "baseline" else stage


def copy_weights(flow: Flow) -> dict[str, Tensor]:
    """Return a copy of a flow's weights and buffers."""
    return {name: value.detach().clone() for name, value in flow.state_dict().items()}
