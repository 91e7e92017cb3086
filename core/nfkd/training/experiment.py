"""A whole experiment: every seed, then the verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch

from nfkd.config import ExperimentConfig
from nfkd.data import load_dataset
from nfkd.evaluation.verdict import verdict_of, verdict_without_baseline
from nfkd.files import is_taken
from nfkd.flows.foreign import ForeignFlow
from nfkd.planning.describe import check
from nfkd.planning.devices import device_name, resolve_device, thread_count
from nfkd.planning.plans import seed_stages, stage_costs, stage_steps
from nfkd.planning.teachers import on_scaled_values
from nfkd.protocol.events import (
    ErrorInfo,
    LogLine,
    RunChanged,
    RunEvent,
    RunFinished,
    StageFinished,
    StageSummary,
    Verdict,
)
from nfkd.protocol.roles import USUAL, Role, role_name
from nfkd.runs.errors import RunError
from nfkd.runs.layout import RUN_FILE, seed_directory
from nfkd.runs.log import append_log
from nfkd.runs.reader import stage_ended
from nfkd.runs.state import read_row, write_row
from nfkd.runs.verdict_file import write_verdict
from nfkd.training.checkpoint import Checkpoint
from nfkd.training.control import Control
from nfkd.training.perceptual_file import pin_perceptual
from nfkd.training.progress import RunProgress
from nfkd.training.same_data import fingerprint_text, require_same_data
from nfkd.training.seed_run import RunContext, SeedRun, seed_checkpoint


class Experiment:
    """Runs an experiment in a directory that was made for it.

    Parameters
    ----------
    run
        The run's directory; its state file exists.
    config
        The experiment.
    emit
        Takes every event.
    control
        Pause, stop, and copies of the weights.
    resume
        Whether to go on from the checkpoints.
    teacher
        A flow of another library that was given to teach; the experiment names it.
    """

    def __init__(
        self,
        run: Path,
        config: ExperimentConfig,
        emit: Callable[[RunEvent], None],
        control: Control,
        *,
        resume: bool = False,
        teacher: ForeignFlow | None = None,
    ) -> None:
        self._teacher = teacher
        self._run, self._config, self._emit, self._control, self._resume = run, config, emit, control, resume
        self._row = read_row(run)
        self._done: dict[tuple[int, Role], StageSummary] = {}
        control.on_pause = lambda paused: self.change(state="paused" if paused else "running")

    def change(self, error: ErrorInfo | None = None, **fields: Any) -> None:
        """Change the run's row, on disk and for everyone who looks."""
        self._row = msgspec.structs.replace(self._row, **fields)
        try:
            write_row(self._run, self._row, error)
        finally:
            self._emit(RunChanged(run=str(self._run), row=self._row))

    def log(self, text: str, level: Literal["info", "warning"] = "info") -> None:
        """Say a line."""
        line = LogLine(run=str(self._run), level=level, text=text, time=time.time())
        append_log(self._run, line)
        self._emit(line)

    def execute(self) -> Verdict:
        """Run every seed and return the verdict.

        Raises
        ------
        ConfigError
            When the experiment may not run, with every problem.
        RunError
            When the run was made with other data; nothing of it has been changed then.
        StopRun, DivergedError, RunError, OSError
            As `SeedRun.execute`.
        """
        config = self._config
        doubt = require_same_data(config, self._run) if self._resume else ""
        description = check(config, teacher=self._teacher, run=self._run if self._resume else None)
        words = pin_perceptual(self._run, config.distillation.skd)
        seeds = config.seeds.values()
        checkpoints = {seed: seed_checkpoint(self._run, config, seed) if self._resume else None for seed in seeds}
        device, threads = resolve_device(config.compute), self._threads(checkpoints)
        torch.set_num_threads(threads)
        self.change(state="running", device=str(device), cause="", seeds_done=0)
        self.log(
            f"{'Goes on' if self._resume else 'Begins'} on {device_name(device)}, {threads} threads: {description.data}"
        )
        for warning in description.warnings if not self._resume else ():
            self.log(f"{warning.path}: {warning.message}", "warning")
        if doubt:
            self.log(doubt, "warning")
        if words:
            self.log(words)
        stages: list[tuple[int, Role]] = [(seed, stage) for seed in seeds for stage in seed_stages(config, seed)]
        progress = RunProgress(
            str(self._run),
            stages,
            stage_steps(config),
            stage_costs(config, description),
            self._emit,
            lambda: self._control.held,
        )
        dataset = load_dataset(config.data)
        context = RunContext(
            run=self._run,
            config=config,
            dataset=dataset,
            description=description,
            device=device,
            threads=threads,
            fingerprint=fingerprint_text(dataset),
            control=self._control,
            progress=progress,
            emit=lambda event: self._pass_on(event, progress),
            warn=lambda words: self.log(words, "warning"),
            teacher=None if self._teacher is None else on_scaled_values(self._teacher, dataset),
        )
        for seed in seeds:
            self._seed(SeedRun(context, seed, checkpoints[seed]))
        return self._end()

    def _threads(self, checkpoints: dict[int, Checkpoint | None]) -> int:
        kept = [checkpoint.position.threads for checkpoint in checkpoints.values() if checkpoint]
        return kept[0] if kept else thread_count(self._config.compute)

    def _seed(self, seed_run: SeedRun) -> None:
        self._take(seed_run.done)
        seed_run.execute()
        self.change(**self._figures(), seeds_done=self._row.seeds_done + 1)

    def _take(self, summaries: Sequence[StageSummary]) -> None:
        self._done |= {(summary.seed, summary.stage): summary for summary in summaries}

    def _pass_on(self, event: RunEvent, progress: RunProgress) -> None:
        self._emit(event)
        if isinstance(event, StageFinished):
            summary = event.summary
            self._take([summary])
            figure = f"{summary.test:.4f} {summary.unit} on test"
            self.log(f"Seed {summary.seed}: {role_name(summary.stage)} ended at {figure}")
            self.change(**self._figures(), progress=progress.fraction)

    def _figures(self) -> dict[str, Any]:
        verdict = self._verdict()
        figures: dict[str, Any] = {f"{role}_test": self._mean(role) for role in USUAL}
        return figures | {"unit": self._unit, "verdict": verdict.verdict if verdict.seeds else ""}

    @property
    def _unit(self) -> str:
        return next((summary.unit for summary in self._done.values()), "")

    def _tests(self, role: Role) -> dict[int, float]:
        return {seed: summary.test for (seed, stage), summary in self._done.items() if stage == role}

    def _mean(self, role: Role) -> float | None:
        values = self._tests(role).values()
        return sum(values) / len(values) if values else None

    def _verdict(self) -> Verdict:
        seeds = self._config.seeds
        if not self._config.training.baseline:
            return verdict_without_baseline(seeds.metric)
        return verdict_of(
            self._done.values(),
            seeds.metric,
            one_teacher=not seeds.retrain_teacher,
            assistants=len(self._config.assistants),
        )

    def _require_files(self) -> None:
        """Refuse to finish where the file of a seed was removed or damaged while a later one trained."""
        for seed in self._config.seeds.values():
            path = seed_directory(self._run, self._config, seed) / RUN_FILE
            if not is_taken(path):
                title = "A file of the run is gone"
                cause = f"{path} was removed after its seed had ended. Its curves and pictures are in no other file."
                action = "Put it back and resume the run, or start the experiment again in another directory."
                raise RunError(title, cause, action)
            stage_ended(self._run, self._config, seed, "student")

    def _end(self) -> Verdict:
        self._require_files()
        verdict = self._verdict()
        write_verdict(self._run, verdict)
        self.change(state="finished", progress=1.0, **self._figures())
        self.log(verdict.summary)
        self._emit(RunFinished(run=str(self._run), state="finished", verdict=verdict))
        return verdict
