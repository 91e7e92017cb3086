"""One seed of an experiment: its stages in order, each with its curves, pictures, checkpoints and figures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nfkd.config import ExperimentConfig
from nfkd.data import Dataset, DataSplit
from nfkd.distillation.distiller import Distiller, Likelihood, freeze
from nfkd.distillation.inheritance import inherit
from nfkd.evaluation.cost import SPEED_COUNT, samples_per_second
from nfkd.evaluation.likelihood import bootstrap_half_width, example_nll, noisy
from nfkd.evaluation.quality import C2ST_MOST, c2st
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from nfkd.flows.foreign import ForeignFlow
from nfkd.planning.plans import (
    described,
    flow_config,
    seed_stages,
    stage_pairs,
    stage_plans,
    stage_steps,
    teacher_of,
)
from nfkd.planning.teachers import teacher_file, worse_than_gaussian
from nfkd.protocol.events import RunEvent, SeedStarted, StageFinished, StageStarted, StageSummary
from nfkd.protocol.records import LayerPair
from nfkd.protocol.requests import Description
from nfkd.protocol.roles import Role, role_name
from nfkd.runs.errors import RunError
from nfkd.runs.layout import seed_directory
from nfkd.runs.weights import flow_meta, load_weights, save_weights
from nfkd.runs.writer import RunWriter
from nfkd.training.checkpoint import Checkpoint, Position, load_checkpoint, save_checkpoint
from nfkd.training.control import Control, StopRun
from nfkd.training.curves import CurveLog
from nfkd.training.diagnosis import DivergedError
from nfkd.training.generators import named_generator
from nfkd.training.loop import Hooks, Trainer
from nfkd.training.monitor import Monitor
from nfkd.training.progress import RunProgress
from nfkd.training.state import StageState, copy_weights, random_name


@dataclass(frozen=True)
class RunContext:
    """What all seeds of a run share.

    Attributes
    ----------
    run
        The run's directory.
    description
        Sizes and matched layers of the checked experiment.
    threads
        Threads of the processor, kept in the checkpoints.
    fingerprint
        Of the data, as JSON; kept in the files of the seeds and in the checkpoints.
    emit
        Takes every event that is not for the seed's file alone.
    warn
        Says a line of the run's log.
    teacher
        A flow of another library that teaches; None where NFKD's own does.
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
    teacher: ForeignFlow | None = None

    def build(self, stage: Role, generator: torch.Generator | None = None) -> Flow:
        """Return a stage's flow with its first weights."""
        shape, features = self.dataset.event_shape, self.dataset.context_features
        return build_flow(flow_config(self.config, stage), shape, context_features=features, generator=generator)

    def pairs(self, stage: Role) -> list[LayerPair]:
        """Return the matched layers of a flow and the one it learns from; a baseline's would be its student's."""
        return stage_pairs(self.description).get("student" if stage == "baseline" else stage, [])

    def teacher_of(self, stage: Role) -> Role:
        """Return the flow that a flow learns from, or would if it learned from any."""
        return teacher_of(self.config, "student" if stage == "baseline" else stage) or "teacher"


@dataclass(frozen=True)
class _Trained:
    """A flow at the end of its stage."""

    flow: Flow
    step: int
    best_step: int
    seconds: float


class SeedRun:
    """Runs the stages of one seed.

    Parameters
    ----------
    context
        What all seeds share.
    seed
        The seed.
    checkpoint
        Where to go on; None begins afresh.
    """

    def __init__(self, context: RunContext, seed: int, checkpoint: Checkpoint | None = None) -> None:
        self._context, self._seed = context, seed
        self._directory = seed_directory(context.run, context.config, seed)
        self._checkpoint = checkpoint
        self.done: list[StageSummary] = list(checkpoint.position.done) if checkpoint else []
        self._teacher: tuple[Role, Flow] | None = None
        self._writer: RunWriter | None = None

    def execute(self) -> None:
        """Run every stage that has not ended yet.

        Raises
        ------
        StopRun, DivergedError, RunError, OSError
            As the stages do; the file is closed in order first.
        """
        context = self._context
        plans = stage_plans(context.config, context.dataset, context.description, self._seed)
        started = SeedStarted(
            run=str(context.run),
            seed=self._seed,
            stages=plans,
            event_shape=list(context.dataset.event_shape),
            columns=context.dataset.columns_seen,
            resumed=self._checkpoint is not None,
        )
        self._writer = self._open_writer(started)
        try:
            context.emit(started)
            ended = {summary.stage for summary in self.done}
            for plan in plans:
                if plan.stage not in ended:
                    self._stage(plan.stage)
            self._writer.flush()  # `close` does not report a file that is gone
        finally:
            self._writer.close()

    def _open_writer(self, started: SeedStarted) -> RunWriter:
        context = self._context
        text = context.config.to_toml()
        if self._checkpoint is None:
            return RunWriter(
                self._directory,
                text,
                self._seed,
                started,
                device=str(context.device),
                threads=context.threads,
                units=context.dataset.units.to_json(),
                data=context.fingerprint,
            )
        position = self._checkpoint.position
        at: dict[Role, int | None] = {summary.stage: None for summary in self.done}
        if position.stage is not None:
            at[position.stage] = position.step
        return RunWriter.reopen(self._directory, at)

    def _emit(self, event: RunEvent) -> None:
        if self._writer is not None:
            self._writer.handle(event)
        self._context.emit(event)

    def _stage(self, stage: Role) -> None:
        context = self._context
        if context.control.stopping:
            raise StopRun
        context.control.begin_stage()
        if stage == "teacher" and context.config.training.teacher_given:
            self._take_teacher()
            return
        checkpoint = self._checkpoint
        if checkpoint is not None and (checkpoint.position.stage != stage or not checkpoint.tensors):
            checkpoint = None
        state = self._state(stage, checkpoint)
        elapsed = checkpoint.position.seconds if checkpoint else 0.0
        self._emit(StageStarted(run=str(context.run), seed=self._seed, stage=stage, step=state.step))
        curves = CurveLog(
            str(context.run), self._seed, stage, self._emit, elapsed=elapsed, held=lambda: context.control.held
        )
        try:
            self._trainer(stage, state, curves).train()
        except (StopRun, DivergedError):
            self._save(stage, state.flow, state.best_step, state.best_weights or copy_weights(state.eval_flow))
            raise
        finally:
            context.control.between_stages()
        self._finish(stage, _Trained(state.flow, state.step, state.best_step, curves.elapsed))

    def _take_teacher(self) -> None:
        """Perform the stage of a teacher that was given: it is evaluated and its final pictures are drawn."""
        began = time.perf_counter()
        self._emit(StageStarted(run=str(self._context.run), seed=self._seed, stage="teacher", step=0))
        flow = self._context.teacher or self._context.build("teacher")
        if self._context.teacher is None:
            load_weights(teacher_file(self._context.config, None), flow)
        flow = freeze(flow.float().to(self._context.device))
        self._finish("teacher", _Trained(flow, 0, 0, time.perf_counter() - began))
        if "log_prob" not in flow.unsupported:
            words = worse_than_gaussian(self.done[-1].validation, self._context.dataset)
            if words:
                self._context.warn(f"Seed {self._seed}, teacher: {words}")

    def _state(self, stage: Role, checkpoint: Checkpoint | None) -> StageState:
        context = self._context
        generator = named_generator(self._seed, random_name(stage), "initialisation")
        flow = context.build(stage, generator)
        if stage != "teacher" and checkpoint is None and context.config.distillation.matching.inherit_permutation:
            self._inherit(stage, flow)  # the baseline too: it differs from the student in nothing but the loss
        flow = flow.to(context.device).train()
        state = StageState.fresh(stage, self._seed, flow, context.config.training, len(context.dataset.train))
        if checkpoint is not None:
            state.restore(checkpoint)
        return state

    def _inherit(self, stage: Role, flow: Flow) -> None:
        try:
            inherit(flow, self._load_teacher(stage), self._context.pairs(stage))
        except ValueError as error:
            title, action = "The teacher's permutation cannot be inherited", "Switch inherit permutation off."
            raise RunError(title, f"{error}.", action) from error

    def _trainer(self, stage: Role, state: StageState, curves: CurveLog) -> Trainer:
        context = self._context
        learns = teacher_of(context.config, stage) is not None
        teacher = self._load_teacher(stage) if learns else None
        monitor = self._monitor(stage)
        hooks = Hooks(
            draw=lambda: monitor.draw(stage, state.step, state.eval_flow, teacher),
            checkpoint=lambda: self._save_checkpoint(state, curves.elapsed),
            progress=lambda: context.progress.step(self._seed, stage, state.step),
            warn=lambda words: context.warn(f"Seed {self._seed}, {role_name(stage)}: {words}"),
        )
        return Trainer(
            context.config,
            context.dataset,
            state,
            self._loss(stage, teacher, state),
            steps=stage_steps(context.config)[stage],
            limit=self._limit(stage),
            patience=context.config.training.early_stop if stage == "teacher" else 0,
            control=context.control,
            curves=curves,
            hooks=hooks,
        )

    def _monitor(self, stage: Role) -> Monitor:
        context, pairs = self._context, self._context.pairs(stage)
        return Monitor(str(context.run), self._seed, context.config.monitor, context.dataset, pairs, self._emit)

    def _limit(self, stage: Role) -> int:
        """Return the steps of a stage: a baseline makes as many as its student did, also where that was ended early."""
        student = next((summary.steps for summary in self.done if summary.stage == "student"), None)
        return student if stage == "baseline" and student is not None else stage_steps(self._context.config)[stage]

    def _loss(self, stage: Role, teacher: Flow | None, state: StageState) -> Distiller:
        context = self._context
        if teacher is None:
            return Likelihood(context.dataset)
        return Distiller(
            context.config.distillation,
            teacher,
            context.pairs(stage),
            context.dataset,
            steps=stage_steps(context.config)[stage],
            measure_every=context.config.monitor.shares_every,
            norms=state.norms,
        )

    def _load_teacher(self, stage: Role) -> Flow:
        """Return the flow that a stage's learns from: the teacher, or an assistant that was trained before."""
        role, context = self._context.teacher_of(stage), self._context
        if self._teacher is None or self._teacher[0] != role:
            given = context.teacher if role == "teacher" else None
            flow = context.build(role) if given is None else given
            if given is None:
                seeds = context.config.seeds
                own = seed_directory(context.run, context.config, self._seed if seeds.retrain_teacher else seeds.first)
                load_weights(own / f"{role}.safetensors", flow)
            self._teacher = role, freeze(flow.float().to(context.device))
        return self._teacher[1]

    def _save(self, stage: Role, flow: Flow, step: int, weights: dict[str, torch.Tensor]) -> None:
        config = self._context.config
        meta = (
            {"foreign": flow.origin} if isinstance(flow, ForeignFlow) else flow_meta(flow_config(config, stage), flow)
        )
        units = self._context.dataset.units.to_json()
        meta |= {"stage": stage, "seed": str(self._seed), "step": str(step), "units": units}
        save_weights(self._directory / f"{stage}.safetensors", weights, config.to_toml(), meta)

    def _save_checkpoint(self, state: StageState, seconds: float) -> None:
        if self._writer is not None:
            self._writer.flush()  # the file is never behind its checkpoint
        threads, data = self._context.threads, self._context.fingerprint
        save_checkpoint(self._directory, state.checkpoint(seconds=seconds, done=self.done, threads=threads, data=data))

    def _finish(self, stage: Role, trained: _Trained) -> None:
        summary, flow = self._summarise(stage, trained), trained.flow
        self._monitor(stage).draw_final(stage, trained.best_step, flow)
        weights = flow.source_state() if isinstance(flow, ForeignFlow) else flow.state_dict()
        self._save(stage, flow, trained.best_step, weights)
        self.done.append(summary)
        self._emit(StageFinished(run=str(self._context.run), seed=self._seed, stage=stage, summary=summary))
        if self._writer is not None:
            self._writer.flush()
        ended = {summary.stage for summary in self.done}
        rest: list[Role] = [role for role in seed_stages(self._context.config, self._seed) if role not in ended]
        stage_next, context = rest[0] if rest else None, self._context
        position = Position(stage=stage_next, done=self.done, threads=context.threads, data=context.fingerprint)
        save_checkpoint(self._directory, Checkpoint(position))

    def _summarise(self, stage: Role, trained: _Trained) -> StageSummary:
        context, flow = self._context, trained.flow.eval()
        dataset, size = context.dataset, described(context.description, stage)
        test, validation = (_nll(flow, dataset, part) for part in (dataset.test, dataset.validation))
        return StageSummary(
            stage=stage,
            seed=self._seed,
            parameters=sum(parameter.numel() for parameter in flow.parameters()),
            multiply_adds=size.multiply_adds if size else 0,
            steps=trained.step,
            best_step=trained.best_step,
            validation=float(validation.mean()),
            test=float(test.mean()),
            test_error=bootstrap_half_width(test),
            unit=dataset.unit,
            samples_per_second=self._throughput(flow),
            seconds=trained.seconds,
            c2st=self._c2st(flow),
        )

    def _c2st(self, flow: Flow) -> float:
        if "synthesis" in flow.unsupported:
            return math.nan
        dataset = self._context.dataset
        generator = named_generator(self._seed, "all", "quality")  # the same noise for every stage
        real = noisy(dataset, dataset.test.take(slice(C2ST_MOST)))
        context = _on(flow, real.contexts(len(real)))
        generated = flow.sample(len(real), generator=generator, context=context)
        return c2st(real.x.numpy(), generated.cpu().numpy())

    def _throughput(self, flow: Flow) -> float:
        if "synthesis" in flow.unsupported:
            return math.nan
        dataset = self._context.dataset
        few = noisy(dataset, dataset.validation.take(slice(1)))
        return samples_per_second(flow, context=_on(flow, few.contexts(SPEED_COUNT)))


def _nll(flow: Flow, dataset: Dataset, part: DataSplit) -> np.ndarray:
    """Return each example's figure; one that is no number for a teacher without a density."""
    return np.full(1, math.nan) if "log_prob" in flow.unsupported else example_nll(flow, dataset, part)


def _on(flow: Flow, context: torch.Tensor | None) -> torch.Tensor | None:
    return None if context is None else context.to(next(flow.parameters()).device)


def seed_checkpoint(run: Path, config: ExperimentConfig, seed: int) -> Checkpoint | None:
    """Return a seed's newest checkpoint, or None where it has none."""
    return load_checkpoint(seed_directory(run, config, seed))
