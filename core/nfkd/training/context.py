"""What all seeds of a run share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from nfkd.config import ExperimentConfig, TrainingConfig
from nfkd.data import Dataset
from nfkd.distillation.inheritance import Inheritance
from nfkd.distillation.ranks import Ranks
from nfkd.evaluation.reference import Reference
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from nfkd.flows.foreign import ForeignFlow
from nfkd.planning.matching_check import stage_inheritance
from nfkd.planning.plans import flow_config, stage_data, stage_pairs, stage_training, teacher_of
from nfkd.protocol.events import RunEvent
from nfkd.protocol.records import LayerPair
from nfkd.protocol.requests import Description
from nfkd.protocol.roles import STUDENTS, Role, learner_of
from nfkd.training.control import Control, LiveWeights
from nfkd.training.progress import RunProgress


@dataclass(frozen=True)
class RunContext:
    """What all seeds of a run share.

    Attributes
    ----------
    run
        The run's directory.
    description
        Sizes and matched layers of the experiment.
    threads
        CPU threads; saved in the checkpoints.
    fingerprint
        Fingerprint of the data, as JSON; saved in run files and checkpoints.
    emit
        Receives every event.
    warn, log
        Write a warning, or a line without one, to the run's log.
    reference
        The data as the figures of every stage use it.
    teacher
        A flow of another library as the teacher; None for a teacher of NFKD.
    donors
        Directories of other runs that may have the same trained teacher.
    weight_decay
        Found by the search for student, baseline and ablation; None without a search.
    ranks
        The processes that train together.
    """

    run: Path
    config: ExperimentConfig
    dataset: Dataset
    description: Description
    device: torch.device
    threads: int
    fingerprint: str
    control: Control
    progress: RunProgress
    emit: Callable[[RunEvent], None]
    warn: Callable[[str], None]
    log: Callable[[str], None]
    reference: Reference
    teacher: ForeignFlow | None = None
    donors: tuple[Path, ...] = ()
    weight_decay: float | None = None
    ranks: Ranks = field(default_factory=Ranks)
    _data: dict[Role, Dataset] = field(default_factory=dict[Role, Dataset])

    def training(self, stage: Role) -> TrainingConfig:
        """Return the settings of a stage's training, with the weight decay of a search."""
        training = stage_training(self.config, stage)
        if self.weight_decay is None or stage not in STUDENTS:
            return training
        return training.model_copy(update={"weight_decay": self.weight_decay})

    def between(self, copy: Callable[[], LiveWeights] | None = None) -> None:
        """Handle requests during long work without steps, and show its progress.

        Parameters
        ----------
        copy
            Returns the weights of the stage; None where there are none.

        Raises
        ------
        StopRun
            When the user ended the run.
        """
        self.control.poll_outside_training(copy)
        self.progress.wait()

    def build(self, stage: Role, generator: torch.Generator | None = None) -> Flow:
        """Return a stage's flow with initial weights."""
        shape, features = self.dataset.event_shape, self.dataset.context_features
        return build_flow(flow_config(self.config, stage), shape, context_features=features, generator=generator)

    def data(self, stage: Role) -> Dataset:
        """Return the data that a stage is trained on; only the teacher's has all training examples."""
        if stage == "teacher":
            return self.dataset
        if "student" not in self._data:  # one object for all, since it keeps its draws of noise
            self._data["student"] = stage_data(self.config, self.dataset, "student")
        return self._data["student"]

    def pairs(self, stage: Role) -> list[LayerPair]:
        """Return the matched layers of a stage's flow and its teacher; for baseline and ablation the student's."""
        return stage_pairs(self.description).get(learner_of(stage), [])

    def source_of(self, stage: Role) -> Role:
        """Return the role of the flow that a stage learns from; for baseline and ablation that of the student."""
        return teacher_of(self.config, learner_of(stage)) or "teacher"

    def inheritance(self, stage: Role) -> Inheritance:
        """Return what a stage's flow takes over from its teacher; the baseline takes over nothing."""
        if stage == "baseline":
            return Inheritance("none")
        foreign = self.teacher is not None and self.source_of(stage) == "teacher"
        return stage_inheritance(self.config, learner_of(stage), self.pairs(stage), foreign=foreign)
