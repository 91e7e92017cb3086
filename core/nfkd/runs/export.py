"""A run's numbers as CSV files, one tidy table each."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from nfkd.files import FileError, replace_file
from nfkd.protocol.events import StageSummary, Verdict
from nfkd.protocol.requests import StageSnapshot
from nfkd.protocol.roles import Role
from nfkd.runs.errors import RunError, describe_error
from nfkd.runs.reader import RunRecord, SeedRecord
from nfkd.text import plain

_FIGURES = tuple(name for name in StageSummary.__struct_fields__ if name != "unit")
_LIKELIHOODS = {"validation", "test", "test_error"}


def export_csv(record: RunRecord, directory: Path) -> list[Path]:
    """Write a run's curves, matching errors and figures.

    Parameters
    ----------
    record
        The run.
    directory
        Made where it is missing; files of the same names are replaced.

    Returns
    -------
    list[Path]
        The files: ``seed-<n>-<stage>-curves.csv`` (curve, unit, step, value, seconds),
        ``seed-<n>-matching.csv`` (step, student layer, teacher layer, weight, mean squared error; assistants have a
        ``seed-<n>-assistant-<m>-matching.csv`` each), ``summary.csv``
        (a row a stage; the unit of the likelihoods is in their headers) and ``verdict.csv`` (a row a metric: the
        student's mean gain over its baseline, the interval, the number of seeds, and for the first, which alone has
        one, the verdict).

    Raises
    ------
    RunError
        When the directory cannot be written.
    """
    written: list[Path] = []
    with writing(directory):
        for seed, seed_record in record.seeds.items():
            for stage, view in seed_record.stages.items():
                written += _curves(directory / f"seed-{seed}-{stage}-curves.csv", seed_record, stage, view)
            for stage in seed_record.stages:
                name = "matching" if stage == "student" else f"{stage}-matching"
                written += _matching(directory / f"seed-{seed}-{name}.csv", seed_record, stage)
        unit = next((summary.unit for summary in record.summary), "")
        header = [f"{name} ({unit})" if name in _LIKELIHOODS else name for name in _FIGURES]
        rows = [[getattr(summary, name) for name in _FIGURES] for summary in record.summary]
        written += _table(directory / "summary.csv", header, rows)
        written += _verdict(directory / "verdict.csv", record.verdict)
    return written


class writing:  # noqa: N801 - used as a statement
    """Make a directory and turn what the disk says into one clear error."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> None:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:  # a ValueError: a null character in the name
            raise self._refusal(error) from error

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise self._refusal(error) from error

    def _refusal(self, error: OSError | ValueError) -> RunError:
        cause = f"{error}." if isinstance(error, FileError) else f"{self._directory}: {describe_error(error)}."
        return RunError("Nothing could be exported", cause, "Choose a directory that you may write to.")


def _curves(path: Path, record: SeedRecord, stage: Role, view: StageSnapshot) -> list[Path]:
    plan = next(plan for plan in record.started.stages if plan.stage == stage)
    units = {info.name: info.unit for info in plan.curves}
    rows = [
        [name, units.get(name, ""), step, value, seconds]
        for name, batch in view.curves.items()
        for step, value, seconds in zip(batch.steps, batch.values, batch.times, strict=True)
    ]
    return _table(path, ("curve", "unit", "step", "value", "seconds"), rows)


def _matching(path: Path, record: SeedRecord, stage: Role) -> list[Path]:
    view = record.stages[stage]
    plan = next(plan for plan in record.started.stages if plan.stage == stage)
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
    found = [(verdict, verdict.verdict), *((other, "") for other in verdict.others)]
    rows = [
        [one.metric, one.unit, one.difference, one.low, one.high, len(one.seeds), words]
        for one, words in found
        if one.seeds
    ]
    return _table(path, ("metric", "unit", "gain", "low", "high", "seeds", "verdict"), rows)


def _cell(value: object) -> object:
    """Return a value for a cell; a text that a spreadsheet would take for a formula is quoted."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[Path]:
    rows = list(rows)
    if not rows:
        return []
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([_cell(value) for value in header])
    writer.writerows([_cell(value) for value in row] for row in rows)
    replace_file(path, text.getvalue().encode())
    return [path]
