"""What the ranks above 0 do: they make the same steps as rank 0, from the state that it sends, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nfkd.config import ExperimentConfig
from nfkd.data import Dataset, load_dataset
from nfkd.distillation.distiller import Distiller, Likelihood, freeze
from nfkd.distillation.pool import Pool
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from nfkd.flows.isolation import plain_torch
from nfkd.planning.devices import resolve_device
from nfkd.planning.plans import flow_config, stage_data, stage_training, teacher_of
from nfkd.protocol.records import LayerPair
from nfkd.protocol.roles import Role
from nfkd.training.checkpoint import Checkpoint
from nfkd.training.data_check import fingerprint_text
from nfkd.training.diagnosis import DivergedError
from nfkd.training.freed_memory import keep_freed_memory
from nfkd.training.optimizers import learning_rate
from nfkd.training.read_ahead import reading_ahead
from nfkd.training.resident import on_device
from nfkd.training.stage_pool import known_passes
from nfkd.training.state import StageState
from nfkd.training.step import make_step

if TYPE_CHECKING:
    from nfkd.training.ranks import GroupRanks


@dataclass(frozen=True)
class RunStart:
    """What a rank needs before the first stage of a run.

    Attributes
    ----------
    config
        The experiment.
    fingerprint
        Of the data that rank 0 has read, as JSON.
    threads
        CPU threads of each process.
    """

    config: ExperimentConfig
    fingerprint: str
    threads: int


@dataclass(frozen=True)
class StageStart:
    """What a rank needs before the first step of a stage; all tensors are on the CPU.

    Attributes
    ----------
    stage, seed, steps
        The stage, its seed, and the steps of its learning rate.
    state
        Weights, optimizer, random numbers and position.
    groups
        The settings of the optimizer, for each group of parameters.
    pairs
        The matched layers.
    teacher
        The weights of the flow that it learns from; None if it learns from the data alone.
    pool
        That flow's samples; None without a pool.
    """

    stage: Role
    seed: int
    steps: int
    state: Checkpoint
    groups: list[dict[str, Any]]
    pairs: Sequence[LayerPair] = ()
    teacher: dict[str, Tensor] | None = None
    pool: Pool | None = None


def stage_start(state: StageState, loss: Distiller, steps: int) -> StageStart:
    """Return what the other ranks need before a stage, from its state and loss in rank 0."""
    saved = state.checkpoint(seconds=0.0, done=[], threads=torch.get_num_threads())
    groups = [{key: value for key, value in group.items() if key != "params"} for group in state.optimizer.param_groups]
    return StageStart(
        stage=state.stage,
        seed=state.seed,
        steps=steps,
        state=replace(saved, tensors=_on_cpu(saved.tensors)),
        groups=groups,
        pairs=loss.pairs,
        teacher=None if loss.teacher is None else _on_cpu(loss.teacher.state_dict()),
        pool=loss.pool,
    )


def _on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return copies on the CPU: `pickle` writes all memory that a tensor shares with others."""
    return {name: value.detach().cpu().clone() for name, value in tensors.items()}


@plain_torch()
def follow(ranks: GroupRanks) -> None:
    """Do what rank 0 commands until it ends the run.

    Raises
    ------
    RunError
        When another process has ended; any other error is reported to rank 0 first.
    """
    run: _Run | None = None
    try:
        while (command := ranks.receive()) != "close":
            match command:
                case "begin run":
                    run = _begin_run(ranks)
                case "begin stage" if run is not None:
                    run.begin_stage()
                case "step" if run is not None:
                    run.step()
                case "compare" if run is not None:
                    run.compare()
                case _:
                    pass
    except Exception as error:
        ranks.report(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
        raise
    finally:
        if run is not None:
            run.close()


def _begin_run(ranks: GroupRanks) -> _Run | None:
    start: RunStart = ranks.receive_object()
    torch.set_num_threads(start.threads)
    keep_freed_memory()
    problem, run = "", None
    try:
        run = _Run(ranks, start)
    except (ValueError, OSError) as error:  # also `DataError`
        problem = f"{error}."
    return run if ranks.agree(problem) else None


class _Run:
    """The run as a rank above 0 knows it."""

    def __init__(self, ranks: GroupRanks, start: RunStart) -> None:
        self._ranks, self._config = ranks, start.config
        self._dataset = load_dataset(start.config.data)
        if fingerprint_text(self._dataset) != start.fingerprint:
            msg = "it reads other data than rank 0"
            raise ValueError(msg)
        self._device = ranks.device(resolve_device(start.config.compute))
        self._stage: _Stage | None = None

    def begin_stage(self) -> None:
        """Build the flows of a stage."""
        start: StageStart = self._ranks.receive_object()
        self.close()  # its memory is free before the next
        self._stage = _Stage(self._config, self._dataset, self._device, start, self._ranks)
        self._ranks.agree("")

    def close(self) -> None:
        """End the stage."""
        if self._stage is not None:
            self._stage.close()
        self._stage = None

    def step(self) -> None:
        """Make a step; where all ranks find that it diverges, rank 0 decides what follows."""
        if self._stage is not None:
            with suppress(DivergedError):
                self._stage.step()

    def compare(self) -> None:
        """Compare the weights with those of rank 0."""
        if self._stage is not None:
            self._ranks.compare(self._stage.flow)


class _Stage:
    """A stage in training."""

    def __init__(
        self, config: ExperimentConfig, dataset: Dataset, device: torch.device, start: StageStart, ranks: GroupRanks
    ) -> None:
        stage, self._steps = start.stage, start.steps
        examples = stage_data(config, dataset, stage)
        self._training = stage_training(config, stage)
        self.flow = _build(config, dataset, stage).to(device).train()
        self._state = StageState.fresh(stage, start.seed, self.flow, self._training, len(examples.train))
        self._state.restore(start.state)
        for own, group in zip(self._state.optimizer.param_groups, start.groups, strict=True):
            own.update(group)
        self._ahead = ExitStack()
        self._dataset = self._ahead.enter_context(reading_ahead(on_device(examples, device), self._state.batches))
        self._loss: Distiller = Likelihood(dataset, ranks)
        if start.teacher is not None:
            teacher = _build(config, dataset, teacher_of(config, stage) or "teacher")
            teacher.load_state_dict(start.teacher)
            teacher = freeze(teacher.to(device))
            self._loss = Distiller(
                config.distillation,
                teacher,
                start.pairs,
                dataset,
                steps=start.steps,
                measure_every=config.monitor.shares_every,
                norms=self._state.norms,
                pool=start.pool,
                known=known_passes(config, stage, start.pairs, teacher, start.pool, examples),
                ranks=ranks,
            )

    def close(self) -> None:
        self._ahead.close()

    def step(self) -> None:
        rate = learning_rate(self._training, self._state.step, self._steps)
        make_step(self._state, self._loss, self._dataset, self._training, rate)


def _build(config: ExperimentConfig, dataset: Dataset, role: Role) -> Flow:
    return build_flow(flow_config(config, role), dataset.event_shape, context_features=dataset.context_features)
