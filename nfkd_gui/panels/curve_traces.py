"""Which lines a plot of curves has: the shown seed's, or all seeds' with their mean and band. No widgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nfkd.protocol.roles import Role
from nfkd.protocol.view import Curve, RunView
from nfkd_gui.panels.quantities import Quantity
from nfkd_gui.plotting.axes import ScaleKind
from nfkd_gui.plotting.lines import Smoother

MEAN = 0
"""The seed of the mean over seeds in a `Key`."""
Key = tuple[int, Role, str]
"""Seed, flow and name of a curve."""
XAxis = Literal["step", "epoch", "time"]
Band = Literal["range", "deviation"]
Weight = Literal["bold", "thin", "live", "faint"]
"""A main line, a training line, a seed in training beside the mean of others, another seed."""


@dataclass(frozen=True)
class CurveSettings:
    """How curves are drawn.

    Attributes
    ----------
    smoothing
        Weight of the moving average, in [0, 1); the raw line stays visible behind it.
    axis
        What the x axis shows.
    values
        The scale of the y axis.
    roles
        Roles whose curves are shown.
    all_seeds
        Whether all seeds are shown, with the mean and the band of those that have ended, or only one.
    band
        What the band spans: minimum and maximum, or the mean ± one standard deviation.
    ignore_outliers
        Whether the y axis spans only the 5th to the 95th percentile of the values.
    """

    smoothing: float = 0.0
    axis: XAxis = "step"
    values: ScaleKind = "linear"
    roles: frozenset[Role] = frozenset()
    all_seeds: bool = True
    band: Band = "range"
    ignore_outliers: bool = False


@dataclass(frozen=True)
class MeanCurve:
    """The mean of a curve over seeds, and its band; arrays of one length, as those of `Curve`."""

    steps: np.ndarray
    times: np.ndarray
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: int

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True)
class Trace:
    """A line of a plot.

    Attributes
    ----------
    key
        Identifies the line.
    curve
        Its points.
    weight
        How strongly it is drawn.
    epoch
        Steps of an epoch; 0 where it is not known.
    smoothing
        As in `CurveSettings`; 0 for points that are measurements, and for means, which are smoothed before.
    """

    key: Key
    curve: Curve | MeanCurve
    weight: Weight
    epoch: int
    smoothing: float

    @property
    def role(self) -> Role:
        """The flow."""
        return self.key[1]

    def unit(self, axis: XAxis) -> float:
        """Return the steps, or seconds, of one unit of the x axis."""
        return float(self.epoch or 1) if axis == "epoch" else 1.0

    def x(self, axis: XAxis) -> np.ndarray:
        """Return the x values, (n,), in steps or seconds."""
        return self.curve.times if axis == "time" else self.curve.steps


class Traces:
    """Lists the lines of one quantity; means over seeds are computed again only when a seed has ended."""

    def __init__(self, quantity: Quantity) -> None:
        self._quantity = quantity
        self._means: dict[tuple[Role, str], tuple[object, MeanCurve]] = {}

    def list(self, view: RunView, seed: int, settings: CurveSettings) -> list[Trace]:
        """Return the lines of a run."""
        found: list[Trace] = []
        for name in self._quantity.curves:
            for role in view.roles():
                if role in settings.roles:
                    found += self._of_role(view, seed, role, name, settings)
        return found

    def _of_role(self, view: RunView, seed: int, role: Role, name: str, settings: CurveSettings) -> list[Trace]:
        stages = {each: stage for (each, other), stage in view.stages.items() if other == role}
        curves = {each: stage.curves[name] for each, stage in stages.items() if len(stage.curves.get(name, ()))}
        shown = view.find_stage(seed, role)
        own = next((each for each, stage in stages.items() if stage is shown), None)
        bold = name == self._quantity.curves[-1]
        weight = 0.0 if name.startswith("validation/") else settings.smoothing  # few points, each a measurement

        def trace(each: int, strength: Weight) -> Trace:
            plan = view.plan(each, role)
            return Trace((each, role, name), curves[each], strength, plan.epoch if plan else 0, weight)

        if not bold or not settings.all_seeds:
            return [trace(own, "bold" if bold else "thin")] if own in curves else []
        ended = [each for each in curves if stages[each].summary is not None]
        if len(ended) < 2:
            return [trace(each, "bold" if each == own else "faint") for each in curves]
        mean = self._mean(role, name, [curves[each] for each in ended], weight, settings.band)
        plan = view.plan(ended[0], role)
        rest = [trace(each, "live") for each in curves if each not in ended]
        return [Trace((MEAN, role, name), mean, "bold", plan.epoch if plan else 0, 0.0), *rest]

    def _mean(self, role: Role, name: str, curves: Sequence[Curve], weight: float, band: Band) -> MeanCurve:
        state = [(id(curve), len(curve)) for curve in curves], weight, band
        known = self._means.get((role, name))
        if known is None or known[0] != state:
            known = self._means[role, name] = state, mean_curve(curves, weight, band)
        return known[1]


def mean_curve(curves: Sequence[Curve], weight: float, band: Band) -> MeanCurve:
    """Return the mean and the band over seeds, at each step over the seeds that have a finite value there."""
    smooth = [Smoother()(curve.values, weight) for curve in curves]
    first = curves[0].steps
    if all(np.array_equal(curve.steps, first) for curve in curves):
        steps, rows, times = first, np.stack(smooth), np.stack([curve.times for curve in curves])
    else:
        steps = np.unique(np.concatenate([curve.steps for curve in curves]))
        rows, times = np.full((2, len(curves), len(steps)), np.nan)
        for number, curve in enumerate(curves):
            places = np.searchsorted(steps, curve.steps)
            rows[number, places], times[number, places] = smooth[number], curve.times
    finite = np.isfinite(rows)
    count = finite.sum(0)
    some = np.maximum(count, 1)
    mean = np.where(count > 0, np.where(finite, rows, 0).sum(0) / some, np.nan)
    if band == "range":
        low = np.where(finite, rows, np.inf).min(0)
        high = np.where(finite, rows, -np.inf).max(0)
    else:
        spread = np.sqrt(np.where(finite, (rows - mean) ** 2, 0).sum(0) / np.maximum(count - 1, 1))
        low, high = mean - spread, mean + spread
    alone = count < 2
    elapsed = np.where(np.isnan(times), -np.inf, times).max(0)
    return MeanCurve(
        np.array(steps), np.maximum.accumulate(elapsed), mean,
        np.where(alone, np.nan, low), np.where(alone, np.nan, high), len(curves),
    )  # fmt: skip
