"""Snapshots of long runs have fewer points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfkd.protocol import events
from nfkd.protocol.codec import to_wire
from nfkd.protocol.requests import Answer, Snapshot
from nfkd.protocol.thinning import POINTS, every, strides, thinned
from nfkd.protocol.view import RunView

ROW = events.RunRow(
    run="run", name="run", state="running", data="digits", teacher="Glow 8×2", student="Glow 2×2", created=0.0, seeds=1,
    seeds_done=0, progress=0.0,
)  # fmt: skip


def curve(length: int) -> events.CurveBatch:
    steps = np.arange(1, length + 1)
    return events.CurveBatch(steps=steps, values=np.sin(steps), times=steps / 8)


def snapshot(lengths: dict[str, int]) -> Snapshot:
    view = RunView(ROW, "")
    curves = {name: curve(length) for name, length in lengths.items()}
    view.apply(events.CurvePoints(run="run", seed=1, stage="student", curves=curves))
    return view.snapshot()


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=40), st.integers(1, 10**6))
def test_all_curves_together_keep_at_most_the_points_and_their_ends(lengths: list[int], points: int) -> None:
    found = strides(lengths, points)
    kept = [-(-length // stride) for length, stride in zip(lengths, found, strict=True)]
    assert sum(kept) <= max(points, len(lengths))
    assert all(stride & (stride - 1) == 0 for stride in found)
    share = max(1, points // len(lengths))
    assert all(stride == 1 for length, stride in zip(lengths, found, strict=True) if length <= share)
    assert all(2 * count >= share for count, stride in zip(kept, found, strict=True) if stride > 1)


@pytest.mark.parametrize(("length", "stride", "steps"), [(8, 4, [1, 5, 8]), (9, 4, [1, 5, 9]), (1, 4, [1]), (0, 2, [])])
def test_every_kth_point_and_the_last_are_kept(length: int, stride: int, steps: list[int]) -> None:
    found = every(curve(length), stride)
    assert found.steps.tolist() == steps
    np.testing.assert_array_equal(found.values, np.sin(found.steps))
    np.testing.assert_array_equal(found.times, found.steps / 8)


def test_long_curves_are_thinned_and_short_ones_are_not() -> None:
    whole = snapshot({"train/nll": 1000, "validation/nll": 10})
    found = thinned(whole, 100)
    (stage,) = found.stages
    assert stage.curves["validation/nll"].steps.tolist() == list(range(1, 11))
    assert stage.curves["train/nll"].steps.tolist() == [*range(1, 1001, 32), 1000]
    assert found.stride == RunView.from_snapshot(found).stride == 32
    assert thinned(whole).stride == 1


def test_the_frame_of_a_long_run_does_not_grow_with_its_length() -> None:
    sizes = [
        len(to_wire(Answer(id=1, reply=thinned(snapshot({"train/nll": length}), 1000))))
        for length in (1 << 14, 1 << 17)
    ]
    assert sizes[1] <= sizes[0] + 100
    assert 24 * POINTS < 1 << 26  # far below the largest frame


def test_later_points_follow_those_of_a_thinned_snapshot() -> None:
    view = RunView.from_snapshot(thinned(snapshot({"train/nll": 1000}), 100))
    late = events.CurveBatch(steps=np.array([1001]), values=np.array([0.0]), times=np.array([126.0]))
    view.apply(events.CurvePoints(run="run", seed=1, stage="student", curves={"train/nll": late}))
    steps = view.stages[1, "student"].curves["train/nll"].steps
    assert steps[-2:].tolist() == [1000, 1001]
    assert (np.diff(steps) > 0).all()
