"""The whole experiment: one file, validated at once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self, TypeGuard, cast

import tomlkit
import tomlkit.exceptions
from pydantic import ValidationError

from nfkd.config.base import Config, field
from nfkd.config.data import DataConfig
from nfkd.config.distillation import DistillationConfig
from nfkd.config.errors import ConfigError, Fault
from nfkd.config.flows import FlowConfig
from nfkd.config.presets import preset_names, preset_path
from nfkd.config.training import ComputeConfig, MonitorConfig, SeedsConfig, TrainingConfig


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
        min_length=1,
        max_length=80,
        pattern=r"^[^/\\:*?\"<>|\x00-\x1f.][^/\\:*?\"<>|\x00-\x1f]*$",
    )
    description: str = field(
        "", title="Description", help="What is tried here, in your words.", max_length=2000, multiline=True
    )
    data: DataConfig = field(title="Data", help="What the flows are trained on.")
    teacher: FlowConfig = field(title="Teacher", help="The large flow that is trained first.")
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
            With every fault, each with its path.
        """
        path = Path(source)
        if not path.is_file():
            if str(source) not in preset_names():
                known = ", ".join(preset_names())
                raise ConfigError(
                    [Fault("", f"no such experiment file, and no preset of that name ({known})")], str(source)
                )
            path = preset_path(str(source))
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError([Fault("", f"cannot be read: {error}")], str(source)) from error
        return cls.from_toml(text, overrides, source=str(source))

    @classmethod
    def from_toml(cls, text: str, overrides: Iterable[str] = (), *, source: str = "") -> Self:
        """Validate an experiment given as TOML text; arguments and errors as in `load`."""
        try:
            document = tomlkit.parse(text).unwrap()
        except tomlkit.exceptions.TOMLKitError as error:
            raise ConfigError([Fault("", f"not a TOML file: {error}")], source) from error
        faults = [fault for assignment in overrides if (fault := _assign(document, assignment))]
        if faults:
            raise ConfigError(faults, source)
        return cls.from_dict(document, source=source)

    @classmethod
    def from_dict(cls, document: dict[str, Any], *, source: str = "") -> Self:
        """Validate an experiment given as nested dictionaries.

        Raises
        ------
        ConfigError
            With every fault, each with its path.
        """
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise ConfigError(faults_of(error), source) from error

    def to_toml(self) -> str:
        """Return the experiment as TOML text, every field written out."""
        return tomlkit.dumps(_kind_first(self.model_dump(mode="python")))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the experiment to a file, whole or not at all."""
        target = Path(path)
        temporary = target.with_name(target.name + ".tmp")
        temporary.write_text(self.to_toml(), encoding="utf-8")
        temporary.replace(target)

    def replace(self, **changes: Any) -> Self:
        """Return a validated copy with some fields changed; nested dictionaries are merged.

        Raises
        ------
        ConfigError
            Where a change is not valid.
        """
        return self.from_dict(_merge(self.model_dump(mode="python"), changes))


def _kind_first(table: dict[str, Any]) -> dict[str, Any]:
    ordered = sorted(table.items(), key=lambda item: item[0] != "kind")
    return {key: _kind_first(value) if _is_table(value) else _listed(value) for key, value in ordered}


def _listed(value: Any) -> Any:
    return [_listed(item) for item in cast("tuple[Any, ...]", value)] if isinstance(value, tuple) else value


def _is_table(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    if changes.get("kind", base.get("kind")) != base.get("kind"):
        return changes  # another kind of flow or data has other fields
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if _is_table(value) and _is_table(old) else value
    return merged


def _assign(document: dict[str, Any], assignment: str) -> Fault | None:
    path, equals, raw = assignment.partition("=")
    path = path.strip()
    if not equals or not path:
        return Fault("--set", f"{assignment!r} is not of the form path=value")
    *parents, last = path.split(".")
    table = document
    for key in parents:
        below: Any = table.setdefault(key, {})
        if not _is_table(below):
            return Fault(path, f"{key} is a value, not a section")
        table = below
    table[last] = _toml_value(raw.strip())
    return None


def _toml_value(text: str) -> Any:
    try:
        return tomlkit.parse(f"value = {text}\n").unwrap()["value"]
    except (tomlkit.exceptions.ParseError, ValueError):
        return text  # a bare word is meant as text: --set compute.device=cpu


def faults_of(error: ValidationError) -> list[Fault]:
    """Return pydantic's errors as faults, each with its path in the file."""
    return [Fault(_path(item), _words(item)) for item in error.errors(include_url=False)]


def _path(item: Any) -> str:
    parts = list(item["loc"])
    if item["type"].startswith("union_tag"):
        parts.append("kind")
    elif len(parts) > 1 and parts[0] in {"data", "teacher", "student", "flow"}:
        del parts[1]  # pydantic names the chosen member of a union (teacher.glow.hidden): no file has it there
    return ".".join(str(part) for part in parts)


def _words(item: Any) -> str:  # noqa: PLR0911 - one line for each kind of fault
    kind, context = item["type"], item.get("ctx", {})
    match kind:
        case "extra_forbidden":
            return "there is no such field here"
        case "missing":
            return "is required"
        case "union_tag_invalid":
            return f"{context['tag']!r} is not known; choose one of {context['expected_tags']}"
        case "union_tag_not_found":
            return "needs a field 'kind'"
        case "tuple_type" | "list_type":
            return f"must be a list{_given(item)}"
        case "too_short":
            return f"needs at least {context['min_length']:,}, and has {context['actual_length']:,}"
        case "value_error":
            return str(context["error"])
        case "string_pattern_mismatch":
            return 'may not be empty, begin with a dot or hold any of / \\ : * ? " < > |'
        case _:
            message = str(item["msg"])
            return message[:1].lower() + message[1:] + _given(item)


def _given(item: Any) -> str:
    given = item.get("input")
    return f" (given: {given!r})" if isinstance(given, (bool, int, float, str)) else ""
