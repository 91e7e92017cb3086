"""Export of a run's numbers as CSV files."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from nfkd.files import FileError, replace_file
from nfkd.protocol.events import StagePlan, StageSummary, Verdict
from nfkd.protocol.records import with_fd_floor
from nfkd.protocol.requests import StageSnapshot
from nfkd.runs.errors import RunError, describe_error
from nfkd.runs.reader import RunRecord
from nfkd.text import csv_text

_FIGURES = tuple(name for name in StageSummary.__struct_fields__ if name != "unit")
_LIKELIHOODS = {"validation", "test", "test_error", "train_test_gap"}


def export_csv(record: RunRecord, directory: Path) -> list[Path]:
    """Write a run's curves, matching errors and figures.

    Parameters
    ----------
    record
        The run.
    directory
        Created if missing; files of the same names are replaced.

    Returns
    -------
    list[Path]
        The files: ``seed-<n>-<stage>-curves.csv`` (curve, unit, step, value, seconds), ``seed-<n>-matching.csv`` and
        ``seed-<n>-assistant-<m>-matching.csv`` (step, student layer, teacher layer, weight, mean squared error),
        ``summary.csv`` (one row per stage; headers give the unit of likelihoods), ``verdict.csv`` (one row per
        metric: mean gain of the student over its baseline, interval, number of seeds, the primary metric's verdict,
        the share of the gap to the teacher that is closed, and the flow it was compared with: the last row may be that
        of the ablation) and
        ``floor.csv`` (one row per measure of samples: its value for training examples, number of test examples).

    Raises
    ------
    RunError
        When the directory cannot be written.
    """
    written: list[Path] = []
    with writing_into(directory):
        for seed, seed_record in record.seeds.items():
            for plan in seed_record.started.stages:
                view = seed_record.stages[plan.stage]
                written += _curves(directory / f"seed-{seed}-{plan.stage}-curves.csv", plan, view)
                name = "matching" if plan.stage == "student" else f"{plan.stage}-matching"
                written += _matching(directory / f"seed-{seed}-{name}.csv", plan, view)
        unit = next((summary.unit for summary in record.summary), "")
        header = [f"{name} ({unit})" if name in _LIKELIHOODS else name for name in _FIGURES]
        rows = [[getattr(summary, name) for name in _FIGURES] for summary in record.summary]
        written += _table(directory / "summary.csv", header, rows)
        written += _verdict(directory / "verdict.csv", record.verdict)
        written += _floors(directory / "floor.csv", record)
    return written


@contextmanager
def writing_into(directory: Path, title: str = "Nothing could be exported") -> Iterator[None]:
    """Create a directory, and turn errors of writing into one `RunError` with a title."""
    try:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except ValueError as error:  # a null character in the name
            raise OSError(errno.EINVAL, str(error)) from error
        yield
    except OSError as error:
        cause = f"{error}." if isinstance(error, FileError) else f"{directory}: {describe_error(error)}."
        raise RunError(title=title, cause=cause, action="Choose a directory that you may write to.") from error


def _curves(path: Path, plan: StagePlan, view: StageSnapshot) -> list[Path]:
    units = {info.name: info.unit for info in plan.curves}
    rows = [
        [name, units.get(name, ""), step, value, seconds]
        for name, batch in view.curves.items()
        for step, value, seconds in zip(batch.steps, batch.values, batch.times, strict=True)
    ]
    return _table(path, ("curve", "unit", "step", "value", "seconds"), rows)


def _matching(path: Path, plan: StagePlan, view: StageSnapshot) -> list[Path]:
    if not np.size(view.matching_errors):
        return []
    rows = [
        [step, pair.student, pair.teacher, pair.weight, error]
        for step, errors in zip(view.matching_steps, view.matching_errors, strict=True)
        for pair, error in zip(plan.pairs, errors, strict=True)
    ]
    return _table(path, ("step", "student layer", "teacher layer", "weight", "mean squared error"), rows)


def _verdict(path: Path, verdict: Verdict | None) -> list[Path]:
    if verdict is None:
        return []
    others = (*verdict.others, *verdict.ablations)
    intervals = [(verdict, verdict.verdict), *((other, "") for other in others)]
    rows = [
        [it.metric, it.unit, it.difference, it.low, it.high, len(it.seeds), judged, it.gap_closed, it.against]
        for it, judged in intervals
        if it.seeds
    ]
    return _table(path, ("metric", "unit", "gain", "low", "high", "seeds", "verdict", "gap closed", "against"), rows)


def _floors(path: Path, record: RunRecord) -> list[Path]:
    started = next((seed.started for seed in record.seeds.values() if seed.started.floors), None)
    if started is None:
        return []
    floors = with_fd_floor(started.floors, record.summary)
    rows = [[name, floor, started.compared] for name, floor in floors.items()]
    return _table(path, ("measure", "floor", "examples"), rows)


def _table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[Path]:
    rows = list(rows)
    if not rows:
        return []
    replace_file(path, csv_text(header, rows).encode())
    return [path]
