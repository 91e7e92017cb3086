"""Runs as groups that differ only by their seeds, with means and standard deviations over the seeds. No Qt."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from operator import attrgetter, itemgetter
from pathlib import PurePath
from typing import TypeGuard

import msgspec

from nfkd.config.run_filter import Value
from nfkd.protocol.comparing import SeedValues
from nfkd.protocol.run_rows import RunRow
from nfkd_gui.model.setting_names import is_setting
from nfkd_gui.model.slices import Steps, run_steps

TEACHER_WEIGHTS = "training.teacher_weights"
TEACHER_FROM = "teacher_from"
"""The run whose teacher another run used, by its name."""
_COLUMNS = (
    "name", "state", "data", "teacher", "student", "loss", "seeds", "seeds_done", "seconds", "device", "unit",
    "teacher_test", "student_test", "baseline_test", "gap_closed", "verdict", "note",
)  # fmt: skip
_STEP = 500  # groups that are looked at in a step
_OPTIONAL = ("teacher_test", "student_test", "baseline_test", "gap_closed")
_read_columns = attrgetter(*_COLUMNS)


@dataclass(frozen=True, eq=False)
class RunGroup:
    """One row of the table: a run, or runs that differ only by their seeds.

    Attributes
    ----------
    key
        The directory of its newest run, by which the group is known.
    rows
        Its runs, newest first.
    values
        Columns, settings and figures. Figures are means over the seeds of all runs.
    seeds
        Figures of each seed, as (run, figures).
    """

    key: str
    rows: tuple[RunRow, ...]
    values: Mapping[str, Value]
    seeds: tuple[tuple[RunRow, SeedValues], ...]

    @property
    def name(self) -> str:
        """The name of its newest run."""
        return self.rows[0].name

    @cached_property
    def runs(self) -> list[str]:
        """The directories of its runs."""
        return [row.run for row in self.rows]

    @property
    def expandable(self) -> bool:
        """Whether it has `children`."""
        return len(self.rows) > 1 or len(self.seeds) > 1

    @cached_property
    def children(self) -> Sequence[tuple[RunRow, SeedValues | None]]:
        """What is listed below it: its seeds that have ended, and of several runs those without one."""
        if len(self.rows) == 1:
            return self.seeds if len(self.seeds) > 1 else ()
        ended = {row.run for row, _ in self.seeds}
        return [*self.seeds, *((row, None) for row in self.rows if row.run not in ended)]

    @cached_property
    def deviations(self) -> Mapping[str, float]:
        """Standard deviations over seeds of the figures of at least two seeds."""
        return {name: _deviation(numbers) for name, numbers in _figures(self.seeds).items() if len(numbers) > 1}

    def has_deviation(self, name: str) -> bool:
        """Return whether a figure has a deviation, without computing any."""
        return sum(_is_number(seed.values.get(name)) for _, seed in self.seeds) > 1


def make_group(
    rows: Sequence[RunRow], values: Mapping[str, Value], seeds: Mapping[str, Sequence[SeedValues]]
) -> RunGroup:
    """Return the group of runs, newest first.

    Parameters
    ----------
    rows
        Its runs.
    values
        Those of its newest run.
    seeds
        Figures of each seed that has ended, by run.
    """
    each = tuple((row, seed) for row in rows for seed in seeds.get(row.run, ()))
    if len(rows) > 1:
        means = {name: math.fsum(numbers) / len(numbers) for name, numbers in _figures(each).items()}
        counts = {name: float(sum(getattr(row, name) for row in rows)) for name in ("seeds", "seeds_done")}
        values = {**values, **counts, **means}
    return RunGroup(rows[0].run, tuple(rows), values, each)


def sort_groups(groups: Iterable[RunGroup], name: str, descending: bool) -> list[RunGroup]:
    """Return groups in the order of a column, setting or figure; those without a value come last."""
    return run_steps(find_order(groups, name, descending))


def find_order(groups: Iterable[RunGroup], name: str, descending: bool) -> Steps[list[RunGroup]]:
    """Find the order that `sort_groups` returns: numbers before texts, or texts before numbers if descending."""
    numbers, texts = list[tuple[float, RunGroup]](), list[tuple[str, RunGroup]]()
    rest = list[RunGroup]()
    for count, group in enumerate(groups):
        value = group.values.get(name)
        if value is None or value == "":
            rest.append(group)
        elif isinstance(value, str):
            texts.append((value.casefold(), group))
        else:
            numbers.append((float(value), group))
        if count % _STEP == 0:
            yield
    texts.sort(key=itemgetter(0), reverse=descending)
    yield
    numbers.sort(key=itemgetter(0), reverse=descending)
    yield
    known = [*texts, *numbers] if descending else [*numbers, *texts]
    return [*(group for _, group in known), *rest]


def has_same_settings(old: RunGroup, new: RunGroup) -> bool:
    """Return whether a group that was made anew has the same settings, and the same figures of whatever size."""
    names = old.values.keys()
    return names == new.values.keys() and all(
        old.values[name] == new.values[name] for name in names if is_setting(name)
    )


def same_data(groups: Sequence[RunGroup], chosen: Sequence[RunGroup] = ()) -> list[RunGroup]:
    """Return the groups of the most frequent data set of the chosen ones, or of all if none is chosen.

    Likelihoods and distances of others do not compare. The same data with and without Gaussian noise have different
    units, such as *bits/dim* and *bits/dim (noisy)*. A run that has just started has no unit yet, and is kept.
    """
    data = _most_frequent(chosen or groups, "data")
    same = [group for group in groups if group.values.get("data") == data]
    of_chosen = [group for group in chosen if group.values.get("data") == data]
    unit = _most_frequent(of_chosen, "unit") or _most_frequent(same, "unit")
    return [group for group in same if group.values.get("unit") in {"", None, unit}]


def _most_frequent(groups: Sequence[RunGroup], name: str) -> Value:
    """Return the most frequent value that is known; None without one."""
    known = Counter(value for group in groups if (value := group.values.get(name)))
    return known.most_common(1)[0][0] if known else None


def likelihood_unit(groups: Sequence[RunGroup]) -> str:
    """Return the unit of the likelihoods of groups; a run that has just started has none yet."""
    return next((unit for group in groups if (unit := str(group.values.get("unit") or ""))), "")


def _figures(seeds: Iterable[tuple[RunRow, SeedValues]]) -> dict[str, list[float]]:
    """Return the numbers of all seeds by name."""
    found: dict[str, list[float]] = {}
    for _, seed in seeds:
        for name, value in seed.values.items():
            if _is_number(value):
                found.setdefault(name, []).append(float(value))
    return found


def _is_number(value: Value) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _deviation(numbers: Sequence[float]) -> float:
    mean = math.fsum(numbers) / len(numbers)
    return math.sqrt(math.fsum((number - mean) ** 2 for number in numbers) / (len(numbers) - 1))


def row_values(row: RunRow) -> dict[str, Value]:
    """Return what a row of the table of runs tells by name; values that are not known are left out."""
    values: dict[str, Value] = dict(zip(_COLUMNS, _read_columns(row), strict=True))
    for name in _OPTIONAL:
        if values[name] is None:
            del values[name]
    values |= {"seeds": float(row.seeds), "seeds_done": float(row.seeds_done), "seconds": float(row.seconds)}
    values["tags"] = ", ".join(row.tags)
    try:
        values["created"] = datetime.fromtimestamp(row.created, UTC).isoformat(timespec="seconds")
    except (OverflowError, OSError, ValueError):
        values["created"] = ""
    return values


def is_same_row(first: RunRow, second: RunRow) -> bool:
    """Return whether two rows of the table of runs tell the same."""
    return first is second or msgspec.structs.astuple(first) == msgspec.structs.astuple(second)


def search_text(row: RunRow) -> str:
    """Return the text in which a filter looks for words."""
    texts = (row.name, row.data, row.teacher, row.student, row.loss, row.state, row.verdict, *row.tags, row.note)
    return " ".join(texts).casefold()


def parent_of(run: str) -> str:
    """Return the directory that holds a run's directory."""
    return run[: max(run.rfind("/"), run.rfind("\\"), 0)]


def containing_run(path: str, runs: Mapping[str, RunRow]) -> RunRow | None:
    """Return the run whose directory is `path` or holds it."""
    while path:
        if path in runs:
            return runs[path]
        shorter = parent_of(path)
        path = shorter if shorter != path else ""
    return None


def count_folders(folders: Iterable[str]) -> dict[str, int]:
    """Return the number of runs of each folder, sorted, given the folder of each run.

    A folder has also the runs of the folders in it, such as those that failed in a sweep; the runs folder itself, the
    empty text, has only its own.
    """
    own, counts = Counter(folders), Counter[str]()
    for folder, count in own.items():
        parts = folder.split("/")
        for number in range(1, len(parts) + 1):
            counts["/".join(parts[:number])] += count
    return dict(sorted(counts.items()))


def is_in_folder(folder: str, shown: str | None) -> bool:
    """Return whether a folder is the one that is shown or in it; None shows all."""
    return shown is None or folder == shown or (bool(shown) and folder.startswith(f"{shown}/"))


def folder_below(parent: str, base: PurePath) -> str:
    """Return a directory below the runs folder, with slashes; empty for the runs folder and others."""
    path = type(base)(parent)
    return path.relative_to(base).as_posix().removeprefix(".") if path.is_relative_to(base) else ""
