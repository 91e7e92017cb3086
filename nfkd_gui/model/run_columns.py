"""The columns that the table of runs can show: titles, kinds, and numbers as text with equal decimals. No Qt."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, TypeGuard, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from nfkd.config import ExperimentConfig
from nfkd.config.run_filter import Value
from nfkd.text import plain
from nfkd_gui.model.run_groups import TEACHER_FROM, RunGroup
from nfkd_gui.model.setting_names import is_setting
from nfkd_gui.model.slices import Steps, run_steps
from nfkd_gui.numbers import format_count, format_duration, format_measure

Kind = Literal["name", "seeds", "verdict", "test", "gap", "tags", "state", "time", "duration", "count", "measure",
               "setting", "text"]  # fmt: skip
DEFAULT = (
    "name", "seeds", "verdict", "student_test", "gap_closed", "data", "loss", "seconds", "tags", "state", "created",
)  # fmt: skip
"""The first columns, in order."""
FIRST = (
    "name", "verdict", "gap_closed", "student_test", "seeds", "state", "created", "tags", "loss", "seconds", "data",
)  # fmt: skip
"""The same, the most important first: where there is little room, the last ones are left out."""
_TEXTS: dict[str, tuple[str, str, Kind]] = {
    "name": ("Run", "Name of the run and its folder.", "name"),
    "seeds": ("Seeds", "Seeds that have ended, and all seeds.", "seeds"),
    "seeds_done": ("Seeds done", "Seeds that have ended.", "count"),
    "verdict": ("Verdict", "Whether the student is better than its baseline; needs three seeds.", "verdict"),
    "gap_closed": ("Gap closed", "Share of the gap between baseline and teacher that the student closes.", "gap"),
    "data": ("Data", "The data set.", "text"),
    "teacher": ("Teacher", "The teacher and the assistants.", "text"),
    "student": ("Student", "The student.", "text"),
    "loss": ("Loss", "Terms of the student's loss, with weights.", "text"),
    "seconds": ("Time", "Time of all finished stages.", "duration"),
    "tags": ("Tags", "Your labels; Tag … changes them.", "tags"),
    "note": ("Note", "Your note; Note … changes it.", "text"),
    "state": ("State", "Queued, running, finished, interrupted …", "state"),
    "created": ("Created", "When the run was created.", "time"),
    "device": ("Device", "Where it was trained.", "text"),
    "unit": ("Unit", "Unit of the test figures.", "text"),
    TEACHER_FROM: ("Teacher from", "The run in whose folder the weights of the teacher are.", "text"),
}
_ROLES = {"student": "Student", "baseline": "Baseline", "teacher": "Teacher", "ablation": "Ablation"}
_FIGURES: dict[str, tuple[str, str, Kind]] = {
    "test": ("test NLL", "test negative log-likelihood, mean over seeds; lower is better", "test"),
    "validation": ("validation NLL", "negative log-likelihood of validation examples; lower is better", "test"),
    "parameters": ("parameters", "number of trained numbers", "count"),
    "multiply_adds": ("multiply-adds", "multiply-adds of one log-likelihood of one example", "count"),
    "samples_per_second": ("samples/s", "throughput of sampling on the run's device", "count"),
    "seconds": ("time", "training time", "duration"),
    "fd": ("FD-local", "Fréchet distance of samples and test examples; lower is better", "measure"),
    "sw": ("sliced W.", "sliced Wasserstein distance of samples and test examples; lower is better", "measure"),
    "mmd": ("MMD", "squared maximum mean discrepancy of samples and test examples; lower is better", "measure"),
    "c2st": ("C2ST", "area under the curve of a classifier of samples and test examples; 0.5 is best", "measure"),
    "precision": ("precision", "share of samples near test examples; higher is better", "measure"),
    "recall": ("recall", "share of test examples near samples; higher is better", "measure"),
    "train_test_gap": ("train–test gap", "test NLL minus training NLL", "measure"),
    "same_noise": ("same noise", "mean absolute difference from the teacher's samples of the same noise", "measure"),
}
_FID = "Fréchet distance of features of the Inception network whose SHA-256 begins so; others do not compare."
_HASH = 12  # digits of a network's SHA-256
_NUMERIC = {"seeds", "test", "gap", "duration", "count", "measure", "time"}
_MOST_DECIMALS, _SHOWN = 6, 200


@dataclass(frozen=True)
class RunColumn:
    """A column, setting or figure of runs.

    Attributes
    ----------
    title, long_title
        The head of the column, and the title with its section, such as ``Student › Hidden``.
    unit
        Unit of its numbers; may be empty.
    """

    name: str
    title: str
    long_title: str
    tip: str
    kind: Kind
    unit: str = ""


@functools.cache
def describe_column(name: str) -> RunColumn:
    """Return what is known of a column by its name."""
    if name in _TEXTS:
        title, tip, kind = _TEXTS[name]
        return RunColumn(name, title, title, tip, kind)
    role, _, figure = name.partition("_")
    if role in _ROLES and figure.startswith("fid_"):
        short = f"FID {plain(figure.removeprefix('fid_'), _HASH)}"
        title = f"{_ROLES[role]} {short}"
        return RunColumn(name, short if role == "student" else title, title, f"{_ROLES[role]}: {_FID}", "measure")
    if role in _ROLES and figure in _FIGURES:
        title, tip, kind = _FIGURES[figure]
        head = f"{title[:1].upper()}{title[1:]}" if role == "student" else f"{_ROLES[role]} {title}"
        return RunColumn(name, head, f"{_ROLES[role]} {title}", f"{_ROLES[role]}: {tip}.", kind)
    found = list(_fields_on(name))
    if found:
        titles, (info, _) = [_title(info, part) for info, part in found], found[-1]
        extra: Any = info.json_schema_extra or {}
        return RunColumn(
            name, titles[-1], " › ".join(titles), info.description or "", "setting", str(extra.get("unit") or "")
        )
    title = plain(name.replace("_", " "), _SHOWN)
    return RunColumn(name, title, title, "", "setting" if is_setting(name) else "measure")


def titles_of(names: Sequence[str]) -> list[str]:
    """Return the heads of columns; those that would be equal get the title of their section."""
    columns = [describe_column(name) for name in names]
    titles = [column.title for column in columns]
    return [
        column.long_title.replace(" › ", " ") if titles.count(column.title) > 1 else column.title for column in columns
    ]


def _fields_on(path: str) -> Iterable[tuple[FieldInfo, str]]:
    """Yield the configuration's fields on a dotted path, with their keys; none after a key that is not known."""
    models: list[type[BaseModel]] = [ExperimentConfig]
    for part in path.split("."):
        if part.isdigit():
            continue
        infos = [model.model_fields[part] for model in models if part in model.model_fields]
        if not infos:
            return
        yield infos[0], part
        models = list(chain.from_iterable(_models(info.annotation) for info in infos))


def _models(annotation: Any) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _title(info: FieldInfo, part: str) -> str:
    extra: Any = info.json_schema_extra or {}
    return str(extra.get("label") or info.title or part.replace("_", " "))


# --- numbers as text --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ColumnFormat:
    """How the values of a column become text.

    Attributes
    ----------
    decimals
        Decimals of its numbers.
    numeric
        Whether all its values are numbers, which are aligned right.
    deviations
        Whether a group has a deviation.
    equal
        Whether all groups, at least two, have the same value.
    common
        This value.
    """

    column: RunColumn
    decimals: int = 3
    numeric: bool = True
    deviations: bool = False
    equal: bool = False
    common: Value = None

    def fits(self, groups: Collection[RunGroup]) -> bool:
        """Return whether the format stays right when groups with other values are added to many."""
        name = self.column.name
        spread = any(len(group.seeds) > 1 and group.has_deviation(name) for group in groups)
        return all(self._fits(group.values.get(name)) for group in groups) and (self.deviations or not spread)

    def _fits(self, value: Value) -> bool:
        if self.equal and value != self.common:
            return False
        kind = self.column.kind
        if value in (None, "") or isinstance(value, (str, bool)):
            return value in (None, "") or not self.numeric or kind in _NUMERIC
        exact = kind not in {"test", "gap", "measure"} and math.isfinite(value)
        return not exact or _exact_decimals(abs(value)) <= self.decimals

    def text(self, value: Value) -> str:
        """Return a value as text; empty for None."""
        if value is None or value == "":
            return ""
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, str):
            return plain(value, _SHOWN)
        return self._number(value)

    def _number(self, value: float) -> str:
        match self.column.kind:
            case "gap":
                return format_measure(100 * value, 0)
            case "count":
                return format_count(value)
            case "duration":
                return format_duration(value)
            case _:
                return format_measure(value, self.decimals)

    def deviation(self, value: float | None) -> str:
        """Return a deviation with its sign; empty for None."""
        return "" if value is None else f"± {self._number(value)}"


def format_of(name: str, groups: Collection[RunGroup]) -> ColumnFormat:
    """Return the format of a column for groups: decimals that are enough for all of its numbers."""
    return run_steps(find_format(name, groups))


def find_format(name: str, groups: Collection[RunGroup]) -> Steps[ColumnFormat]:
    """Find the format of a column for groups: decimals that are enough for all of its numbers."""
    column = describe_column(name)
    values = [group.values.get(name) for group in groups]
    yield
    distinct = set(values)  # few of many, in most columns
    yield
    texts = any(isinstance(value, str) and value for value in distinct) or bool in set(map(type, values))
    numeric = column.kind in _NUMERIC or (not texts and any(map(_is_number, distinct)))
    figure = column.kind in {"test", "gap", "count", "measure", "duration"}
    yield
    deviations = figure and any(group.has_deviation(name) for group in groups if len(group.seeds) > 1)
    equal = len(values) > 1 and column.kind not in {"name", "seeds"} and len(distinct) == 1
    common = values[0] if equal else None
    yield
    numbers = filter(_is_number, values if column.kind == "measure" else distinct)
    return ColumnFormat(column, _decimals(column.kind, numbers), numeric, deviations, equal, common)


def _is_number(value: Value) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _decimals(kind: Kind, numbers: Iterable[float]) -> int:
    finite = (abs(number) for number in numbers if math.isfinite(number))
    match kind:
        case "test":
            return 3
        case "gap":
            return 0
        case "measure":
            return _measured_decimals(list(finite))
        case _:
            return _most_decimals(finite)


def _measured_decimals(numbers: Sequence[float]) -> int:
    """Return the decimals that give the median three significant digits, or two if it is small."""
    median = statistics.median(numbers) if numbers else 0.0
    if not median:
        return 3
    exponent = math.floor(math.log10(median))
    return max(0, min(2 - exponent, max(3, 1 - exponent), 8))


def _most_decimals(numbers: Iterable[float]) -> int:
    """Return the decimals that are enough for each of the numbers."""
    most = 0
    for number in numbers:
        most = max(most, _exact_decimals(number))
        if most == _MOST_DECIMALS:
            break
    return most


def _exact_decimals(number: float) -> int:
    """Return the decimals of a number as it was written, at most six."""
    return next((count for count in range(_MOST_DECIMALS) if round(number, count) == number), _MOST_DECIMALS)
