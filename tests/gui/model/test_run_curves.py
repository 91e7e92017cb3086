"""Curves and matching profiles of runs with other seeds as one."""

from __future__ import annotations

import numpy as np

from nfkd.protocol.comparing import MatchingProfile, RunCurve
from nfkd_gui.model.run_curves import join_curves, join_profiles


def curve(steps: list[int], values: list[float], seeds: int, width: float = 0.0) -> RunCurve:
    mean = np.array(values)
    return RunCurve(steps=np.array(steps), mean=mean, low=mean - width, high=mean + width, seeds=seeds)


def test_one_curve_stays_as_it_is() -> None:
    alone = curve([1, 2], [3.0, 4.0], 3)
    assert join_curves([alone]) is alone


def test_curves_are_weighted_by_their_seeds_and_interpolated_between_their_steps() -> None:
    joined = join_curves([curve([0, 10], [0.0, 10.0], 1, 0.5), curve([0, 5, 10], [4.0, 4.0, 4.0], 3)])
    assert joined.steps.tolist() == [0, 5, 10]
    assert joined.mean.tolist() == [(0 + 12) / 4, (5 + 12) / 4, (10 + 12) / 4]
    assert joined.low.tolist() == [-0.5, 4.0, 4.0]
    assert joined.high.tolist() == [4.0, 5.5, 10.5]
    assert joined.seeds == 4


def test_a_curve_does_not_count_beyond_its_end() -> None:
    joined = join_curves([curve([0, 1, 2], [1.0, 1.0, 1.0], 1), curve([0, 1], [3.0, 3.0], 1)])
    assert joined.mean.tolist() == [2.0, 2.0, 1.0]
    assert joined.high.tolist() == [3.0, 3.0, 1.0]


def profile(pairs: list[str], errors: list[float]) -> MatchingProfile:
    mean = np.array(errors)
    return MatchingProfile(pairs=pairs, mean=mean, low=mean / 2, high=2 * mean)


def test_profiles_of_the_same_pairs_are_averaged() -> None:
    joined = join_profiles([profile(["a", "b"], [1.0, 2.0]), profile(["a", "b"], [3.0, 6.0]), profile(["c"], [9.0])])
    assert joined.pairs == ["a", "b"]
    assert joined.mean.tolist() == [2.0, 4.0]
    assert joined.low.tolist() == [0.5, 1.0]
    assert joined.high.tolist() == [6.0, 12.0]
