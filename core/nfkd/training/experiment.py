"""Runs an experiment: prepares what its seeds share, runs every seed, and computes the verdict."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch

from nfkd.config import ExperimentConfig
from nfkd.data import Dataset, load_dataset
from nfkd.data.progress import reporting
from nfkd.distillation.ranks import Ranks
from nfkd.evaluation.finite_samples import not_finite_note
from nfkd.evaluation.outliers import outlier_note
from nfkd.evaluation.reference import Reference
from nfkd.evaluation.verdict import ablations_of, verdict_of, verdict_without_baseline
from nfkd.files import is_taken
from nfkd.flows.foreign import ForeignFlow
from nfkd.planning.describe import check
from nfkd.planning.devices import device_name, resolve_device, thread_count
from nfkd.planning.plans import seed_stages
from nfkd.planning.teachers import on_scaled_values
from nfkd.planning.times import UnitTimes, rough_units, search_time, stage_times
from nfkd.protocol.events import (
    ErrorInfo,
    LogLine,
    RunChanged,
    RunEvent,
    RunFinished,
    StageFinished,
    StageStarted,
    StageSummary,
    Verdict,
)
from nfkd.protocol.requests import Description
from nfkd.protocol.roles import USUAL, Role, role_name, the_role
from nfkd.protocol.run_rows import StartRecord
from nfkd.protocol.times import StageTime
from nfkd.runs.errors import RunError
from nfkd.runs.layout import RUN_FILE, seed_directory
from nfkd.runs.log import append_log
from nfkd.runs.reader import stage_ended
from nfkd.runs.state import read_row, write_row
from nfkd.runs.summary_file import write_summaries
from nfkd.runs.verdict_file import write_verdict
from nfkd.text import format_number
from nfkd.training.baseline_search import search_weight_decay
from nfkd.training.checkpoint import Checkpoint
from nfkd.training.context import RunContext
from nfkd.training.control import Control, StopRun
from nfkd.training.data_check import fingerprint_text, require_same_data
from nfkd.training.follower import RunStart
from nfkd.training.freed_memory import keep_freed_memory
from nfkd.training.perceptual_file import pin_perceptual
from nfkd.training.progress import SEARCH, RunProgress, Stage
from nfkd.training.seed_run import SeedRun, seed_checkpoint


class Experiment:
    """Runs an experiment in its directory.

    Parameters
    ----------
    run
        The run's directory; its state file exists.
    config
        The experiment.
    emit
        Receives every event.
    control
        Requests to pause, stop, and copy the weights.
    resume
        Whether to continue from the checkpoints.
    teacher
        A flow of another library that was passed as the teacher; the experiment names it.
    units
        The measured times of the parts of its stages, for the remaining time; None if they were not measured.
    donors
        Directories of other runs. A teacher that one of them has trained in the same way is taken over, not trained.
    ranks
        The processes that train together, of which this one leads; by default it is alone.
    start
        What started this process, if it was not NFKD on this machine.
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
        units: Mapping[Role, UnitTimes] | None = None,
        donors: Sequence[Path] = (),
        ranks: Ranks | None = None,
        start: StartRecord | None = None,
    ) -> None:
        self._ranks = ranks or Ranks()
        self._start = self._ranks.record_start(start)
        self._teacher, self._units, self._donors = teacher, units, tuple(donors)
        self._run, self._config, self._emit, self._control, self._resume = run, config, emit, control, resume
        self._row = read_row(run)
        self._done: dict[tuple[int, Role], StageSummary] = {}
        self._reference: Reference | None = None
        self._stage: tuple[int, Role] | None = None
        control.on_pause = lambda paused: self.change(state="paused" if paused else "running")

    def change(self, error: ErrorInfo | None = None, **fields: Any) -> None:
        """Change fields of the run's row, on disk and in an event."""
        self._row = msgspec.structs.replace(self._row, **fields)
        try:
            write_row(self._run, self._row, error)
        finally:
            self._emit(RunChanged(run=str(self._run), row=self._row))

    def log(self, text: str, level: Literal["info", "warning"] = "info") -> None:
        """Write a line to the run's log."""
        seed, stage = self._stage or (0, "")
        line = LogLine(run=str(self._run), level=level, text=text, time=time.time(), seed=seed, stage=stage)
        append_log(self._run, line)
        self._emit(line)

    def execute(self) -> Verdict:
        """Run every seed and return the verdict.

        Raises
        ------
        ConfigError
            When the experiment may not run, with every problem.
        RunError
            When the data of a resumed run has changed; the run is then unchanged.
        StopRun, DivergedError, RunError, OSError
            As `SeedRun.execute`.
        """
        with reporting(self._report):
            data_warning = require_same_data(self._config, self._run) if self._resume else ""
            description = check(self._config, teacher=self._teacher, run=self._run if self._resume else None)
        perceptual = pin_perceptual(self._run, self._config.distillation.skd)
        seeds = self._config.seeds.values()
        checkpoints = {seed: seed_checkpoint(self._run, self._config, seed) if self._resume else None for seed in seeds}
        device = self._ranks.device(resolve_device(self._config.compute))
        threads = self._threads(checkpoints)
        torch.set_num_threads(threads)
        keep_freed_memory()
        if device.type == "cuda":
            torch.cuda.set_device(device)  # for what torch puts on the current device, such as pinned memory
        self._ranks.begin_run(
            lambda: RunStart(self._config, fingerprint_text(load_dataset(self._config.data)), threads)
        )
        self.change(state="running", device=str(device), cause="", seeds_done=0, start=self._start)
        started = "Resumed" if self._resume else "Started"
        how = f", {self._start.describe()}" if self._start is not None else ""
        self.log(f"{started} on {device_name(device)}, {threads} threads{how}: {description.data}")
        for warning in self._config.notices if self._resume else description.warnings:
            self.log(f"{warning.path}: {warning.message}", "warning")
        if data_warning:
            self.log(data_warning, "warning")
        self._log_table(load_dataset(self._config.data))
        if perceptual:
            self.log(perceptual)
        context = self._context(description, device, threads)
        if self._config.training.baseline_search:
            context = replace(context, weight_decay=search_weight_decay(context, self.log, resume=self._resume))
            context.progress.finish()
        for seed in seeds:
            seed_run = SeedRun(context, seed, checkpoints[seed])
            self._add_done(seed_run.done)
            seed_run.execute()
            self.change(**self._results(), seeds_done=self._row.seeds_done + 1)
        return self._end()

    def _report(self, message: str) -> None:
        """Log a report of data that is prepared; a stop of the run ends that."""
        self.log(message)
        if self._control.stopping:
            raise StopRun

    def _log_table(self, dataset: Dataset) -> None:
        """Log how a table was read, which of its columns are not used, and whether the data stays on disk."""
        if dataset.storage:
            self.log(f"The examples are {dataset.storage}.")
        if dataset.reading:
            self.log(f"The table was read as: {dataset.reading}")
        if dataset.unused and (self._resume or getattr(self._config.data, "columns", ())):  # else a warning says so
            self.log(f"Columns that are not used: {dataset.describe_unused()}")

    def _context(self, description: Description, device: torch.device, threads: int) -> RunContext:
        config, dataset = self._config, load_dataset(self._config.data)
        self._reference = Reference.of(dataset)
        progress = self._progress(description, dataset)
        return RunContext(
            run=self._run,
            config=config,
            dataset=dataset,
            description=description,
            device=device,
            threads=threads,
            fingerprint=fingerprint_text(dataset),
            control=self._control,
            progress=progress,
            emit=lambda event: self._on_event(event, progress),
            warn=lambda message: self.log(message, "warning"),
            log=self.log,
            reference=self._reference,
            teacher=None if self._teacher is None else on_scaled_values(self._teacher, dataset),
            donors=self._donors,
            ranks=self._ranks,
        )

    def _progress(self, description: Description, dataset: Dataset) -> RunProgress:
        config, measured = self._config, self._units
        units = measured or rough_units(config, description, dataset)
        stages: list[tuple[int, Stage]] = [
            (seed, stage) for seed in config.seeds.values() for stage in seed_stages(config, seed)
        ]
        times: dict[Stage, StageTime] = {time.stage: time for time in stage_times(config, units)}
        if config.training.baseline_search:
            stages.insert(0, (config.seeds.first, SEARCH))
            times[SEARCH] = search_time(config, units["baseline"])
        return RunProgress(
            str(self._run),
            stages,
            times,
            self._emit,
            measured=measured is not None,
            paused_seconds=lambda: self._control.paused_seconds,
        )

    def _threads(self, checkpoints: dict[int, Checkpoint | None]) -> int:
        saved = [checkpoint.position.threads for checkpoint in checkpoints.values() if checkpoint]
        return saved[0] if saved else thread_count(self._config.compute)

    def _add_done(self, summaries: Sequence[StageSummary]) -> None:
        self._done |= {(summary.seed, summary.stage): summary for summary in summaries}

    def _on_event(self, event: RunEvent, progress: RunProgress) -> None:
        self._emit(event)
        if isinstance(event, StageStarted):
            self._stage = event.seed, event.stage
        if isinstance(event, StageFinished):
            summary = event.summary
            self._add_done([summary])
            result = f"{format_number(summary.test)} {summary.unit} on test"
            self.log(f"Seed {summary.seed}: {role_name(summary.stage)} ended at {result}")
            for note in self._notes(summary):
                self.log(f"Warning: {note}")
            self._stage = None
            write_summaries(self._run, self._done.values())
            self.change(**self._results(), progress=progress.fraction)

    def _notes(self, summary: StageSummary) -> Iterator[str]:
        """Yield sentences about figures that say less than they seem to."""
        if self._reference and summary.not_finite > 0:
            whose = f"{the_role(summary.stage)} in seed {summary.seed}"
            yield f"{not_finite_note(int(summary.not_finite), len(self._reference.test), whose)}."
        if note := outlier_note([summary], self._reference.dataset if self._reference else None):
            yield note

    def _results(self) -> dict[str, Any]:
        """Return the row's fields for the results so far."""
        verdict = self._verdict()
        unit = next((summary.unit for summary in self._done.values()), "")
        results: dict[str, Any] = {f"{role}_test": self._mean_test(role) for role in USUAL}
        results |= {"gap_closed": verdict.gap_closed if math.isfinite(verdict.gap_closed) else None}
        results |= {"seconds": sum(summary.seconds for summary in self._done.values())}
        return results | {"unit": unit, "verdict": verdict.verdict if verdict.seeds else ""}

    def _mean_test(self, role: Role) -> float | None:
        values = [summary.test for (_, stage), summary in self._done.items() if stage == role]
        return sum(values) / len(values) if values else None

    def _verdict(self) -> Verdict:
        seeds = self._config.seeds
        ablations = ablations_of(self._done.values(), seeds.metric)
        if not self._config.training.baseline:
            return msgspec.structs.replace(verdict_without_baseline(seeds.metric), ablations=ablations)
        verdict = verdict_of(
            self._done.values(),
            seeds.metric,
            one_teacher=not seeds.retrain_teacher,
            assistants=len(self._config.assistants),
            pool_share=self._config.distillation.pool.share,
            reference=self._reference,
        )
        return msgspec.structs.replace(verdict, ablations=ablations)

    def _require_files(self) -> None:
        """Refuse to finish if the file of a seed was removed or damaged while a later seed trained."""
        for seed in self._config.seeds.values():
            path = seed_directory(self._run, self._config, seed) / RUN_FILE
            if not is_taken(path):
                title = "A file of the run is missing"
                cause = f"{path} was removed after its seed had ended. Its curves and pictures are in no other file."
                action = "Put it back and resume the run, or start the experiment again in another directory."
                raise RunError(title, cause, action)
            stage_ended(self._run, self._config, seed, "student")

    def _end(self) -> Verdict:
        self._require_files()
        verdict = self._verdict()
        write_summaries(self._run, self._done.values())
        write_verdict(self._run, verdict)
        self.change(state="finished", progress=1.0, **self._results())
        for line in verdict.sentences():
            self.log(line)
        self._emit(RunFinished(run=str(self._run), state="finished", verdict=verdict))
        return verdict
