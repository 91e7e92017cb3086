"""Figures of curves: means and bands over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nfkd.protocol.records import CurveBatch
from nfkd.protocol.roles import COLOURS, ROLES, Role, role_name
from nfkd.runs.reader import RunRecord
from nfkd.text import plain

RUN_COLOURS = ("#5B4FD1", "#0B8A8F", "#B3245E", "#6C7A00", "#A05A2C", "#3C7DD9", "#A86500", "#6A7280")
"""Colours of runs that are drawn together, for a light background."""
GREY = "#555555"
_MAX_MARKED = 20  # points of a curve that get markers
_MAX_TEXT = 200  # characters
_START = 0.1  # of the points of a curve: they may leave the picture, where the first steps are far above the rest
_LINES = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class SeedBand:
    """A curve over seeds: mean, lowest and highest value at the steps that all seeds have.

    Attributes
    ----------
    steps
        (n,) int64.
    mean, low, high
        (n,) float64; NaN where a seed's value is.
    seeds
        Number of seeds.
    """

    steps: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: int

    @classmethod
    def of(cls, batches: Iterable[CurveBatch]) -> SeedBand | None:
        """Return the band of the seeds that have points; None if they have no step in common."""
        found = [(*np.unique(batch.steps, return_index=True), batch.values) for batch in batches if len(batch.steps)]
        if not found:
            return None
        steps = reduce(np.intersect1d, [known for known, _, _ in found])
        if not len(steps):
            return None
        rows = np.stack([values[first[np.isin(known, steps)]] for known, first, values in found])
        return cls(steps, rows.mean(axis=0), rows.min(axis=0), rows.max(axis=0), len(rows))


def plot_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def escape_text(text: str) -> str:
    """Return untrusted text for matplotlib, which would read text between dollar signs as mathematics."""
    return plain(text, _MAX_TEXT).replace("$", r"\$")


def tidy_axes(axes: Axes) -> None:
    """Add a grid, remove the lines at the top and at the right, and write the values in full."""
    axes.grid(alpha=0.25)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.spines[["top", "right"]].set_visible(False)


def draw_curves(record: RunRecord) -> Figure | None:
    """Draw the negative log-likelihood of each flow: training thin, validation bold, with a band over several seeds.

    Returns
    -------
    Figure or None
        None before the first seed.
    """
    if not record.seeds:
        return None
    figure = plot_figure(7.5, 4.2)
    axes = figure.add_subplot()
    shown: list[SeedBand] = []
    for role in ROLES:
        training, validation = (_band(record, role, name) for name in ("train/nll", "validation/nll"))
        if training is not None:
            axes.plot(training.steps, training.mean, color=COLOURS[role], linewidth=0.8, alpha=0.35)
        if validation is not None:
            _draw(axes, validation, COLOURS[role], width=1.8, label=f"{role_name(role)}, validation")
            shown.append(validation)
    _limit(axes, shown)
    axes.set(xlabel="Step", ylabel=f"Negative log-likelihood ({escape_text(_unit(record))})")
    band = " Band: lowest to highest seed." if any(each.seeds > 1 for each in shown) else ""
    axes.set_title(f"Thin: training. Bold: validation.{band}", fontsize=9, loc="left", color=GREY)
    tidy_axes(axes)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def draw_validation(runs: Sequence[tuple[str, RunRecord]]) -> Figure | None:
    """Draw the students' negative log-likelihood on the validation examples, of runs of the same data.

    Parameters
    ----------
    runs
        Label and record of each run.

    Returns
    -------
    Figure or None
        None if no run has such a curve.
    """
    figure = plot_figure(7.5, 4.2)
    axes = figure.add_subplot()
    shown: list[SeedBand] = []
    for number, (label, record) in enumerate(runs):
        band = _band(record, "student", "validation/nll")
        if band is None:
            continue
        colour, line = RUN_COLOURS[number % len(RUN_COLOURS)], _LINES[number // len(RUN_COLOURS) % len(_LINES)]
        _draw(axes, band, colour, width=1.6, label=escape_text(label), line=line)
        shown.append(band)
    if not shown:
        return None
    _limit(axes, shown)
    axes.set(xlabel="Step of the student", ylabel=f"Validation NLL ({escape_text(_unit(runs[0][1]))})")
    tidy_axes(axes)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    return figure


def _band(record: RunRecord, role: Role, name: str) -> SeedBand | None:
    views = [seed.stages[role] for seed in record.seeds.values() if role in seed.stages]
    return SeedBand.of(view.curves[name] for view in views if name in view.curves)


def _unit(record: RunRecord) -> str:
    plans = [plan for seed in record.seeds.values() for plan in seed.started.stages]
    units = [info.unit for plan in plans for info in plan.curves if info.name == "validation/nll"]
    return units[-1] if units else ""


def _draw(axes: Axes, band: SeedBand, colour: str, *, width: float, label: str, line: str = "-") -> None:
    marker = "o" if len(band.steps) <= _MAX_MARKED else ""  # a line through one point would be invisible
    style: dict[str, Any] = {"color": colour, "linewidth": width, "marker": marker, "markersize": 1.6 * width}
    axes.plot(band.steps, band.mean, line, label=label, **style)
    if band.seeds > 1:
        axes.fill_between(band.steps, band.low, band.high, color=colour, alpha=0.18, linewidth=0)


def _limit(axes: Axes, bands: Sequence[SeedBand]) -> None:
    """Cut off what is above all bold curves after their first tenth, if that makes the rest twice as high."""
    lows = [band.low[np.isfinite(band.low)] for band in bands]
    highs = [band.high[int(_START * len(band.high)) :] for band in bands]
    highs = [high[np.isfinite(high)] for high in highs]
    if not all(map(len, [*lows, *highs])) or not bands:
        return
    low, high = min(float(each.min()) for each in lows), max(float(each.max()) for each in highs)
    bottom, top = axes.get_ylim()
    if top - bottom > 2 * (high - low) > 0:
        axes.set_ylim(low - 0.05 * (high - low), high + 0.1 * (high - low))
