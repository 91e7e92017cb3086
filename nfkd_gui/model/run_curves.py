"""Curves and matching profiles of several runs as one, for runs that differ only by their seeds. No widgets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nfkd.protocol.comparing import MatchingProfile, RunCurve


def join_curves(curves: Sequence[RunCurve]) -> RunCurve:
    """Return the curve of the seeds of several runs: their weighted mean, and the band around all of them.

    It has the steps that any of the curves has; a curve is interpolated between its own and does not count beyond them.
    """
    if len(curves) == 1:
        return curves[0]
    steps = np.unique(np.concatenate([curve.steps for curve in curves]))
    mean, low, high = (
        np.stack([_at(steps, curve.steps, getattr(curve, name)) for curve in curves])
        for name in ("mean", "low", "high")
    )
    weights = np.where(np.isfinite(mean), np.array([[max(curve.seeds, 1)] for curve in curves], np.float64), 0.0)
    total = weights.sum(axis=0)
    joined = np.divide(
        (np.nan_to_num(mean) * weights).sum(axis=0), total, out=np.full(len(steps), np.nan), where=total > 0
    )
    return RunCurve(
        steps=steps,
        mean=joined,
        low=np.fmin.reduce(low, axis=0),
        high=np.fmax.reduce(high, axis=0),
        seeds=sum(curve.seeds for curve in curves),
    )


def _at(steps: np.ndarray, known: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.interp(steps, known, values, left=np.nan, right=np.nan) if len(known) else np.full(len(steps), np.nan)


def join_profiles(profiles: Sequence[MatchingProfile]) -> MatchingProfile:
    """Return the profile of several runs with the same pairs: the mean of their means, and the range of all."""
    first = profiles[0]
    same = [profile for profile in profiles if profile.pairs == first.pairs]
    if len(same) == 1:
        return first
    return MatchingProfile(
        pairs=first.pairs,
        mean=np.mean([profile.mean for profile in same], axis=0),
        low=np.fmin.reduce([profile.low for profile in same]),
        high=np.fmax.reduce([profile.high for profile in same]),
    )
