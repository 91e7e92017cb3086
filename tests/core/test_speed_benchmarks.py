"""The tools of ``make bench-peers``, ``make bench-check`` and ``make bench-growth``; nothing is timed here."""

from __future__ import annotations

import math
from collections.abc import Iterable
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from tests.benchmarks.growth.__main__ import grows_faster
from tests.benchmarks.growth.axis import Axis, Growth, exponent
from tests.benchmarks.peers import timing
from tests.benchmarks.peers.__main__ import CASES, check
from tests.benchmarks.peers.case import Case
from tests.benchmarks.peers.records import PAGE, Records, table
from tests.benchmarks.peers.timing import Figure


def test_the_exponent_is_that_of_linear_regression() -> None:
    sizes = np.array([1.0, 3, 4, 10, 50])
    costs = 2 * sizes**1.3 * np.array([1.1, 0.9, 1.0, 1.05, 0.97])
    found = exponent(sizes.tolist(), costs.tolist())
    slope, _, _, _, error = stats.linregress(np.log(sizes), np.log(costs))
    assert (found.value, found.error) == pytest.approx((slope, error))


@pytest.mark.parametrize(("power", "faster"), [(1.0, False), (1.05, False), (1.5, True)])
def test_a_growth_beyond_the_arithmetic_is_found(power: float, faster: bool) -> None:
    sizes = (1, 2, 4, 8, 16, 32)
    axis = Axis("", "", "", sizes, lambda _: pytest.fail("is not measured"), float)
    assert grows_faster(axis, Growth(sizes, tuple(float(size) ** power for size in sizes))) is faster


def test_actions_take_turns_forwards_and_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    now, seen = 0.0, list[str]()

    def act(name: str, seconds: float) -> None:
        nonlocal now
        now += seconds
        seen.append(name)

    monkeypatch.setattr(timing, "time", SimpleNamespace(process_time=lambda: now))
    found = timing.times({"a": lambda: act("a", 0.01), "b": lambda: act("b", 0.25)}, rounds=4, budget=0.0)
    assert found == {"a": pytest.approx([0.01] * 4), "b": pytest.approx([0.25] * 4)}
    fills_the_span = "a" * math.ceil(timing.SPAN / 0.01 - 1e-9)
    assert "".join(seen).endswith(2 * f"{fills_the_span}bb{fills_the_span}")


def ratios(name: str, values: Iterable[float]) -> Case:
    left = iter(values)

    def measure() -> dict[str, Figure]:
        value = next(left)
        return {"them": Figure(value, value, value)}

    return Case(name, {"them": None}, measure)


@pytest.mark.parametrize(
    ("values", "slower"), [([1.1], 0), ([1.3, 1.0], 0), ([1.3, 1.3, 1.2], 1), ([1.3, 1.2, 1.1], 0)]
)
def test_a_check_fails_where_a_ratio_stays_higher(values: list[float], slower: int) -> None:
    records = Records({"work": {"them": Figure(1.0, 1.0, 1.0)}})
    assert len(list(check(ratios("work", values), records))) == slower
    assert not list(check(ratios("new work", [9.0]), records))


def test_the_page_has_the_recorded_ratios() -> None:
    """``make bench-peers PEERS_ARGS=--record`` writes both."""
    assert "\n".join(table(CASES, Records.load().figures)) in PAGE.read_text(encoding="utf-8")
