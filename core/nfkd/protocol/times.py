"""The expected time of an experiment: the request, its reply, and the parts of both."""

from __future__ import annotations

import msgspec

from nfkd.protocol.records import Message
from nfkd.protocol.roles import Role


class EstimateTime(Message, frozen=True):
    """Measure how long an experiment will take, with a few real steps of each stage. Returns `TimeEstimate`.

    Refused while a run is training, unless the times are known from an earlier request, and when a newer request for
    another experiment arrives or a run starts meanwhile.
    """

    config: str
    """The experiment as TOML text."""


class StageTime(Message, frozen=True):
    """The expected time of a stage, for its full budget: early stopping makes a teacher shorter.

    Attributes
    ----------
    steps
        Its budget; zero for a given teacher.
    step_seconds
        Seconds of a step, without evaluations and pictures.
    pool
        Seconds until the first step: drawing the pool and the teacher's passes over it.
    monitoring
        Seconds of all evaluations, pictures and checkpoints during the training.
    summary
        Seconds after the last step: figures, final pictures, and saving.
    """

    stage: Role
    steps: int
    step_seconds: float
    pool: float = 0.0
    monitoring: float = 0.0
    summary: float = 0.0

    @property
    def training(self) -> float:
        """Seconds of all steps, with evaluations and pictures."""
        return self.steps * self.step_seconds + self.monitoring

    @property
    def seconds(self) -> float:
        """Seconds of the whole stage."""
        return self.pool + self.training + self.summary


class TimeEstimate(Message, frozen=True):
    """The expected time of an experiment, for the full budget of each stage: a teacher that stops early is shorter.

    Attributes
    ----------
    stages
        The stages of the first seed, in order.
    preparation
        Seconds before the first stage: the data, and the classifier of FD-local.
    search
        Seconds of the search for the weight decay; zero without one.
    seconds
        Seconds of the whole run, with all seeds.
    seeds
        Number of seeds.
    cached
        Whether an earlier measurement was used.
    guessed
        Stages that were not measured, since the measurement took too long: their times follow from those of the others
        and the sizes of the flows.
    shares
        Each term's share of the student's gradient, by the name of the term's field, from the same flows after these
        few steps, at the weights of the first step; empty where it was not measured.
    """

    stages: list[StageTime]
    preparation: float
    search: float
    seconds: float
    seeds: int
    cached: bool = False
    guessed: list[Role] = msgspec.field(default_factory=list[Role])
    shares: dict[str, float] = msgspec.field(default_factory=dict[str, float])

    @property
    def pool(self) -> float:
        """Seconds of all pools of the first seed."""
        return sum(stage.pool for stage in self.stages)

    @property
    def monitoring(self) -> float:
        """Seconds of all evaluations and pictures of the first seed, and of the figures at the ends of its stages."""
        return sum(stage.monitoring + stage.summary for stage in self.stages)


class StageShare(Message, frozen=True):
    """The expected part of a run's time that a stage takes; the shares of a run add up to 1."""

    seed: int
    stage: Role
    share: float
    search: bool = False
    """Whether this is the search for the weight decay, before the first stage."""
