"""Sweeps: an experiment, and the values of its fields for many runs."""

from __future__ import annotations

import copy
import difflib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Literal, Self, cast

from pydantic import PrivateAttr, field_validator, model_validator

from nfkd.config.base import Config, field
from nfkd.config.experiment import ExperimentConfig
from nfkd.config.fields import field_paths, set_field
from nfkd.config.problems import ConfigError, ConfigProblem
from nfkd.config.toml import is_table, read_text, toml_document
from nfkd.text import plain

Values = dict[str, Any]
"""Values of fields by their dotted paths."""
_Grid = dict[str, list[Any]]
SweepMetric = Literal["likelihood", "samples_per_second"]
_ON_TEST = ("c2st", "fd", "sw", "mmd", "precision", "recall", "same_noise")
_NOT_SWEPT = ("name", "description", "sweep")
_NO_SUCH_FIELD = "there is no such field here"
_SHOWN = 60  # characters of a value


class SpaceConfig(Config, frozen=True):
    """The values that a search may give to a field: a range, or a list of choices."""

    low: float | None = field(None, title="Lowest", help="Lowest value of a range.")
    high: float | None = field(None, title="Highest", help="Highest value of a range.")
    step: float | None = field(None, title="Step", help="Distance of two values of a range.", gt=0.0)
    log: bool = field(False, title="Logarithmic", help="Search the logarithm of the value.")
    choices: list[Any] = field(title="Choices", help="The values, in place of a range.", default_factory=list[Any])

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.choices:
            if (self.low, self.high, self.step, self.log) != (None, None, None, False):
                msg = "has choices and a range: give either choices, or low and high"
                raise ValueError(msg)
            return self
        if self.low is None or self.high is None:
            msg = "needs low and high, or choices with at least one value"
            raise ValueError(msg)
        if self.low >= self.high:
            msg = f"low must be below high (given: {self.low:g} and {self.high:g})"
            raise ValueError(msg)
        if self.log and self.low <= 0:
            msg = f"low must be greater than 0 on a logarithmic scale (given: {self.low:g})"
            raise ValueError(msg)
        if self.log and self.step is not None:
            msg = "takes either log or step"
            raise ValueError(msg)
        return self


class SearchConfig(Config, frozen=True):
    """A search that chooses the values of each run from the results of those before (Optuna)."""

    method: Literal["tpe", "random"] = field(
        "tpe",
        title="Method",
        help="TPE: the tree-structured Parzen estimator (Bergstra et al. 2011). Random: independent of the results.",
    )
    runs: int = field(20, title="Runs", help="Budget: the number of runs.", unit="runs", ge=1, le=100_000)
    hours: float = field(
        0.0,
        title="Hours",
        help="Budget: no further run starts after this time; zero sets no limit.",
        unit="h",
        zero="no limit",
        ge=0.0,
        le=100_000.0,
    )
    prune: bool = field(
        True,
        title="Prune",
        help="End runs whose student has a worse validation likelihood than the median of the others at that step.",
    )
    seed: int = field(1, title="Seed", help="Of the random numbers of the search.", ge=0, lt=2**31)
    space: dict[str, SpaceConfig] = field(title="Space", help="The values of each field, by its dotted path.")

    @field_validator("space")
    @classmethod
    def _check_space(cls, space: dict[str, SpaceConfig]) -> dict[str, SpaceConfig]:
        if not space:
            msg = "is empty: name at least one field"
            raise ValueError(msg)
        data = next((path for path in space if path.partition(".")[0] == "data"), None)
        if data is not None:
            msg = f"{plain(data)} changes the data, and likelihoods of other data cannot be compared: use a grid"
            raise ValueError(msg)
        return space


class SweepSection(Config, frozen=True):
    """The runs of a sweep: a grid, a list or both, or a search."""

    limit: int = field(
        1000, title="Limit", help="A grid or list with more runs is refused.", unit="runs", ge=1, le=1_000_000
    )
    metric: SweepMetric = field(
        "likelihood",
        title="Objective",
        help="What runs are sorted by, and what a search optimises: the student's negative log-likelihood on "
        "validation data, as a mean over seeds, or its samples per second.",
    )
    grid: _Grid = field(
        title="Grid", help="Lists of values by dotted path; all combinations run.", default_factory=_Grid
    )
    list: tuple[Values, ...] = field(
        (), title="List", help="Each table has the values of one run by dotted path.", strict=False
    )
    search: SearchConfig | None = field(None, title="Search", help="A search, in place of grid and list.")

    @field_validator("metric", mode="before")
    @classmethod
    def _no_test_data(cls, value: Any) -> Any:
        if value in _ON_TEST:
            msg = (
                f"{value} is measured on test data, which must not choose settings: use likelihood (on validation "
                "data) or samples_per_second"
            )
            raise ValueError(msg)
        return value

    @field_validator("grid", mode="before")
    @classmethod
    def _flat_grid(cls, value: Any) -> Any:
        return dict(_flattened(value)) if is_table(value) else value  # keys without quotes are nested tables

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        if self.search is not None and (self.grid or self.list):
            msg = "has a search beside a grid or a list: run them as two sweeps"
            raise ValueError(msg)
        if self.search is None and not self.grid and not self.list:
            msg = "names no runs: give sweep.grid, sweep.list or sweep.search"
            raise ValueError(msg)
        return self

    @property
    def count(self) -> int:
        """Number of runs; of a search at most."""
        if self.search is not None:
            return self.search.runs
        return (prod(map(len, self.grid.values())) if self.grid else 0) + len(self.list)

    def combinations(self) -> Iterator[Values]:
        """Yield the values of each run of the grid, then of the list."""
        if self.grid:
            for values in product(*self.grid.values()):
                yield dict(zip(self.grid, values, strict=True))
        yield from self.list


def _flattened(table: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if is_table(value):
            yield from _flattened(value, f"{start}{key}.")
        else:
            yield f"{start}{key}", value


@dataclass(frozen=True)
class Combination:
    """The values of one run, and its experiment."""

    values: Values
    config: ExperimentConfig


class SweepConfig(ExperimentConfig, frozen=True):
    """An experiment with a section ``sweep``.

    Examples
    --------
    >>> sweep = SweepConfig.load("widths.toml")  # doctest: +SKIP
    >>> [combination.config.student.hidden for combination in sweep.combinations()]  # doctest: +SKIP
    [8, 16]
    """

    sweep: SweepSection = field(title="Sweep", help="The runs.")
    _folder: list[Path] = PrivateAttr(default_factory=list[Path])

    def model_post_init(self, context: Any) -> None:
        """Keep the folder from which relative paths start."""
        super().model_post_init(context)
        folder: Path = context["folder"] if context else Path()
        self._folder.append(folder.absolute())

    @classmethod
    def open(cls, path: str | os.PathLike[str], folder: Path | None = None) -> Self:
        """Return the sweep of a file; relative paths start from `folder`, by default the file's own.

        Raises
        ------
        ConfigError
            When it cannot be read, or is not a sweep.
        """
        file = Path(path)
        text = read_text(file)
        if "sweep" not in toml_document(text, str(path)):
            message = "is missing: name the runs in [sweep.grid], [[sweep.list]] or [sweep.search]"
            raise ConfigError([ConfigProblem("sweep", message)], str(path))
        return cls.from_toml(text, source=str(path), folder=folder or file.absolute().parent)

    @property
    def folder(self) -> Path:
        """Folder from which relative paths among the values start."""
        return self._folder[0]

    def experiment(self) -> ExperimentConfig:
        """Return the experiment without the sweep."""
        return ExperimentConfig.from_dict(self.model_dump(mode="python", exclude={"sweep"}))

    def with_values(self, values: Values) -> ExperimentConfig:
        """Return the experiment with some fields changed. A table replaces the whole table of the experiment.

        Raises
        ------
        ConfigError
            When a field does not exist, or a value is not valid.
        """
        document = self.model_dump(mode="python", exclude={"sweep"})
        return self._with(document, values)

    def combinations(self) -> list[Combination]:
        """Return the runs of grid and list; none for a search.

        Raises
        ------
        ConfigError
            With every problem: too many runs, fields that do not exist, wrong values, and equal runs.
        """
        problems = self._form_problems()
        if problems:
            raise ConfigError(problems)
        if self.sweep.search is not None:
            self._check_search(self.sweep.search)
            return []
        document = self.model_dump(mode="python", exclude={"sweep"})
        found, problems, messages = list[Combination](), list[ConfigProblem](), set[ConfigProblem]()
        for values in self.sweep.combinations():
            try:
                found.append(Combination(values, self._with(document, values)))
            except ConfigError as error:
                new = [problem for problem in error.problems if problem not in messages]
                messages.update(new)
                label = format_values(values)
                problems += [ConfigProblem(each.path, f"{each.message} (in the run {label})") for each in new]
        problems = problems or _repeated(found)
        if problems:
            raise ConfigError(problems)
        return found

    def _form_problems(self) -> list[ConfigProblem]:
        """Return the problems of the section that need no experiment."""
        sweep = self.sweep
        problems = [
            ConfigProblem(f"sweep.grid.{path}", "is an empty list: name at least one value, or remove the line")
            for path, values in sweep.grid.items()
            if not values
        ]
        problems += [
            ConfigProblem(f"sweep.list.{number}", "is an empty table: name at least one field")
            for number, values in enumerate(sweep.list)
            if not values
        ]
        space = sweep.search.space if sweep.search is not None else {}
        paths = dict.fromkeys([*sweep.grid, *space, *(path for values in sweep.list for path in values)])
        problems += [
            ConfigProblem(path, "cannot be swept: it does not change the results")
            for path in paths
            if path.partition(".")[0] in _NOT_SWEPT
        ]
        if sweep.search is None and sweep.count > sweep.limit:
            message = (
                f"the sweep has {sweep.count:,} runs, and at most {sweep.limit:,} are allowed: remove values, or set "
                f"sweep.limit = {sweep.count} if they are intended"
            )
            problems.append(ConfigProblem("sweep.limit", message))
        return problems

    def _check_search(self, search: SearchConfig) -> None:
        """Refuse a space with a field or an end of a range that no run can have."""
        base = self.experiment()
        problems = list[ConfigProblem]()
        for path, space in search.space.items():
            if space.step is not None and space.step % 1 and is_whole(base, path):
                problems.append(ConfigProblem(path, f"must have a whole number as its step (given: {space.step:g})"))
            for value in space_ends(base, path, space):
                try:
                    self.with_values({path: value})
                except ConfigError as error:
                    problems += [each for each in error.problems if each not in problems]
        if problems:
            raise ConfigError(problems)

    def _with(self, document: dict[str, Any], values: Values) -> ExperimentConfig:
        changed = copy.deepcopy(document)
        problems = list[ConfigProblem]()
        for path, value in sorted(values.items(), key=lambda item: not item[0].endswith(".kind")):
            parent, _, last = path.rpartition(".")
            try:
                # Another kind has other fields.
                set_field(changed, *((parent, {"kind": value}) if last == "kind" else (path, value)))
            except LookupError as error:
                problems.append(ConfigProblem(path, str(error.args[0])))
        if problems:
            raise ConfigError(problems)
        try:
            return ExperimentConfig.from_dict(changed, folder=self.folder)
        except ConfigError as error:
            raise ConfigError([_with_nearest(problem, document, values) for problem in error.problems]) from error


def space_ends(config: ExperimentConfig, path: str, space: SpaceConfig) -> list[Any]:
    """Return the choices of a field, or both ends of its range as the field's type."""
    if space.choices:
        return space.choices
    whole = is_whole(config, path)
    return [int(end) if whole and end == int(end) else end for end in (space.low or 0.0, space.high or 0.0)]


def is_whole(config: ExperimentConfig, path: str) -> bool:
    """Return whether the field at a dotted path has a whole number."""
    value: Any = config.model_dump(mode="python")
    for key in path.split("."):
        if isinstance(value, (list, tuple)):
            items = cast("Sequence[Any]", value)
            value = items[int(key)] if key.isdecimal() and int(key) < len(items) else None
        else:
            value = value.get(key) if is_table(value) else None
    return isinstance(value, int) and not isinstance(value, bool)


def _with_nearest(problem: ConfigProblem, document: dict[str, Any], values: Values) -> ConfigProblem:
    """Return a problem that names the nearest field, if it is about one that does not exist."""
    if problem.message != _NO_SUCH_FIELD:
        return problem
    start = f"{problem.path}."
    path = next((path for path in values if path.startswith(start)), problem.path)
    known = [name for name in field_paths(document) if name != path]
    same = [name for name in known if name.rpartition(".")[2] == path.rpartition(".")[2]]
    near = difflib.get_close_matches(path, known, n=1, cutoff=0.5) or same[:1]
    hint = f"; the nearest is {near[0]}" if near else ""
    return ConfigProblem(path, f"there is no such field{hint}")


def _repeated(combinations: Sequence[Combination]) -> list[ConfigProblem]:
    """Return a problem for each run with the same experiment as one before."""
    seen: dict[str, int] = {}
    problems = list[ConfigProblem]()
    for number, combination in enumerate(combinations, start=1):
        key = combination.config.model_dump_json()
        if key in seen:
            message = f"runs {seen[key]} and {number} are the same: {format_values(combination.values)}; remove one"
            problems.append(ConfigProblem("sweep", message))
        else:
            seen[key] = number
    return problems


def format_value(value: Any) -> str:
    """Return a value as a short text, such as ``8``, ``true`` or ``{"kind":"glow"}``."""
    text = value if isinstance(value, str) else json.dumps(value, default=str, separators=(",", ":"))
    return plain(text, _SHOWN)


def format_values(values: Values) -> str:
    """Return values as a text, such as ``student.hidden = 8, seeds.first = 2``."""
    return ", ".join(f"{plain(path)} = {format_value(value)}" for path, value in values.items())
