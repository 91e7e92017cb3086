"""The flows of a finished run, and the examples that they are evaluated on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from nfkd.config import ExperimentConfig
from nfkd.data import Batch, Dataset, DataSplit
from nfkd.data.units import evaluation_noise
from nfkd.evaluation.intervals import Estimate
from nfkd.files import is_taken
from nfkd.flows.flow import Flow
from nfkd.protocol.records import LayerPair, StagePlan
from nfkd.protocol.roles import Role, chain_of, learner_of
from nfkd.runs.layout import seed_directory
from nfkd.runs.reader import RunRecord
from nfkd.runs.weights import load_scaled_flow

ROWS = 256
"""Examples of a batch."""
_NAN = float("nan")


@dataclass(frozen=True)
class Measured:
    """A metric of a flow, and the same between training and test data; NaN where that has no meaning."""

    estimate: Estimate
    reference: float = _NAN


@dataclass(frozen=True, eq=False)
class EvaluatedFlow:
    """A flow of a run.

    Attributes
    ----------
    stage, seed
        Which one it is.
    flow
        On the device, in evaluation mode.
    source
        The flow that it learns from; for baseline and ablation that of the student. None for a teacher, and where its
        weights are not in the run.
    teacher
        The run's teacher of this seed; None where its weights are not in the run.
    pairs
        The matched layers of the flow and its source.
    """

    stage: Role
    seed: int
    flow: Flow
    source: Flow | None
    teacher: Flow | None
    pairs: list[LayerPair]


@dataclass(frozen=True, eq=False)
class Material:
    """The examples of an evaluation.

    Attributes
    ----------
    dataset
        Whose test split the flows are evaluated on.
    students
        The same with the training examples that all flows but the teacher have seen.
    samples
        Samples of each flow; at most so many examples are used, but all for likelihoods.
    device
        Of the flows.
    check
        Called now and then; raises to cancel the evaluation.
    """

    dataset: Dataset
    students: Dataset
    samples: int
    device: torch.device
    check: Callable[[], None] = lambda: None
    _batches: dict[str, Batch] = field(default_factory=dict[str, Batch])

    @property
    def test(self) -> Batch:
        """Test examples as flows see them, with the noise of evaluations."""
        return self._batch("test", self.dataset.test, self.samples)

    @property
    def train(self) -> Batch:
        """As many training examples."""
        return self._batch("train", self.dataset.train, len(self.test))

    def seen_split(self, stage: Role) -> DataSplit:
        """Return the training examples that a flow has seen."""
        return (self.dataset if stage == "teacher" else self.students).train

    def seen(self, stage: Role) -> Batch:
        """Return at most as many training examples that a flow has seen as test examples."""
        return self._batch(f"seen by {stage}", self.seen_split(stage), len(self.test))

    def _batch(self, name: str, split: DataSplit, count: int) -> Batch:
        if name not in self._batches:
            self._batches[name] = self.dataset.batch(split.some(count), evaluation_noise())
        return self._batches[name]

    def parts(self, batch: Batch) -> Iterator[Batch]:
        """Yield the examples in parts on the device, with a check before each."""
        for start in range(0, len(batch), ROWS):
            self.check()
            yield batch.take(slice(start, start + ROWS)).to(self.device)


def evaluated_flows(record: RunRecord, device: torch.device) -> Iterator[EvaluatedFlow]:
    """Yield the flows of a run whose stages have ended, by seed and in the order of their stages.

    A teacher of another library has no weights in the run and is left out.

    Raises
    ------
    RunError
        When weights cannot be read.
    """
    config, shared = record.config, dict[Role, Flow]()
    order = chain_of(len(config.assistants))
    for seed, seed_record in record.seeds.items():
        plans: dict[Role, StagePlan] = {plan.stage: plan for plan in seed_record.started.stages}
        own: dict[Role, Flow | None] = {stage: _load(record, config, seed, stage, device) for stage in plans}
        found = dict(shared)
        found.update({stage: flow for stage, flow in own.items() if flow is not None})
        shared = shared or {stage: flow for stage, flow in found.items() if stage in order[:-1]}
        for stage, plan in plans.items():
            if stage not in found:
                continue
            learner = learner_of(stage)
            before = order[order.index(learner) - 1] if learner != order[0] else None
            yield EvaluatedFlow(
                stage=stage,
                seed=seed,
                flow=found[stage],
                source=None if before is None else found.get(before),
                teacher=found.get("teacher"),
                pairs=plans[learner].pairs if learner in plans else plan.pairs,
            )


def _load(record: RunRecord, config: ExperimentConfig, seed: int, stage: Role, device: torch.device) -> Flow | None:
    if stage == "teacher" and config.training.teacher_from_python:
        return None
    path: Path = seed_directory(record.path, config, seed) / f"{stage}.safetensors"
    if not is_taken(path):
        return None
    return load_scaled_flow(path)[1].to(device).requires_grad_(requires_grad=False)
