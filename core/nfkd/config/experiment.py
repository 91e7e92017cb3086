"""The experiment: the root of the configuration."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from pydantic import PrivateAttr, ValidationError, ValidationInfo, field_validator

from nfkd.config.base import Config, field
from nfkd.config.data import DataConfig
from nfkd.config.datasets import base_folder, override_value, resolve_data_table
from nfkd.config.distillation import DistillationConfig
from nfkd.config.fields import set_field
from nfkd.config.flows import FLOWS, FlowConfig
from nfkd.config.monitor import MonitorConfig
from nfkd.config.older import upgrade
from nfkd.config.presets import preset_names, preset_path
from nfkd.config.problems import ConfigError, ConfigProblem, problems_of
from nfkd.config.toml import is_table, read_text, toml_document, toml_text, toml_value
from nfkd.config.training import ComputeConfig, SeedsConfig, TrainingConfig, absolute_weights_path
from nfkd.files import is_folder, is_regular, is_taken, replace_file
from nfkd.text import name_problem


class ExperimentConfig(Config, frozen=True):
    """A distillation experiment.

    Examples
    --------
    >>> config = ExperimentConfig.load("digits")
    >>> config.student.steps
    2
    """

    name: str = field("untitled", title="Name", help="Names the folder of the run.")
    description: str = field(
        "", title="Description", help="Your notes on the experiment.", max_length=2000, multiline=True
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
        strict=False,  # TOML arrays are lists
        max_length=3,
    )
    student: FlowConfig = field(title="Student", help="The small flow that learns from the teacher.")
    distillation: DistillationConfig = field(
        title="Loss", help="The student's loss.", default_factory=DistillationConfig
    )
    training: TrainingConfig = field(
        title="Training", help="The optimizer and the budget.", default_factory=TrainingConfig
    )
    seeds: SeedsConfig = field(title="Seeds", help="Repetitions.", default_factory=SeedsConfig)
    compute: ComputeConfig = field(title="Compute", help="The device and its threads.", default_factory=ComputeConfig)
    monitor: MonitorConfig = field(
        title="Monitoring", help="What is measured and drawn during training.", default_factory=MonitorConfig
    )
    _notices: list[ConfigProblem] = PrivateAttr(default_factory=list[ConfigProblem])

    def __eq__(self, other: object) -> bool:
        """Compare the fields; where they came from does not count."""
        return isinstance(other, ExperimentConfig) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        """Return a hash of the fields."""
        return hash(tuple(self.__dict__.values()))

    def model_post_init(self, context: Any) -> None:
        """Keep the notices of `from_dict` and `replace`."""
        if context:
            self._notices.extend(context.get("notices", []))

    @property
    def notices(self) -> list[ConfigProblem]:
        """What the user should know about fields of an older form that were converted."""
        return list(self._notices)

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if problem := name_problem(name):
            raise ValueError(problem)
        return name

    @field_validator("data", mode="before")
    @classmethod
    def _resolve_data(cls, value: Any, info: ValidationInfo) -> Any:
        return resolve_data_table(value, base_folder(info))

    @classmethod
    def load(cls, source: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Self:
        """Read an experiment file or a preset.

        Parameters
        ----------
        source
            The path of a TOML file, or the name of a preset; an existing file takes precedence.
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
        """Validate an experiment as TOML text; arguments and errors as in `load`.

        Relative paths start from `folder`, in `overrides` from the working directory. The kinds of flows are set first:
        another kind drops the fields of the former one that it does not have.
        """
        document = toml_document(text, source)
        ordered = sorted(overrides, key=lambda assignment: _flow_of(assignment.partition("=")[0].strip()) == "")
        problems = [problem for assignment in ordered if (problem := _assign(document, assignment, folder or Path()))]
        if problems:
            raise ConfigError(problems, source)
        return cls.from_dict(document, source=source, folder=folder)

    @classmethod
    def from_dict(cls, document: dict[str, Any], *, source: str = "", folder: Path | None = None) -> Self:
        """Validate an experiment as nested dictionaries; relative paths start from `folder`.

        Raises
        ------
        ConfigError
            With every problem, each with its path.
        """
        document, notices = upgrade(document)
        return cls._validated(document, source=source, folder=folder, notices=notices)

    @classmethod
    def _validated(
        cls, document: dict[str, Any], *, notices: list[ConfigProblem], source: str = "", folder: Path | None = None
    ) -> Self:
        try:
            return cls.model_validate(document, context={"folder": folder or Path(), "notices": notices})
        except ValidationError as error:
            raise ConfigError(problems_of(error), source) from error

    def to_toml(self) -> str:
        """Return the experiment with all fields as TOML text."""
        return toml_text(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the experiment to a file, atomically."""
        replace_file(Path(path), self.to_toml().encode())

    def digest(self) -> str:
        """Return 16 hexadecimal digits that are equal for experiments with the same results, apart from the seeds.

        Name, description, seeds, device and monitoring do not count.
        """
        ignored = {"name", "description", "seeds", "compute", "monitor"}
        fields = json.dumps(self.model_dump(mode="json", exclude=ignored), sort_keys=True)
        return hashlib.sha256(fields.encode()).hexdigest()[:16]

    def first_difference(self, other: Self) -> str:
        """Return the path of the first field that differs, apart from the description; empty if none does."""
        other = other.model_copy(update={"description": self.description})
        return _first_difference(self.model_dump(mode="python"), other.model_dump(mode="python"))

    def replace(self, **changes: Any) -> Self:
        """Return a validated copy with some fields changed; nested dictionaries are merged.

        Raises
        ------
        ConfigError
            When a change is not valid.
        """
        changes, notices = upgrade(changes)
        document = _merge(self.model_dump(mode="python"), changes)
        kept = [notice for notice in self._notices if not _is_set(changes, notice.path)]
        return self._validated(document, notices=[*kept, *notices])


_PATH_FIELDS = {"training.teacher_weights", "distillation.skd.perceptual_weights"}


def _is_set(changes: dict[str, Any], path: str) -> bool:
    """Return whether nested changes set the field with a dotted path."""
    first, _, rest = path.partition(".")
    if first not in changes or not rest:
        return first in changes
    return is_table(changes[first]) and _is_set(changes[first], rest)


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    if changes.get("kind", base.get("kind")) != base.get("kind"):
        return changes  # another kind has other fields
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if is_table(value) and is_table(old) else value
    return merged


def _first_difference(own: dict[str, Any], other: dict[str, Any]) -> str:
    for key in [*own, *other]:
        first, second = own.get(key), other.get(key)
        if first != second:
            return f"{key}.{_first_difference(first, second)}" if is_table(first) and is_table(second) else key
    return ""


def _assign(document: dict[str, Any], assignment: str, folder: Path) -> ConfigProblem | None:
    path, equals, raw = assignment.partition("=")
    path = path.strip()
    if not equals or not path:
        return ConfigProblem("--set", f"{assignment!r} is not of the form path=value")
    *parents, last = path.split(".")
    value = override_value(last, raw.strip()) if parents == ["data"] else toml_value(raw.strip())
    if path == "data" or parents == ["data"]:
        try:
            value = _resolve_data_override(document, path, value, folder)
        except ValueError as error:
            return ConfigProblem("data", str(error))
    if path in _PATH_FIELDS and isinstance(value, str):
        value = absolute_weights_path(value, Path())
    try:
        set_field(document, path, value)
    except LookupError as error:
        return ConfigProblem(path, str(error.args[0]))
    if flow := _flow_of(path):
        section: Any = document
        for key in flow.split("."):
            section = section[int(key) if key.isdecimal() else key]
        _drop_other_fields(section, value)
    return None


def _flow_of(path: str) -> str:
    """Return the path of the flow whose kind a path names; empty if it names another field."""
    flow, _, last = path.rpartition(".")
    return flow if last == "kind" and flow.partition(".")[0] in {"teacher", "assistants", "student"} else ""


def _drop_other_fields(flow: Any, kind: Any) -> None:
    """Drop the fields of a flow that its kind does not have; none if the kind is not known."""
    model = next((model for model in FLOWS if model.model_fields["kind"].default == kind), None)
    if model is not None and is_table(flow):
        for name in [name for name in flow if name not in model.model_fields]:
            del flow[name]


def _resolve_data_override(document: dict[str, Any], path: str, value: Any, folder: Path) -> Any:
    """Resolve an override of the data; its paths start from the working directory, the file's own from `folder`."""
    if path == "data":
        return resolve_data_table(value, Path())
    table = document["data"] = resolve_data_table(document.get("data", {}), folder)
    name = path.removeprefix("data.")
    return resolve_data_table({"kind": table.get("kind"), name: value}, Path())[name] if is_table(table) else value
