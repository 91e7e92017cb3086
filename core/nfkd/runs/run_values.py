"""What is known of a run by name: columns of the table of runs, figures, evaluated metrics, settings by dotted path."""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

from nfkd.config import ExperimentConfig
from nfkd.config.run_filter import Value
from nfkd.protocol.comparing import SeedValues
from nfkd.protocol.gap import gap_of
from nfkd.protocol.records import StageSummary
from nfkd.protocol.roles import ROLES, TEACHERS
from nfkd.protocol.run_rows import RunRow
from nfkd.runs.errors import RunError
from nfkd.runs.evaluation_file import EVALUATION, evaluation_columns, read_evaluations
from nfkd.runs.finding import FileStamp, file_stamp, folder_below
from nfkd.runs.layout import EXPERIMENT
from nfkd.runs.settings_file import Settings, flattened, plain_value, read_settings
from nfkd.runs.summary_file import FIGURES, read_figures, seed_files

COLUMNS = (
    "name", "state", "data", "teacher", "student", "loss", "seeds", "seeds_done", "created", "seconds", "device",
    "unit", "teacher_test", "student_test", "baseline_test", "gap_closed", "verdict", "folder", "tags", "note",
)  # fmt: skip
"""Columns of the table of runs."""
_OF_STUDENT = [name for name in StageSummary.__struct_fields__ if name not in {"stage", "seed", "unit", "ended"}]
_OF_OTHERS = ["test", "parameters", "samples_per_second", "c2st", "fd", "sw", "mmd", "precision", "recall"]
"""Figures of flows other than the student that are worth a column."""
_MOST = 50_000  # runs whose values are kept
StageFigures = dict[str, float | str | None]
Figures = list[StageFigures]


class RunFacts(NamedTuple):
    """What the files of a run say: its settings, means of its figures over seeds, and the figures of each seed."""

    settings: tuple[Settings, ...]
    means: Mapping[str, Value]
    seeds: list[SeedValues]


def run_values(row: RunRow, facts: RunFacts | None = None, *, folder: str = "") -> dict[str, Value]:
    """Return the values of a run from all sources; those with the same name of later ones replace earlier ones.

    Parameters
    ----------
    row
        The run.
    facts
        What its files say; None for columns alone.
    folder
        The runs folder, for the column ``folder``.
    """
    values: dict[str, Value] = {}
    if facts is not None:
        for table in facts.settings:
            values.update(table)
        values.update(facts.means)
    values.update(
        {name: value for name, value in _columns(row, folder).items() if value is not None or name not in values}
    )
    return values


def _columns(row: RunRow, folder: str) -> dict[str, Value]:
    values: dict[str, Value] = {
        name: value if (value := getattr(row, name)) is None else plain_value(value) for name in _OF_ROW
    }
    values["created"] = datetime.fromtimestamp(row.created, UTC).isoformat(timespec="seconds")
    return values | {"folder": folder_below(row.run, folder), "tags": ", ".join(row.tags), "note": row.note}


_OF_ROW = [name for name in COLUMNS if name not in {"created", "folder", "tags", "note"}]


def read_facts(run: str) -> RunFacts:
    """Read what the files of a run say, without those that cannot be read."""
    seeds = {seed.seed: seed for seed in _seeds(read_figures(run))}
    with suppress(RunError):  # evaluated metrics replace the figures of the run's end: they may have more samples
        evaluated = evaluation_columns(read_evaluations(Path(run)))
        shared = _of_teachers(evaluated)
        for number in [*seeds, *(evaluated.keys() - seeds)]:
            values = seeds.setdefault(number, SeedValues(seed=number, values={})).values
            values.update({name: value for name, value in shared.items() if name in values})
            values.update({name: plain_value(value) for name, value in evaluated.get(number, {}).items()})
    found = list(seeds.values())
    return RunFacts(read_settings(run), _means(found), found)


def _of_teachers(evaluated: Mapping[int, Mapping[str, float]]) -> dict[str, Value]:
    """Return the metrics of teachers that were evaluated in one seed, because all seeds share them."""
    prefixes = tuple(f"{stage.replace('-', '_')}_" for stage in TEACHERS)
    found = Counter(name for columns in evaluated.values() for name in columns if name.startswith(prefixes))
    return {
        name: plain_value(value)
        for columns in evaluated.values()
        for name, value in columns.items()
        if found[name] == 1
    }


class FactsCache:
    """Reads the files of runs again only if they have changed."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[FileStamp | None, ...], RunFacts]] = {}

    def read(self, run: str) -> RunFacts:
        """Return what the files of a run say, as `read_facts`."""
        stamps = self._stamps(run)
        known = self._known.get(run)
        if known is None or known[0] != stamps:
            known = self._known[run] = stamps, read_facts(run)
            if len(self._known) > _MOST:
                del self._known[next(iter(self._known))]
        return known[1]

    @staticmethod
    def _stamps(run: str) -> tuple[FileStamp | None, ...]:
        names = EXPERIMENT, EVALUATION, FIGURES
        experiment, evaluation, figures = (_stamp(f"{run}{os.sep}{name}") for name in names)
        # Runs of older versions have their figures only in HDF5.
        return experiment, evaluation, *([figures] if figures else map(_stamp, seed_files(run)))


def _stamp(path: str | Path) -> FileStamp | None:
    try:
        return file_stamp(path)
    except OSError:
        return None


def settings_of(config: ExperimentConfig) -> dict[str, Value]:
    """Return every setting of an experiment by its dotted path; items of lists have their index."""
    return flattened(config.model_dump(mode="json"))


def _means(seeds: Iterable[SeedValues]) -> dict[str, Value]:
    """Return the mean of each figure over the seeds that have it."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for seed in seeds:
        for name, value in seed.values.items():
            if isinstance(value, float):
                found[name].append(value)
    return {name: math.fsum(values) / len(values) for name, values in found.items()}


def _seeds(figures: Figures) -> Iterator[SeedValues]:
    """Yield the figures of each seed by column; a teacher that all seeds share counts for each."""
    tables: defaultdict[float, dict[str, StageFigures]] = defaultdict(dict)
    shared: dict[str, StageFigures] = {}
    for table in figures:
        stage, seed = table["stage"], table["seed"]
        if isinstance(stage, str) and isinstance(seed, float):
            tables[seed][stage] = table
            if stage in TEACHERS:
                shared.setdefault(stage, table)
    for seed, own in tables.items():
        stages = shared | own
        values: dict[str, Value] = {}
        for stage, table in stages.items():
            for name, column in _columns_of(stage):
                value = table.get(name)
                if isinstance(value, float):
                    values[column] = value
        values["seconds"] = math.fsum(_number(table, "seconds") or 0.0 for table in own.values())
        closed = _gap_closed(stages)
        if closed is not None:
            values["gap_closed"] = closed
        yield SeedValues(seed=int(seed), values=values)


@cache
def _columns_of(stage: str) -> list[tuple[str, str]]:
    """Return the figures of a stage that have a column, and its name."""
    if stage not in ROLES:
        return []
    prefix = stage.replace("-", "_")
    return [(name, f"{prefix}_{name}") for name in (_OF_STUDENT if stage == "student" else _OF_OTHERS)]


def _gap_closed(stages: Mapping[str, StageFigures]) -> float | None:
    """Return the share of the gap that the student of a seed closes; None where it is not defined."""
    tests = {role: _number(stages.get(role, {}), "test") for role in ("student", "baseline", "teacher")}
    if None in tests.values():
        return None
    one = {role: {0: value} for role, value in tests.items() if value is not None}
    error = max(_number(stages[role], "test_error") or 0.0 for role in ("baseline", "teacher"))
    gap = gap_of(one["student"], one["baseline"], one["teacher"], gain=_lower, error=error)
    return None if gap is None or math.isnan(gap.closed) else gap.closed


def _lower(value: float, other: float) -> float:
    return other - value


def _number(table: StageFigures, name: str) -> float | None:
    value = table.get(name)
    return value if isinstance(value, float) else None
