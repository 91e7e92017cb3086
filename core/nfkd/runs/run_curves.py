"""One curve of a run over its seeds, and its last matching errors, read without the rest of its files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from nfkd.protocol.comparing import MatchingProfile, RunCurve
from nfkd.protocol.records import LayerPair
from nfkd.protocol.roles import Role
from nfkd.runs import schema
from nfkd.runs.errors import RunError
from nfkd.runs.opening import open_file
from nfkd.runs.schema import Node
from nfkd.runs.summary_file import seed_files

_FEWEST = 4  # points: the ends and two extremes


class LabelledCurve(NamedTuple):
    """A curve with the texts of its axis."""

    curve: RunCurve
    label: str
    unit: str


class SeedCurve(NamedTuple):
    """The curve of one seed: ascending steps and values of one length."""

    steps: np.ndarray
    values: np.ndarray


def read_run_curve(run: Path, curve: str, stage: Role, points: int) -> LabelledCurve | None:
    """Return a curve of a stage over the seeds of a run, while it trains or afterwards; None if no seed has it.

    Parameters
    ----------
    points
        At most this many points, at least 4.

    Raises
    ------
    RunError
        When a seed's file cannot be read.
    """
    if points < _FEWEST:
        title, cause = "The request is too small", f"{points:,} points were requested."
        raise RunError(title, cause, f"Request at least {_FEWEST}.")
    seeds: list[SeedCurve] = []
    label = unit = ""
    name = f"{stage}/curves/{curve}"
    for path in seed_files(str(run)):
        with open_file(path, [name]) as file:
            group: Node = file.get(name)
            if group is None or "value" not in group:
                continue
            steps, values = schema.read_rows(group, ("step", "value"))
            if not len(steps) or not steps.shape == values.shape == (len(steps),):
                continue
            seeds.append(_ascending(steps.astype(np.int64), values.astype(np.float64)))
            label = bytes(group.attrs.get("label", b"")).decode()
            unit = bytes(group["value"].attrs.get("units", b"")).decode()
    return LabelledCurve(decimated(over_seeds(seeds), points), label, unit) if seeds else None


def _ascending(steps: np.ndarray, values: np.ndarray) -> SeedCurve:
    if (np.diff(steps) > 0).all():
        return SeedCurve(steps, values)
    kept, indices = np.unique(steps, return_index=True)
    return SeedCurve(kept, values[indices])


def over_seeds(seeds: Sequence[SeedCurve]) -> RunCurve:
    """Return the mean of curves, and the band between the lowest and the highest, at their common steps.

    These are the steps that each curve has up to its end: one that ends early counts up to there. Values that are not
    finite are left out.
    """
    steps = np.unique(np.concatenate([seed.steps for seed in seeds]))
    common = np.ones(len(steps), bool)
    rows = np.full((len(seeds), len(steps)), np.nan)
    for row, seed in zip(rows, seeds, strict=True):
        places = np.searchsorted(steps, seed.steps)
        row[places] = np.where(np.isfinite(seed.values), seed.values, np.nan)
        has = np.zeros(len(steps), bool)
        has[places] = True
        common &= has | (steps > seed.steps[-1])
    rows = rows[:, common]
    known = ~np.isnan(rows)
    counts = known.sum(axis=0)
    sums = np.where(known, rows, 0.0).sum(axis=0)
    mean = np.divide(sums, counts, out=np.full(rows.shape[1], np.nan), where=counts > 0)
    low, high = np.where(known, rows, np.inf).min(axis=0), np.where(known, rows, -np.inf).max(axis=0)
    return RunCurve(
        steps=steps[common],
        mean=mean,
        low=np.where(counts > 0, low, np.nan),
        high=np.where(counts > 0, high, np.nan),
        seeds=len(seeds),
    )


def decimated(curve: RunCurve, points: int) -> RunCurve:
    """Return at most `points` points of a curve, at least 4: its ends, and the extremes of the mean in equal bins.

    The band at a kept point is that of its whole bin.
    """
    count = len(curve.steps)
    if count <= points:
        return curve
    bins = (points - 2) // 2
    edges = np.linspace(1, count - 1, bins + 1).astype(np.int64)
    starts = edges[:-1]
    owner = np.repeat(np.arange(bins), np.diff(edges))
    inner = curve.mean[1:-1]
    known = ~np.isnan(inner)
    kept = np.unique([0, count - 1, *_first_in_bin(np.where(known, inner, np.inf), owner, starts),
                      *_first_in_bin(-np.where(known, inner, -np.inf), owner, starts)])  # fmt: skip
    low, high = curve.low.copy(), curve.high.copy()
    low[1:-1] = np.fmin.reduceat(curve.low[1:-1], starts - 1)[owner]
    high[1:-1] = np.fmax.reduceat(curve.high[1:-1], starts - 1)[owner]
    return RunCurve(steps=curve.steps[kept], mean=curve.mean[kept], low=low[kept], high=high[kept], seeds=curve.seeds)


def _first_in_bin(values: np.ndarray, owner: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the index of the first smallest value of each bin, for values from index 1 on."""
    smallest = np.minimum.reduceat(values, starts - 1)[owner]
    places = np.flatnonzero(values == smallest)
    return places[np.unique(owner[places], return_index=True)[1]] + 1


def read_profile(run: Path) -> MatchingProfile | None:
    """Return the last matching errors of a run's student over its seeds; None if it has no matched layers.

    Raises
    ------
    RunError
        When a seed's file cannot be read.
    """
    pairs: list[str] = []
    errors: list[np.ndarray] = []
    for path in seed_files(str(run)):
        with open_file(path, ["student/matching"]) as file:
            group: Node = file.get("student/matching")
            if group is None:
                continue
            rows = schema.complete_rows(group)
            names = [pair.summary for pair in msgspec.json.decode(bytes(group.attrs["pairs"]), type=list[LayerPair])]
            if rows and (not pairs or names == pairs):
                pairs = names
                errors.append(group["error"][rows - 1].reshape(len(pairs)).astype(np.float64))
    if not errors:
        return None
    values = np.stack(errors)
    return MatchingProfile(pairs=pairs, mean=values.mean(axis=0), low=values.min(axis=0), high=values.max(axis=0))
