"""The whole experiment: one file, validated at once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError, ValidationInfo, field_validator

from nfkd.config.base import Config, field
from nfkd.config.data import DataConfig
from nfkd.config.distillation import DistillationConfig
from nfkd.config.flows import FlowConfig
from nfkd.config.named import folder_of, whole_table
from nfkd.config.presets import preset_names, preset_path
from nfkd.config.problems import ConfigError, ConfigProblem, problems_of
from nfkd.config.toml import is_table, read_text, toml_document, toml_text, toml_value
from nfkd.config.training import ComputeConfig, MonitorConfig, SeedsConfig, TrainingConfig, whole_weights
from nfkd.files import is_folder, is_regular, is_taken, replace_file
from nfkd.text import name_problem


class ExperimentConfig(Config, frozen=True):
    """Everything that decides a distillation experiment.

    Examples
    --------
    >>> config = ExperimentConfig.load("digits")
    >>> config.student.steps
    2
    """

    name: str = field(
        "untitled",
        title="Name",
        help="Names the folder of the run.",
    )
    description: str = field(
        "", title="Description", help="What is tried here, in your words.", max_length=2000, multiline=True
    )
    data: DataConfig = field(title="Data", help="What the flows are trained on.")
    teacher: FlowConfig = field(title="Teacher", help="The large flow that is trained first.")
    assistants: tuple[FlowConfig, ...] = field(
        (),
        title="Assistants",
        help=(
            "Flows of sizes between teacher and student, in order: each learns from the one before, the first from the "
            "teacher, and the student from the last (Mirzadeh et al. 2020, arXiv 1902.03393)."
        ),
        each="assistant",
        between=("teacher", "student"),
        strict=False,  # TOML has arrays, and they arrive as lists
        max_length=3,
    )
    student: FlowConfig = field(title="Student", help="The small flow that learns from the teacher.")
    distillation: DistillationConfig = field(
        title="Distillation", help="The student's loss.", default_factory=DistillationConfig
    )
    training: TrainingConfig = field(
        title="Training", help="The optimizer and the budget.", default_factory=TrainingConfig
    )
    seeds: SeedsConfig = field(title="Seeds", help="Repetitions.", default_factory=SeedsConfig)
    compute: ComputeConfig = field(title="Compute", help="Where it runs.", default_factory=ComputeConfig)
    monitor: MonitorConfig = field(title="Monitor", help="What is shown meanwhile.", default_factory=MonitorConfig)

    @field_validator("name")
    @classmethod
    def _fit_for_a_folder(cls, name: str) -> str:
        if problem := name_problem(name):
            raise ValueError(problem)
        return name

    @field_validator("data", mode="before")
    @classmethod
    def _whole_data(cls, value: Any, info: ValidationInfo) -> Any:
        return whole_table(value, folder_of(info))

    @classmethod
    def load(cls, source: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Self:
        """Read an experiment file, or a preset by its name.

        Parameters
        ----------
        source
            A path to a TOML file, or the name of a preset; a file of that name wins.
        overrides
            Assignments such as ``student.hidden=32``, applied before validation.

        Raises
        ------
        ConfigError
            With every problem, each with its path.
        """
        path = Path(source)
        if not is_regular(path) and str(source) in preset_names():
            path = preset_path(str(source))
        elif is_folder(path) or not is_taken(path):
            known = ", ".join(preset_names())
            raise ConfigError(
                [ConfigProblem("", f"no such experiment file, and no preset of that name ({known})")], str(source)
            )
        return cls.from_toml(read_text(path), overrides, source=str(source), folder=path.absolute().parent)

    @classmethod
    def from_toml(
        cls, text: str, overrides: Iterable[str] = (), *, source: str = "", folder: Path | None = None
    ) -> Self:
        """Validate an experiment given as TOML text; arguments and errors as in `load`.

        Relative paths start from `folder`, those in `overrides` from the working directory.
        """
        document = toml_document(text, source)
        problems = [problem for assignment in overrides if (problem := _assign(document, assignment, folder or Path()))]
        if problems:
            raise ConfigError(problems, source)
        return cls.from_dict(document, source=source, folder=folder)

    @classmethod
    def from_dict(cls, document: dict[str, Any], *, source: str = "", folder: Path | None = None) -> Self:
        """Validate an experiment given as nested dictionaries; relative paths start from `folder`.

        Raises
        ------
        ConfigError
            With every problem, each with its path.
        """
        try:
            return cls.model_validate(document, context={"folder": folder or Path()})
        except ValidationError as error:
            raise ConfigError(problems_of(error), source) from error

    def to_toml(self) -> str:
        """Return the experiment as TOML text, every field written out."""
        return toml_text(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the experiment to a file, whole or not at all."""
        replace_file(Path(path), self.to_toml().encode())

    def replace(self, **changes: Any) -> Self:
        """Return a validated copy with some fields changed; nested dictionaries are merged.

        Raises
        ------
        ConfigError
            Where a change is not valid.
        """
        return self.from_dict(_merge(self.model_dump(mode="python"), changes))


_FILES = {"training.teacher_weights", "distillation.skd.perceptual_weights"}


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    if changes.get("kind", base.get("kind")) != base.get("kind"):
        return changes  # another kind of flow or data has other fields
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if is_table(value) and is_table(old) else value
    return merged


def _assign(document: dict[str, Any], assignment: str, folder: Path) -> ConfigProblem | None:
    path, equals, raw = assignment.partition("=")
    path = path.strip()
    if not equals or not path:
        return ConfigProblem("--set", f"{assignment!r} is not of the form path=value")
    *parents, last = path.split(".")
    value = toml_value(raw.strip())
    if path == "data" or parents == ["data"]:
        try:
            value = _data_value(document, path, value, folder)
        except ValueError as error:
            return ConfigProblem("data", str(error))
    if path in _FILES and isinstance(value, str):
        value = whole_weights(value, Path())
    table: Any = document
    try:
        for key, following in pairwise([*parents, last]):
            table = _below(table, key, following)
        _put(table, last, value)
    except LookupError as error:
        return ConfigProblem(path, str(error.args[0]))
    return None


def _below(table: Any, key: str, following: str) -> Any:
    """Return the section of a name, or of a number in a list; made where it is not there.

    Raises
    ------
    LookupError
        Where there is no such place, in words.
    """
    place = _place(table, key)
    if place == len(table) or (is_table(table) and key not in table):
        _put(table, key, [] if following.isdecimal() else {})
    below = table[place]
    if type(below) not in {dict, list}:
        msg = f"{key} is a value, not a section"
        raise LookupError(msg)
    return below


def _put(table: Any, key: str, value: Any) -> None:
    place = _place(table, key)
    if place == len(table):
        table.append(value)
    else:
        table[place] = value


def _place(table: Any, key: str) -> Any:
    """Return what a key is in a section, its own name, and in a list, its number: at most the one after the last."""
    if is_table(table):
        return key
    if not key.isdecimal() or int(key) > len(table):
        msg = f"{key} is no place in a list of {len(table)}: they are counted from 0"
        raise LookupError(msg)
    return int(key)


def _data_value(document: dict[str, Any], path: str, value: Any, folder: Path) -> Any:
    """Return a value for the data: a path that is typed starts from the working directory, not from the file's."""
    if path == "data":
        return whole_table(value, Path())
    table = document["data"] = whole_table(document.get("data", {}), folder)
    name = path.removeprefix("data.")
    return whole_table({"kind": table.get("kind"), name: value}, Path())[name] if is_table(table) else value
