"""Requests about many runs: their values, comparison, curves, pictures and reports."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nfkd.engine.file_probe import probe_files
from nfkd.engine.limits import Limits
from nfkd.engine.threads import RequestThreads
from nfkd.evaluation.comparison import ComparedRun, Comparison, Difference, DifferentDataError, Mean, compare_runs
from nfkd.protocol.comparing import (
    ComparedDifference,
    ComparedMean,
    ComparedMetric,
    CompareRuns,
    MatchingProfiles,
    ReadMatchingProfiles,
    ReadRunCurves,
    ReadRunValues,
    ReadThumbnails,
    RunCurves,
    RunsCompared,
    RunValues,
    Thumbnails,
    WriteReport,
)
from nfkd.protocol.requests import Done
from nfkd.protocol.run_rows import RunRow
from nfkd.runs.errors import RunError
from nfkd.runs.finding import FileStamp, file_stamp
from nfkd.runs.run_curves import read_profile, read_run_curve
from nfkd.runs.run_values import FactsCache, run_values
from nfkd.runs.state import read_row
from nfkd.runs.summary_file import seed_files
from nfkd.runs.thumbnails import read_thumbnail

_MOST = 4000  # results that are kept


class CompareService:
    """Reads many runs; belongs to the running loop.

    Parameters
    ----------
    row_of
        Returns the row of a run that the engine trains or will train; None for any other run.
    limits
        How long requests may wait for files.
    """

    def __init__(self, row_of: Callable[[str], RunRow | None], limits: Limits) -> None:
        self._row_of, self._limits = row_of, limits
        self._reading = RequestThreads("run values", 1, limits)
        self._threads = RequestThreads("comparison", 2, limits)
        self._facts = FactsCache()
        self._results = ResultCache()
        self.handlers: dict[type, Callable[[Any], Any]] = {
            ReadRunValues: self.values,
            CompareRuns: self.compare,
            ReadRunCurves: self.curves,
            ReadMatchingProfiles: self.profiles,
            ReadThumbnails: self.thumbnails,
            WriteReport: self.report,
        }

    @property
    def running(self) -> list[str]:
        """The files that running threads use."""
        return [*self._reading.running, *self._threads.running]

    async def close(self) -> None:
        """Wait a limited time for the threads."""
        for threads in (self._reading, self._threads):
            await threads.close(self._limits.close_seconds)

    async def values(self, request: ReadRunValues) -> RunValues:
        """Return columns, settings and figures of runs."""
        rows = {run: row for run in request.runs if (row := self._row_of(run)) is not None}
        about = request.folder or next(iter(request.runs), "runs")
        limit = self._limits.work_seconds
        return await self._reading.run(_read_values, request, rows, self._facts, about=about, limit=limit)

    async def compare(self, request: CompareRuns) -> RunsCompared:
        """Compare the students of runs."""
        return await self._read(_compare, request.runs)

    async def curves(self, request: ReadRunCurves) -> RunCurves:
        """Return a curve of every run that has it."""
        return await self._read(_read_curves, request.runs, request, self._results)

    async def profiles(self, request: ReadMatchingProfiles) -> MatchingProfiles:
        """Return the matching errors of every run that has them."""
        found = await self._read(self._results.read_each, request.runs, read_profile)
        return MatchingProfiles(profiles=found)

    async def thumbnails(self, request: ReadThumbnails) -> Thumbnails:
        """Return a picture of every run that has samples."""
        found = await self._read(self._results.read_each, request.runs, read_thumbnail, request.pixels)
        return Thumbnails(pictures=found)

    async def report(self, request: WriteReport) -> Done:
        """Write a report."""
        await self._read(_write_report, request.runs, request.path)
        return Done()

    async def _read(self, function: Callable[..., Any], runs: Sequence[str], *arguments: Any) -> Any:
        await probe_files(self._threads, [Path(run) for run in runs], self._limits.probe_seconds)
        about = next(iter(runs), "runs")
        return await self._threads.run(function, runs, *arguments, about=about, limit=self._limits.work_seconds)


class ResultCache:
    """Remembers what was read from the files of runs' seeds until these change; used by several threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[Any, ...], tuple[list[FileStamp | None], Any]] = OrderedDict()

    def read(self, run: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return the result of a function of a run's directory and arguments."""
        key = (run, function, *arguments)
        stamps = [file_stamp(path) for path in seed_files(run)]
        known = self._known.get(key)
        if known is None or known[0] != stamps:
            known = stamps, function(Path(run), *arguments)
            self._known[key] = known
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
        return known[1]

    def read_each(self, runs: Sequence[str], function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """Return the results of several runs, without those that cannot be read and those without a result."""
        found: dict[str, Any] = {}
        for run in runs:
            with suppress(RunError, OSError):
                result = self.read(run, function, *arguments)
                if result is not None:
                    found[run] = result
        return found


def _read_values(request: ReadRunValues, rows: dict[str, RunRow], facts: FactsCache) -> RunValues:
    values: dict[str, Any] = {}
    seeds: dict[str, Any] = {}
    for run in request.runs:
        with suppress(RunError):
            known = facts.read(run)
            values[run] = run_values(rows.get(run) or read_row(Path(run)), known, folder=request.folder)
            seeds[run] = known.seeds
    return RunValues(values=values, seeds=seeds)


def _read_curves(runs: Sequence[str], request: ReadRunCurves, results: ResultCache) -> RunCurves:
    label = unit = ""
    curves: dict[str, Any] = {}
    unreadable: dict[str, str] = {}
    for run in runs:
        try:
            found = results.read(run, read_run_curve, request.curve, request.stage, request.points)
        except RunError as error:
            unreadable[run] = error.cause
            continue
        if found is not None:
            curves[run] = found.curve
            label, unit = label or found.label, unit or found.unit
    return RunCurves(label=label, unit=unit, curves=curves, unreadable=unreadable)


def _compare(runs: Sequence[str]) -> RunsCompared:
    if not runs:
        title, cause = "There is nothing to compare", "No run was chosen."
        raise RunError(title, cause, "Choose runs.")
    try:
        comparison = compare_runs([ComparedRun.read(Path(run)) for run in runs])
    except DifferentDataError as error:
        title, cause = "The runs have different data", f"{error}."
        raise RunError(title, cause, "Choose runs of the same data.") from error
    return _to_message(comparison)


def _to_message(comparison: Comparison) -> RunsCompared:
    return RunsCompared(
        names=comparison.names,
        unit=comparison.unit,
        settings=comparison.settings,
        same=comparison.same,
        sizes=comparison.sizes,
        gaps=comparison.gaps,
        verdicts=comparison.verdicts,
        metrics=[
            ComparedMetric(
                name=row.metric.name,
                unit=comparison.unit if row.metric.unit is None else row.metric.unit,
                form=row.metric.form,
                means=[_mean(mean) for mean in row.means],
                differences=[_difference(difference) for difference in row.differences],
                best=row.best,
            )
            for row in comparison.metrics
        ],
    )


def _mean(mean: Mean) -> ComparedMean:
    return ComparedMean(value=mean.value, half=mean.half, seeds=mean.seeds)


def _difference(difference: Difference | None) -> ComparedDifference | None:
    return None if difference is None else ComparedDifference(mean=_mean(difference.mean), outcome=difference.outcome)


def _write_report(runs: Sequence[str], path: str) -> None:
    """Write a report of runs; matplotlib and Jinja2 take long to load."""
    from nfkd.evaluation.report_file import write_report

    write_report([Path(run) for run in runs], Path(path))
