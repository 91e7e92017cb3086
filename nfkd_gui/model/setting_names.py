"""Names of settings for tables and axes, from the titles of the configuration's fields. No widgets."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from nfkd.config import ExperimentConfig
from nfkd.config.run_filter import Value
from nfkd.text import plain
from nfkd_gui.model.slices import Steps, run_steps
from nfkd_gui.numbers import format_count

_ASIDE = ("name", "description", "data.", "compute.", "monitor.", "seeds.")
"""Settings that do not describe a student."""
_FIRST = ("student.", "distillation.", "training.")
_IMPLIED = {"Student", "Loss", "Training"}
_LONGEST = 40
_STEP = 100  # runs whose names are read in a step


@functools.cache
def is_setting(name: str) -> bool:
    """Return whether a value of a run is a setting in a section of its file, and not a figure or a column.

    Examples
    --------
    >>> is_setting("student.hidden"), is_setting("student_layer_mse.step2")
    (True, False)
    """
    section, _, key = name.partition(".")
    return bool(key) and section in ExperimentConfig.model_fields


@functools.cache
def setting_title(path: str) -> str:
    """Return the title of a setting by its dotted path: ``Hidden`` for ``student.hidden``; else the path itself.

    Examples
    --------
    >>> setting_title("teacher.levels")
    'Teacher: Levels'
    """
    titles, models = list[str](), [ExperimentConfig]
    for part in path.split("."):
        if part.isdigit():
            titles.append(str(int(part) + 1))
            continue
        found = next((model.model_fields[part] for model in models if part in model.model_fields), None)
        if found is None:
            return path
        models = list(_models(found.annotation))
        titles.append((_label(found) if models else "") or found.title or part)
    if len(titles) > 1 and titles[0] in _IMPLIED:
        titles = titles[1:]
    if len(titles) > 1 and titles[-1] == "Weight":
        titles = titles[:-1]
    return ": ".join(titles)


def _label(found: FieldInfo) -> str:
    extra = found.json_schema_extra
    return str(extra.get("label", "")) if isinstance(extra, Mapping) else ""


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Return the models in an annotation: one, or the members of a union or a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def differing_settings(runs: Sequence[Mapping[str, Value]]) -> list[str]:
    """Return the settings of students, losses and training that are not the same in all runs, as in their files."""
    return run_steps(find_differing(runs))


def find_differing(runs: Sequence[Mapping[str, Value]]) -> Steps[list[str]]:
    """Find the settings of students, losses and training that are not the same in all runs, as in their files."""
    names = dict[str, None]()
    for number, values in enumerate(runs):
        names |= dict.fromkeys(values)
        if number % _STEP == 0:
            yield
    found = list[str]()
    for name in names:
        if is_setting(name) and not name.startswith(_ASIDE):
            if len({values.get(name) for values in runs}) > 1:
                found.append(name)
            yield
    return found


def by_importance(names: Sequence[str]) -> list[str]:
    """Return settings of the student first, then those of loss and training, then the others."""
    return sorted(names, key=lambda name: next((n for n, part in enumerate(_FIRST) if name.startswith(part)), 9))


def format_setting(value: Value) -> str:
    """Return the value of a setting as text."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str):
        return plain(value, _LONGEST).replace("_", " ") or "–"
    if float(value).is_integer() and abs(value) < 1e6:
        return f"{value:,.0f}".replace("-", "−")
    return format_count(value) if abs(value) >= 1e6 else f"{value:.4g}".replace("-", "−")
