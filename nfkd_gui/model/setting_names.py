"""Names of settings for tables and axes, from the titles of the configuration's fields. No widgets."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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


def find_differing(runs: Sequence[Mapping[str, Value]], among: Collection[str] | None = None) -> Steps[list[str]]:
    """Find the settings that `differing_settings` returns.

    Parameters
    ----------
    runs
        The values of each run.
    among
        Names that have all settings that may differ; None if they are not known.
    """
    first = runs[0] if runs else {}
    known = set(first if among is None else among)
    same, differing = {name: first.get(name) for name in known if _is_compared(name)}, set[str]()
    for number, values in enumerate(runs):
        if among is None and not values.keys() <= known:
            new = values.keys() - known
            known |= new
            same |= {name: None for name in new if _is_compared(name)}  # the first run has none of them
        if not same.items() <= values.items():  # much faster than to look for each name
            differing |= {name for name, value in same.items() if values.get(name) != value}
            same = {name: value for name, value in same.items() if name not in differing}
        if number % _STEP == 0:
            yield
    return _in_order(differing, runs)


def _is_compared(name: str) -> bool:
    return is_setting(name) and not name.startswith(_ASIDE)


def _in_order(names: Collection[str], runs: Iterable[Mapping[str, Value]]) -> list[str]:
    """Return names in the order of the first runs that have them."""
    found = dict[str, None]()
    for values in runs:
        if len(found) == len(names):
            break
        found |= dict.fromkeys(name for name in values if name in names)
    return list(found)


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
