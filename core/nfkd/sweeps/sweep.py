"""A sweep in its folder: which run comes next, and what came out (ask and tell). Executes nothing itself."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from nfkd.config import ConfigError, ExperimentConfig
from nfkd.config.sweep import SweepConfig
from nfkd.files import is_folder, is_taken
from nfkd.flows.architectures import flow_summary
from nfkd.planning.plans import teacher_label
from nfkd.protocol.events import StageSummary
from nfkd.protocol.queue import RayCluster
from nfkd.protocol.run_rows import RunState
from nfkd.runs.errors import RunError, describe_error
from nfkd.runs.layout import create_run_at, is_run, read_config
from nfkd.runs.reader import open_run, read_figures
from nfkd.runs.state import ACTIVE, read_row
from nfkd.sweeps.folder import open_folder, save_folder, save_state
from nfkd.sweeps.naming import run_names
from nfkd.sweeps.records import FAILED, SweptRun
from nfkd.sweeps.search import Search
from nfkd.sweeps.shard import Shard
from nfkd.sweeps.trained import by_teacher, cause_of, has_teacher, teacher_identity

_HOUR = 3600.0


@dataclass(frozen=True)
class Start:
    """A run to execute now.

    Attributes
    ----------
    run
        Its entry in the sweep.
    path, config
        Its directory, which exists, and its experiment.
    resume
        Whether to continue from its checkpoints.
    donors
        Directories of runs with the same teacher, which may be trained.
    """

    run: SweptRun
    path: Path
    config: ExperimentConfig
    resume: bool
    donors: tuple[Path, ...]


class Sweep:
    """The runs of a sweep: `ask` for the next, execute it in any way, and `tell` how it ended.

    Every change is written to the folder, so that a sweep can be continued after a kill. Finished runs are kept, those
    that were interrupted continue from their checkpoints. Failed runs are moved to the folder ``failed``. One thread
    uses the object.

    Parameters
    ----------
    config
        The sweep.
    directory
        Its folder: a new one, or that of the same sweep, which may have fewer runs. Written from `begin` on.
    threads
        CPU threads of runs that leave them automatic; 0 leaves them automatic.
    parallel
        Whether several runs will be active at the same time.
    retry
        Whether to run failed runs again.
    cluster
        What executes the runs, for the record; None for this machine.
    shard
        The part of the runs to execute; None for all. Shards have the same folder, and may be active at the same time.

    Raises
    ------
    ConfigError
        With the problems of the sweep, or when the folder has another sweep.
    RunError
        When the folder cannot be used, or optuna is missing.

    Examples
    --------
    >>> sweep = Sweep(SweepConfig.open("widths.toml"), Path("widths"))  # doctest: +SKIP
    >>> sweep.begin()  # doctest: +SKIP
    >>> while (start := sweep.ask()) is not None:  # doctest: +SKIP
    ...     state = execute_run(start.path, start.config, print, Control(), resume=start.resume, donors=start.donors)
    ...     sweep.tell(start.run.number, state)
    """

    def __init__(
        self,
        config: SweepConfig,
        directory: Path,
        *,
        threads: int = 0,
        parallel: bool = False,
        retry: bool = False,
        cluster: RayCluster | None = None,
        shard: Shard | None = None,
    ) -> None:
        self.config, self.directory = config, directory.absolute()
        self._threads, self._retry, self._shard = threads, retry, shard
        self._state, self._configs, others = open_folder(config, self.directory, shard)
        self._siblings = by_teacher(others)
        self._state.cluster = cluster
        self._search = None if config.sweep.search is None else Search(config, parallel=parallel)
        self._teachers = [teacher_identity(config) for config in self._configs]
        self._training: dict[int, str] = {}
        self._pruned: dict[int, int] = {}
        self._started: dict[int, float] = {}
        self._exhausted = False
        self._began = time.monotonic()

    @property
    def runs(self) -> list[SweptRun]:
        """All runs, in the order of the sweep; of a search those that were suggested so far."""
        return list(self._state.runs)

    @property
    def configs(self) -> list[ExperimentConfig]:
        """The experiments of `runs`."""
        return list(self._configs)

    def path(self, run: SweptRun) -> Path:
        """Return the directory of a run, whether it exists or not."""
        failed = self._failed(run)
        return failed if run.state == "failed" and is_folder(failed) else self.directory / run.name

    def _failed(self, run: SweptRun) -> Path:
        return self.directory / FAILED / run.name

    def begin(self) -> None:
        """Look up which runs have ended in an earlier call, and write the folder.

        Raises
        ------
        RunError
            When the folder cannot be written, or a run is active in another process.
        """
        for run in self._state.runs:
            self._look_up(run)
        if self._search is not None:
            for run in self._state.runs:
                self._teach(self._search, run)
        save_folder(self.config, self.directory, self._state, self._shard)

    def _look_up(self, run: SweptRun) -> None:
        """Bring the state of a run up to date with its directory."""
        path = self.directory / run.name
        if run.state != "failed" and not is_run(path) and is_run(self._failed(run)):  # a shard has moved it there
            run.state, run.objective, run.cause = "failed", None, cause_of(self._failed(run))
        if run.state == "failed":
            if self._retry:
                self._bring_back(run)
            return
        if not is_run(path):
            run.state, run.objective = "waiting", None
            return
        try:
            row = read_row(path)
            if row.state == "finished":
                self._finish(run)
        except RunError as error:
            self._fail(run, error.cause)
            return
        if row.state in ACTIVE:
            title, cause = "The sweep cannot start", f"{path} is {row.state} in another process."
            raise RunError(title, cause, "Wait until it has ended, or stop it.")
        if row.state == "failed":
            self._fail(run, row.cause)
        elif row.state != "finished" and run.state != "pruned":
            run.state = "waiting"

    def _bring_back(self, run: SweptRun) -> None:
        target = self.directory / run.name
        if is_run(self._failed(run)) and not is_taken(target):
            with suppress(OSError):
                self._failed(run).rename(target)
        run.state, run.cause = "waiting", ""

    def _teach(self, search: Search, run: SweptRun) -> None:
        """Tell a new search what came out in an earlier call."""
        if run.state == "waiting":
            search.continue_run(run.number, run.values)
            return
        curve: dict[int, float] = {}
        with suppress(RunError, KeyError, ValueError):
            data = open_run(self.path(run)).curves["student"]["validation/nll"]
            curve = {int(step): float(value) for step, value in zip(data.steps, data.values, strict=True)}
        search.add_result(run.values, run.objective, curve, pruned=run.state == "pruned")

    # --- ask ----------------------------------------------------------------------------------------------------------

    @property
    def seconds(self) -> float:
        """Time that the sweep has run, all calls together."""
        return self._state.seconds + time.monotonic() - self._began

    @property
    def active(self) -> list[SweptRun]:
        """The runs that were started and have not ended."""
        return [run for run in self._state.runs if run.state == "running"]

    def ask(self) -> Start | None:
        """Return the run to start now; None if no run is left, or all must wait for a teacher that is in training.

        Raises
        ------
        RunError
            When the folder cannot be written.
        """
        run = self._next()
        while run is not None:
            try:
                start = self._prepare(run)
            except (RunError, ConfigError) as error:
                self._fail(run, error.cause if isinstance(error, RunError) else str(error))
                self._tell_search(run)
                run = self._next()
                continue
            run.state = "running"
            self._started[run.number] = time.monotonic()
            if not any(map(has_teacher, (start.path, *start.donors))):
                self._training[run.number] = self._teachers[run.number]
            self._save()
            return start
        return None

    def _next(self) -> SweptRun | None:
        if self._search is not None and self._out_of_time():
            return None
        busy = set(self._training.values()) - {""}
        for run in self._state.runs:
            if run.state == "waiting" and self._teachers[run.number] not in busy:
                return run
        return self._suggest(busy)

    def _out_of_time(self) -> bool:
        search = self.config.sweep.search
        return search is not None and 0 < search.hours * _HOUR <= self.seconds

    def _suggest(self, busy: set[str]) -> SweptRun | None:
        """Return a new run of the search, if its budget allows one."""
        settings, runs = self.config.sweep.search, self._state.runs
        if self._search is None or settings is None or len(runs) >= settings.runs or self._exhausted:
            return None
        if any(run.state == "waiting" for run in runs):
            return None  # it waits for its teacher
        values = self._search.suggest(len(runs), [run.values for run in runs])
        if values is None:
            self._exhausted = True
            return None
        name = run_names([*(run.values for run in runs), values], [run.name for run in runs])[-1]
        run = SweptRun(number=len(runs), name=name, values=values)
        runs.append(run)
        try:
            config = self.config.with_values(values)
        except ConfigError as error:
            self._configs.append(self.config.experiment())
            self._teachers.append("")
            self._fail(run, str(error))
            self._tell_search(run)
            return self._suggest(busy)
        self._configs.append(config)
        self._teachers.append(teacher_identity(config))
        return None if self._teachers[-1] in busy else run

    def _prepare(self, run: SweptRun) -> Start:
        """Create the directory of a run, or open that of an interrupted one."""
        path, config = self.directory / run.name, self._configs[run.number]
        if self._threads and not config.compute.threads:
            config = config.replace(compute={"threads": self._threads})
        resume = is_run(path)
        if resume:
            config = read_config(path)
        else:
            create_run_at(path, config, teacher=teacher_label(config), student=flow_summary(config.student))
        same = [other for other in self._state.runs if other is not run and self._teachers[other.number]]
        same = [other for other in same if self._teachers[other.number] == self._teachers[run.number]]
        paths = [self.path(other) for other in sorted(same, key=lambda other: other.state != "finished")]
        paths += [self.directory / name for name in self._siblings.get(self._teachers[run.number], [])]
        return Start(run, path, config, resume, tuple(path for path in paths if is_run(path)))

    # --- tell ---------------------------------------------------------------------------------------------------------

    def teacher_trained(self, number: int) -> None:
        """Record that an active run has trained its teacher: others with the same teacher may start."""
        self._training.pop(number, None)

    def report(self, number: int, step: int, value: float) -> bool:
        """Report the likelihood of a run's student on validation data; return whether to end the run.

        Parameters
        ----------
        number
            Of the run.
        step
            Of the student, of the first seed.
        value
            Negative log-likelihood.
        """
        if self._search is None or number in self._pruned or not math.isfinite(value):
            return False
        if self._search.report(number, step, value):
            self._pruned[number] = step
        return number in self._pruned

    def tell(self, number: int, state: RunState, cause: str = "") -> SweptRun:
        """Record how a run ended, and return its entry.

        Parameters
        ----------
        number
            Of the run.
        state
            As `execute_run` returned it. A run that was stopped waits again, unless `report` ended it.
        cause
            Why it failed; empty to take what its own state says.

        Raises
        ------
        RunError
            When the folder cannot be written.
        """
        run = self._state.runs[number]
        self._training.pop(number, None)
        step = self._pruned.pop(number, None)
        run.seconds += time.monotonic() - self._started.pop(number)
        if state == "finished":
            try:
                self._finish(run)
            except RunError as error:
                self._fail(run, error.cause)
        elif state == "stopped":
            run.state = "waiting" if step is None else "pruned"
            run.cause = "" if step is None else f"ended after step {step:,} of the student: worse than the median"
        else:
            self._fail(run, cause or cause_of(self.directory / run.name))
        self._tell_search(run)
        self._save()
        return run

    def _finish(self, run: SweptRun) -> None:
        snapshot = read_figures(str(self.directory / run.name))
        summaries = [stage.summary for stage in snapshot.stages if stage.summary is not None]
        run.state, run.cause = "finished", ""
        run.seconds = run.seconds or snapshot.row.seconds  # of a run that a shard has executed
        run.objective = self._objective([summary for summary in summaries if summary.stage == "student"])

    def _objective(self, students: Sequence[StageSummary]) -> float | None:
        likelihood = self.config.sweep.metric == "likelihood"
        values = [summary.validation if likelihood else summary.samples_per_second for summary in students]
        return fmean(values) if values and all(map(math.isfinite, values)) else None

    def _fail(self, run: SweptRun, cause: str) -> None:
        """Record that a run failed, and move its directory apart."""
        path, target = self.directory / run.name, self._failed(run)
        run.state, run.objective, run.cause = "failed", None, cause
        if not is_run(path):
            return
        try:
            target.parent.mkdir(exist_ok=True)
            path.rename(target)
        except OSError as error:
            run.cause = f"{cause} It could not be moved to {target.parent}: {describe_error(error)}."

    def _tell_search(self, run: SweptRun) -> None:
        if self._search is not None and run.state != "waiting":
            self._search.tell(run.number, run.objective, pruned=run.state == "pruned")

    def _save(self) -> None:
        now = time.monotonic()
        self._state.seconds += now - self._began
        self._began = now
        save_state(self.directory, self._state, self._shard)

    # --- results ------------------------------------------------------------------------------------------------------

    def ranking(self) -> list[SweptRun]:
        """Return the finished runs, the best first; those without a finite objective are last."""
        sign = 1.0 if self.config.sweep.metric == "likelihood" else -1.0
        finished = [run for run in self._state.runs if run.state == "finished"]
        return sorted(finished, key=lambda run: math.inf if run.objective is None else sign * run.objective)

    @property
    def comparable(self) -> bool:
        """Whether all runs have the same data, so that their objectives can be compared."""
        data = {config.data.model_dump_json() for config in self._configs}
        return self.config.sweep.metric != "likelihood" or len(data) <= 1
