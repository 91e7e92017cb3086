"""The figures by which runs are compared: names, units, and which direction is better. No widgets."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nfkd.config.run_filter import Value
from nfkd.text import plain
from nfkd_gui.model.slices import Steps, run_steps
from nfkd_gui.numbers import format_count, format_duration, format_measure, format_percent

Flow = Literal["student", "baseline", "teacher"]
_STEP = 100  # groups whose names are read in a step


@dataclass(frozen=True)
class Figure:
    """A figure of a flow of a run.

    Attributes
    ----------
    name
        Its name among the values of a run, after that of the flow: ``test`` for ``student_test``.
    title
        In menus and tables.
    label
        At an axis; the title if it is empty.
    unit
        None for the unit of the run's likelihoods.
    larger
        Whether larger is better.
    form
        Writes a value.
    factor
        By which values are multiplied at an axis, where they have `unit`.
    """

    name: str
    title: str
    label: str = ""
    unit: str | None = ""
    larger: bool = False
    form: Callable[[float], str] = format_measure
    factor: float = 1.0

    def key(self, flow: Flow = "student") -> str:
        """Return the name of the figure of a flow among the values of a run."""
        return self.name if self.name == _GAP else f"{flow}_{self.name}"

    def of(self, values: Mapping[str, Value], flow: Flow = "student") -> float:
        """Return the figure of a flow from the values of a run; NaN if it is not known.

        The gap closed is 0 for the baseline and 1 for the teacher, by its definition.
        """
        if self.name == _GAP and flow != "student":
            known = math.isfinite(number_of(values, _GAP))
            return {"baseline": 0.0, "teacher": 1.0}[flow] if known else math.nan
        return number_of(values, self.key(flow))


_GAP = "gap_closed"
_FID, _HASH = "student_fid_", 12  # digits of a network's SHA-256


def _three_digits(value: float) -> str:
    return f"{value:.3g}".replace("-", "−") if math.isfinite(value) else "–"


MEASURES = (
    Figure("test", "Likelihood", "Test NLL", None),
    Figure(_GAP, "Gap closed", unit="%", larger=True, form=format_percent, factor=100.0),
    Figure("fd", "FD-local", form=_three_digits),
    Figure("sw", "Sliced W.", "Sliced Wasserstein distance", form=_three_digits),
    Figure("mmd", "MMD", form=_three_digits),
    Figure("c2st", "C2ST", "C2ST (AUC)"),
    Figure("precision", "Precision", larger=True),
    Figure("recall", "Recall", larger=True),
    Figure("same_noise", "Distance to teacher"),
)
"""How good a student is."""
COSTS = (
    Figure("parameters", "Parameters", form=format_count),
    Figure("samples_per_second", "Samples/s", "Samples per second", larger=True, form=format_count),
    Figure("seconds", "Training time", unit="s", form=format_duration),
    Figure("multiply_adds", "Multiply-adds", form=format_count),
)
"""What it costs."""
FIGURES = {figure.key(): figure for figure in (*COSTS, *MEASURES)}
"""All figures of students by their names among the values of a run, but FID."""


def figure_of(name: str) -> Figure | None:
    """Return a figure of students by its name among the values of a run; None for any other value.

    FID has a figure for each Inception network: its name has the beginning of the network's SHA-256.
    """
    if not name.startswith(_FID):
        return FIGURES.get(name)
    title = f"FID {plain(name.removeprefix(_FID), _HASH)}"
    return Figure(name.removeprefix("student_"), title, form=_three_digits)


def number_of(values: Mapping[str, Value], name: str) -> float:
    """Return a number among the values of a run; NaN if there is none."""
    value = values.get(name)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def known_figures(groups: Iterable[Mapping[str, Value]]) -> list[Figure]:
    """Return the figures that some of the runs have, costs before measures, given the values of each."""
    return run_steps(find_figures(list(groups)))


def find_figures(groups: Sequence[Mapping[str, Value]], among: Collection[str] | None = None) -> Steps[list[Figure]]:
    """Find the figures that `known_figures` returns; `among` has all names of values, if they are known."""
    names = set[str](among or ())  # most figures are in none of the runs
    for number, values in enumerate(groups if among is None else ()):
        if not values.keys() <= names:
            names.update(values)
        if number % _STEP == 0:
            yield
    found = list[Figure]()
    for name in (*FIGURES, *sorted(name for name in names if name.startswith(_FID))):
        figure = figure_of(name)
        if figure is not None and name in names and any(math.isfinite(figure.of(values)) for values in groups):
            found.append(figure)
        yield
    return found


def costs_of(figures: Iterable[Figure]) -> list[Figure]:
    """Return those figures that tell what a student costs."""
    return [figure for figure in figures if figure in COSTS]


def measures_of(figures: Iterable[Figure]) -> list[Figure]:
    """Return those figures that tell how good a student is."""
    return [figure for figure in figures if figure not in COSTS]
