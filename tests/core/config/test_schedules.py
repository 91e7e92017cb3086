"""The weights of the terms over the steps."""

from __future__ import annotations

from typing import Any

import pytest

from nfkd.config import DistillationConfig, ILKDConfig, LKDConfig, NLLConfig
from nfkd.config.schedules import schedule_factor, weights_at


def lkd(**settings: Any) -> LKDConfig:
    return LKDConfig(weight=1.0, **settings)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (lkd(), [1, 1, 1, 1, 1]),
        (lkd(schedule="linear"), [1, 0.75, 0.5, 0.25, 0]),
        (lkd(schedule="linear", schedule_end=3.0), [1, 1.5, 2, 2.5, 3]),
        (lkd(schedule="linear", schedule_end=0.5, schedule_span=0.6), [1, 0.75, 0.5, 0.5, 0.5]),
        (lkd(schedule="cosine", schedule_end=0.5), [1, 0.75 + 0.25 * 2**-0.5, 0.75, 0.75 - 0.25 * 2**-0.5, 0.5]),
        (lkd(schedule="warmup"), [0.2, 0.4, 0.6, 0.8, 1]),
        (lkd(schedule="warmup", schedule_span=0.4), [0.5, 1, 1, 1, 1]),
    ],
)
def test_schedules_change_the_weights(term: LKDConfig, expected: list[float]) -> None:
    assert [schedule_factor(term, step, 5) for step in range(5)] == pytest.approx(expected)
    distillation = DistillationConfig(nll=NLLConfig(weight=2.0), lkd=term, ilkd=ILKDConfig(weight=0.0))
    raw = distillation.model_copy(update={"normalize_weights": False})
    for step, factor in enumerate(expected):
        weights = weights_at(distillation, step, 5)
        assert sum(weights.values()) == pytest.approx(1.0)
        assert weights["lkd"] / weights["nll"] == pytest.approx(factor / 2.0)
        assert list(weights) == ["nll", "lkd", "skd"]
        assert weights_at(raw, step, 5) == pytest.approx({"nll": 2.0, "lkd": factor, "skd": 0.05})


def test_a_budget_of_one_step_has_schedules() -> None:
    assert schedule_factor(lkd(schedule="cosine"), 0, 1) == 1.0
    assert schedule_factor(lkd(schedule="warmup"), 0, 1) == 1.0


def test_convex_weights_of_any_size_sum_to_one() -> None:
    tiny = DistillationConfig(nll=NLLConfig(weight=3e-300), lkd=LKDConfig(weight=1e-300), ilkd=ILKDConfig(weight=0.0))
    assert weights_at(tiny.model_copy(update={"skd": tiny.skd.model_copy(update={"weight": 0.0})}), 0, 1) == {
        "nll": pytest.approx(0.75),
        "lkd": pytest.approx(0.25),
    }
