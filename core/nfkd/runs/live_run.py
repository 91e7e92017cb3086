"""A run that another process writes: its state, and the events since the last look at its files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from nfkd.protocol.events import (
    CurvePoints,
    ErrorInfo,
    LogLine,
    MatchingMeasured,
    RunChanged,
    RunEvent,
    RunFailed,
    RunFinished,
    StageFinished,
    StageStarted,
)
from nfkd.protocol.requests import StageSnapshot
from nfkd.protocol.roles import Role
from nfkd.protocol.view import RunView, StageView
from nfkd.runs.errors import RunError
from nfkd.runs.finding import file_stamp
from nfkd.runs.folder_scan import same_row
from nfkd.runs.layout import RUN_FILE, read_config, seed_directory
from nfkd.runs.log import LOG, read_log_from
from nfkd.runs.reader import SeedRecord, open_run
from nfkd.runs.state import State, read_row, read_state
from nfkd.runs.verdict_file import read_verdict


class FileReplacedError(Exception):
    """A seed's file was replaced, as a resumed run does: the state must be read again from the start."""


class LiveRun:
    """A run that another process writes.

    Reads state.json first, so a drive that does not answer is met in Python and not inside HDF5, which would hold
    the interpreter lock.

    Parameters
    ----------
    run
        Its directory as an absolute path.

    Attributes
    ----------
    path
        Its directory.
    view
        The state of the run. The caller applies the events of `read_events` to it.
    ended
        Whether `read_events` has returned the last event.
    """

    def __init__(self, run: Path) -> None:
        self.path = run
        row = read_row(run)
        config = read_config(run)
        self._files = {seed: seed_directory(run, config, seed) / RUN_FILE for seed in config.seeds.values()}
        self._stamps = {seed: file_stamp(path) for seed, path in self._files.items()}
        self._log_stamp = file_stamp(run / LOG)
        snapshot = open_run(run).snapshot()
        log, self._log_end = read_log_from(run, 0)
        # The row was read first, so `read_events` reports an end since then.
        snapshot = msgspec.structs.replace(snapshot, row=row, log=log, verdict=None, error=None)
        self.view = RunView.from_snapshot(snapshot)
        self._ending = self.ended = False

    def read_events(self) -> list[RunEvent]:
        """Return what is new since the last call.

        The last event comes one call after the run has ended, because its process still writes to the log then.

        Raises
        ------
        FileReplacedError
            When the state must be read again from the start.
        RunError
            When the run was removed, or its state cannot be read.
        """
        state = read_state(self.path)
        active = state.row.elsewhere
        events = [*self._new_records(again=not active), *self._new_lines()]
        if not same_row(self.view.row, state.row):
            events.append(RunChanged(run=str(self.path), row=state.row))
        if self._ending and not active:
            self.ended = True
            events += self._end(state)
        self._ending = not active
        return events

    def _new_records(self, *, again: bool) -> Iterator[RunEvent]:
        """Yield what is new in the seeds' files; `again` reads files that seem unchanged, too."""
        for seed, path in self._files.items():
            before, stamp = self._stamps[seed], file_stamp(path)
            if stamp is None or (stamp == before and not again):
                continue
            known: dict[Role, StageView] = {
                stage: view for (number, stage), view in self.view.stages.items() if number == seed
            }
            try:
                record = SeedRecord(self.path, path.parent, known)
            except RunError:
                continue  # the next call tries again
            if any(other is not None and other.inode != stamp.inode for other in (before, file_stamp(path))):
                raise FileReplacedError
            self._stamps[seed] = stamp
            if seed not in self.view.seeds:
                yield record.started
            for stage, new in record.stages.items():
                yield from _stage_events(str(self.path), new, known.get(stage))

    def _new_lines(self) -> Iterator[LogLine]:
        before, self._log_stamp = self._log_stamp, file_stamp(self.path / LOG)
        if self._log_stamp == before:
            return
        lines, self._log_end = read_log_from(self.path, self._log_end)
        for line in lines:
            yield msgspec.structs.replace(line, run=str(self.path))

    def _end(self, state: State) -> Iterator[RunEvent]:
        run, row = str(self.path), state.row
        match row.state:
            case "finished":
                verdict = None
                with suppress(RunError):
                    verdict = read_verdict(self.path)
                yield RunFinished(run=run, state="finished", verdict=verdict)
            case "stopped":
                yield RunFinished(run=run, state="stopped")
            case "failed":
                yield RunFailed(run=run, error=state.error or ErrorInfo(title="The run failed", cause=row.cause))
            case _:
                return  # its process was killed: the row says so


def _stage_events(run: str, new: StageSnapshot, known: StageView | None) -> Iterator[RunEvent]:
    seed, stage = new.seed, new.stage
    curves = {name: batch for name, batch in new.curves.items() if len(batch.steps)}
    if known is None:
        if not curves and new.summary is None:
            return
        yield StageStarted(run=run, seed=seed, stage=stage)
    if curves:
        yield CurvePoints(run=run, seed=seed, stage=stage, curves=curves)
    for step, error in zip(new.matching_steps, new.matching_errors, strict=True):
        yield MatchingMeasured(run=run, seed=seed, stage=stage, step=int(step), error=error)
    for picture in (new.samples, new.interpolation, new.density):
        if picture is not None:
            yield picture
    if new.summary is not None and (known is None or known.summary is None):
        yield StageFinished(run=run, seed=seed, stage=stage, summary=new.summary)
