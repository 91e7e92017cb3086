"""Runs the stages of one seed in order: it builds, trains, evaluates and saves the flow of each."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import torch

from nfkd.config import ExperimentConfig
from nfkd.data import Batch
from nfkd.distillation.distiller import Distiller, Likelihood, freeze
from nfkd.distillation.inheritance import EXAMPLES
from nfkd.distillation.pool import PoolError, draw_pool
from nfkd.evaluation.features import LocalFeatures
from nfkd.evaluation.iterations import MAX_SAMPLES, count_iterations, describe_iterations
from nfkd.evaluation.reference import Reference
from nfkd.evaluation.summary import Trained, summarise
from nfkd.flows.flow import Flow
from nfkd.flows.foreign import ForeignFlow
from nfkd.planning.plans import (
    described,
    flow_config,
    seed_stages,
    stage_plans,
    stage_steps,
    teacher_of,
)
from nfkd.planning.teachers import gaussian_warning, teacher_file
from nfkd.protocol.events import RunEvent, SeedStarted, StageFinished, StageStarted, StageSummary
from nfkd.protocol.roles import STUDENTS, Role, learner_of, role_name
from nfkd.runs.errors import RunError
from nfkd.runs.layout import seed_directory
from nfkd.runs.pictures import in_units_of_run
from nfkd.runs.schema import library_versions
from nfkd.runs.weights import flow_meta, load_weights, save_weights
from nfkd.runs.writer import RunWriter
from nfkd.training.checkpoint import Checkpoint, Position, load_checkpoint, save_checkpoint
from nfkd.training.context import RunContext
from nfkd.training.control import StopRun
from nfkd.training.curves import CurveLog
from nfkd.training.diagnosis import DivergedError
from nfkd.training.endings import describe_ending
from nfkd.training.generators import named_generator
from nfkd.training.loop import Hooks, Trainer
from nfkd.training.monitor import Monitor
from nfkd.training.pool_file import PoolFile, remove_pool
from nfkd.training.shared_teacher import SharedTeacher, find_teacher
from nfkd.training.stage_pool import known_passes, pool_failure, stage_pool
from nfkd.training.state import StageState, copy_weights
from nfkd.training.step import device_of


class SeedRun:
    """Runs the stages of one seed.

    Parameters
    ----------
    context
        What all seeds share.
    seed
        The seed.
    checkpoint
        The checkpoint to resume from; None for a new run.
    """

    def __init__(self, context: RunContext, seed: int, checkpoint: Checkpoint | None = None) -> None:
        self._context, self._seed = context, seed
        self._directory = seed_directory(context.run, context.config, seed)
        self._checkpoint = checkpoint
        self._pictured = in_units_of_run(context.dataset, context.run, seed) if checkpoint else context.dataset
        self.done: list[StageSummary] = list(checkpoint.position.done) if checkpoint else []
        self._sources: dict[Role, Flow] = {}
        self._reference: Reference | None = None
        self._writer: RunWriter | None = None

    def execute(self) -> None:
        """Run every stage that has not ended yet.

        Raises
        ------
        StopRun, DivergedError, RunError, OSError
            When a stage raises them; the file is closed first.
        """
        context = self._context
        features = context.reference.features
        plans = stage_plans(context.config, context.dataset, context.description, self._seed)
        started = SeedStarted(
            run=str(context.run),
            seed=self._seed,
            stages=plans,
            event_shape=list(context.dataset.event_shape),
            columns=self._pictured.picture_columns,
            resumed=self._checkpoint is not None,
            compared=len(context.reference.test),
            floors=context.reference.floors,
            features=features.info if isinstance(features, LocalFeatures) else None,
            versions=library_versions(),
            latents=features is None and (context.teacher is None or "latents" not in context.teacher.unsupported),
        )
        self._writer = self._open_writer(started)
        try:
            context.emit(started)
            ended = {summary.stage for summary in self.done}
            for plan in plans:
                if plan.stage not in ended:
                    self._run_stage(plan.stage)
                    remove_pool(self._directory)
            remove_pool(self._directory)  # of a run that was killed before the line above
            self._writer.flush()  # unlike `close`, it reports a missing file
        finally:
            self._writer.close()

    def _open_writer(self, started: SeedStarted) -> RunWriter:
        context = self._context
        if self._checkpoint is None:
            return RunWriter(
                self._directory,
                context.config,
                started,
                device=str(context.device),
                threads=context.threads,
                units=context.dataset.units.to_json(),
                data=context.fingerprint,
            )
        position = self._checkpoint.position
        last_steps: dict[Role, int | None] = {summary.stage: None for summary in self.done}
        if position.stage is not None:
            last_steps[position.stage] = position.step
        return RunWriter.reopen(self._directory, last_steps)

    def _emit(self, event: RunEvent) -> None:
        if self._writer is not None:
            self._writer.handle(event)
        self._context.emit(event)

    def _run_stage(self, stage: Role) -> None:
        """Train, evaluate and save the flow of a stage."""
        context = self._context
        if context.control.stopping:
            raise StopRun
        context.control.begin_stage()
        if stage == "teacher" and context.config.training.teacher_given:
            self._use_given_teacher()
            return
        if stage == "teacher" and self._checkpoint is None:
            shared = find_teacher(context.donors, context.config, self._seed, context.fingerprint)
            if shared is not None:
                self._take_teacher(shared)
                return
        checkpoint = self._checkpoint
        if checkpoint is not None and (checkpoint.position.stage != stage or not checkpoint.tensors):
            checkpoint = None
        state = self._make_state(stage, checkpoint)
        elapsed = checkpoint.position.seconds if checkpoint else 0.0
        self._emit(StageStarted(run=str(context.run), seed=self._seed, stage=stage, step=state.step))
        context.progress.begin(self._seed, stage, state.step)
        curves = CurveLog(
            str(context.run),
            self._seed,
            stage,
            self._emit,
            elapsed=elapsed,
            paused_seconds=lambda: context.control.paused_seconds,
        )
        try:
            ended = self._make_trainer(stage, state, curves).train()
        except (StopRun, DivergedError):
            self._save(stage, state.flow, state.best_step, state.best_weights or copy_weights(state.eval_flow))
            raise
        finally:
            context.control.between_stages()
        trained = Trained(state.flow, state.step, state.best_step, curves.elapsed, ended)
        context.progress.trained()
        self._log_ending(stage, trained)
        self._finish_stage(stage, trained)

    def _log_ending(self, stage: Role, trained: Trained) -> None:
        config = self._context.config
        line = describe_ending(trained, stage, stage_steps(config)[stage], config.training.early_stop)
        if line:
            self._context.log(f"Seed {self._seed}: {line}")

    def _use_given_teacher(self) -> None:
        """Run the stage of a teacher that is not trained: evaluate it and publish its final pictures."""
        started = time.perf_counter()
        self._emit(StageStarted(run=str(self._context.run), seed=self._seed, stage="teacher", step=0))
        self._context.progress.begin(self._seed, "teacher")
        self._context.progress.trained()
        flow = self._context.teacher or self._context.build("teacher")
        if self._context.teacher is None:
            load_weights(teacher_file(self._context.config, None), flow)
        flow = freeze(flow.float().to(self._context.device))
        self._finish_stage("teacher", Trained(flow, 0, 0, time.perf_counter() - started))
        if "log_prob" not in flow.unsupported:
            warning = gaussian_warning(self.done[-1].validation, self._context.dataset)
            if warning:
                self._context.warn(f"Seed {self._seed}, teacher: {warning}")

    def _take_teacher(self, shared: SharedTeacher) -> None:
        """Take over the teacher of another run: its weights, figures, curves and pictures."""
        context = self._context
        run, seed = str(context.run), self._seed
        self._emit(StageStarted(run=run, seed=seed, stage="teacher", step=0))
        context.progress.begin(seed, "teacher")
        context.progress.trained()
        for event in shared.events(context.run):
            self._emit(event)
        flow = context.build("teacher")
        load_weights(shared.weights, flow)
        self._save("teacher", flow, shared.summary.best_step, flow.state_dict())
        context.log(f"Seed {seed}: the teacher is that of {shared.run.name}, which was trained in the same way")
        self._end_stage(shared.summary)

    def _make_state(self, stage: Role, checkpoint: Checkpoint | None) -> StageState:
        context = self._context
        generator = named_generator(self._seed, learner_of(stage), "initialisation")
        flow = context.build(stage, generator)
        if checkpoint is None:
            self._inherit(stage, flow)
        flow = flow.to(context.device).train()
        state = StageState.fresh(stage, self._seed, flow, context.training(stage), len(context.data(stage).train))
        if checkpoint is not None:
            state.restore(checkpoint)
        return state

    def _inherit(self, stage: Role, flow: Flow) -> None:
        inheritance = self._context.inheritance(stage)
        if inheritance.mode == "none":
            return
        try:
            teacher = self._load_teacher(stage)
            batch = self._inheritance_batch(stage, teacher) if inheritance.mode == "blocks" else None
            inheritance.apply(flow, teacher, batch)
        except PoolError as error:
            raise pool_failure(stage, error) from error
        except ValueError as error:
            title = f"The teacher's {inheritance.mode} cannot be inherited"
            raise RunError(title, f"{error}.", "Set distillation.inherit to none.") from error

    def _inheritance_batch(self, stage: Role, teacher: Flow) -> Batch:
        """Return some examples that the stage may see, by a generator of their own: the order of the data stays.

        With a pool of share 1 they are samples of the teacher.
        """
        dataset, generator = self._context.data(stage), named_generator(self._seed, learner_of(stage), "inheritance")
        if self._context.config.distillation.pool.share == 1:
            return Batch(draw_pool(teacher, dataset.train, EXAMPLES, generator)[0].x)
        index = torch.randperm(len(dataset.train), generator=generator)[:EXAMPLES].sort().values
        return dataset.training_batch(index.numpy(), generator, generator)

    def _make_trainer(self, stage: Role, state: StageState, curves: CurveLog) -> Trainer:
        context = self._context
        learns = teacher_of(context.config, stage) is not None
        teacher = self._load_teacher(stage) if learns else None
        monitor = self._monitor(stage)
        hooks = Hooks(
            publish=lambda: monitor.publish(stage, state.step, state.eval_flow, teacher),
            checkpoint=lambda: self._save_checkpoint(state, curves.elapsed),
            progress=lambda: context.progress.step(self._seed, stage, state.step),
            warn=lambda message: context.warn(f"Seed {self._seed}, {role_name(stage)}: {message}"),
        )
        try:
            loss = self._make_loss(stage, teacher, state)
        except StopRun:
            hooks.checkpoint()
            raise
        return Trainer(
            context.config,
            context.data(stage),
            state,
            loss,
            steps=stage_steps(context.config)[stage],
            limit=self._step_limit(stage),
            patience=context.config.training.early_stop if stage == "teacher" else 0,
            control=context.control,
            curves=curves,
            hooks=hooks,
        )

    def _monitor(self, stage: Role) -> Monitor:
        context, pairs = self._context, self._context.pairs(stage)
        return Monitor(str(context.run), self._seed, context.config.monitor, self._pictured, pairs, self._emit)

    def _step_limit(self, stage: Role) -> int:
        """Return the steps of a stage; baseline and ablation make as many as the student, which may be ended early."""
        student = next((summary.steps for summary in self.done if summary.stage == "student"), None)
        return student if stage in STUDENTS and student is not None else stage_steps(self._context.config)[stage]

    def _make_loss(self, stage: Role, teacher: Flow | None, state: StageState) -> Distiller:
        context = self._context
        if teacher is None:
            return Likelihood(context.dataset, context.ranks)
        file, pairs = PoolFile(self._directory, stage, self._seed), context.pairs(stage)
        between = partial(context.between, state.live_weights)
        pool = stage_pool(context, file, teacher, resumed=state.step > 0, between=between)
        return Distiller(
            context.config.distillation,
            teacher,
            pairs,
            context.dataset,
            steps=stage_steps(context.config)[stage],
            measure_every=context.config.monitor.shares_every,
            norms=state.norms,
            pool=pool,
            known=known_passes(context.config, stage, pairs, teacher, pool, context.data(stage), between=between),
            ranks=context.ranks,
        )

    def _load_teacher(self, stage: Role) -> Flow:
        """Return the frozen flow that a stage learns from: the teacher or the last assistant."""
        return self._load(self._context.source_of(stage))

    def _load(self, role: Role) -> Flow:
        """Return the frozen teacher or an assistant."""
        if role not in self._sources:
            context, seeds = self._context, self._context.config.seeds
            flow = context.teacher if role == "teacher" else None
            if flow is None:
                flow = context.build(role)
                seed = self._seed if seeds.retrain_teacher else seeds.first
                load_weights(seed_directory(context.run, context.config, seed) / f"{role}.safetensors", flow)
            self._sources[role] = freeze(flow.float().to(context.device))
        return self._sources[role]

    def _compared_with(self, stage: Role, flow: Flow) -> Reference:
        """Return the examples with which the samples of a stage's trained flow are compared."""
        if stage == "teacher" and stage not in self._sources:
            self._sources[stage] = freeze(flow)
        if self._reference is None:
            known = self._context.reference
            self._reference = known if known.features is not None else known.with_teacher(self._load("teacher"))
        return self._reference

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
            self._writer.flush()  # a resumed run needs all points up to its checkpoint
        threads, data = self._context.threads, self._context.fingerprint
        save_checkpoint(self._directory, state.checkpoint(seconds=seconds, done=self.done, threads=threads, data=data))

    def _finish_stage(self, stage: Role, trained: Trained) -> None:
        summary, flow, progress = self._summarise(stage, trained), trained.flow, self._context.progress
        progress.wait()
        self._monitor(stage).publish_final(stage, trained.best_step, flow)
        weights = flow.source_state() if isinstance(flow, ForeignFlow) else flow.state_dict()
        self._save(stage, flow, trained.best_step, weights)
        self._log_iterations(stage, flow)
        self._end_stage(summary)

    def _log_iterations(self, stage: Role, flow: Flow) -> None:
        """Log how many Jacobi iterations the blocks of an autoregressive flow need."""
        if not flow.iterated or flow.unsupported:
            return
        examples = self._compared_with(stage, flow).test.take(slice(MAX_SAMPLES)).to(device_of(flow))
        blocks = count_iterations(flow, examples.x, examples.context)
        self._context.log(f"Seed {self._seed}: {role_name(stage)}: {describe_iterations(blocks)}")

    def _end_stage(self, summary: StageSummary) -> None:
        """Record the figures of a stage, and save a checkpoint before the next."""
        self.done.append(summary)
        self._context.progress.finish()
        self._emit(StageFinished(run=str(self._context.run), seed=self._seed, stage=summary.stage, summary=summary))
        if self._writer is not None:
            self._writer.flush()
        context, ended = self._context, {summary.stage for summary in self.done}
        stages = seed_stages(context.config, self._seed)
        following: Role | None = next((role for role in stages if role not in ended), None)
        position = Position(stage=following, done=self.done, threads=context.threads, data=context.fingerprint)
        save_checkpoint(self._directory, Checkpoint(position))

    def _summarise(self, stage: Role, trained: Trained) -> StageSummary:
        size = described(self._context.description, stage)
        return summarise(
            trained,
            self._compared_with(stage, trained.flow),
            self._context.data(stage).train,
            stage=stage,
            seed=self._seed,
            multiply_adds=size.multiply_adds if size else 0,
            generator=named_generator(self._seed, "all", "quality"),  # the same noise for every stage
            teacher=None if stage == "teacher" else self._load_teacher(stage),
        )


def seed_checkpoint(run: Path, config: ExperimentConfig, seed: int) -> Checkpoint | None:
    """Return a seed's newest checkpoint, or None if it has none."""
    return load_checkpoint(seed_directory(run, config, seed))
