"""The sentence on what to try next, for figures as runs of the presets have them."""

from __future__ import annotations

import math

import pytest

from nfkd.evaluation.advice import advice_of
from nfkd.evaluation.verdict import verdict_of
from nfkd.protocol.events import StageSummary
from nfkd.protocol.roles import Role


def summary(stage: Role, test: float, *, best_step: int = 1000, gap: float = 0.0, error: float = 0.02) -> StageSummary:
    return StageSummary(
        stage=stage, seed=1, parameters=1, multiply_adds=1, steps=1000, best_step=best_step, validation=test, test=test,
        test_error=error, unit="bits/dim", samples_per_second=1.0, seconds=1.0, train_test_gap=gap,
    )  # fmt: skip


def run(
    teacher: float, student: float, baseline: float, *, gap: float, best: int = 1000, end: int = 1000
) -> list[StageSummary]:
    return [
        summary("teacher", teacher),
        summary("student", student, best_step=end),
        summary("baseline", baseline, gap=gap, best_step=best),
    ]


@pytest.mark.parametrize(
    ("figures", "share", "advice"),
    [
        pytest.param(
            run(2.4, 2.6, 2.6, gap=0.3),
            0.0,
            "new examples from the teacher (distillation.pool) will probably help",
            id="large gap",
        ),
        pytest.param(
            run(2.4, 3.6, 3.6, gap=0.02, best=50),
            0.0,
            "best weights after 5 % of its steps",
            id="best weights are early",
        ),
        pytest.param(
            run(2.4, 2.6, 2.6, gap=0.05),
            0.0,
            "The baseline's train–test gap is small (0.05 bits/dim): new examples from the teacher will not help",
            id="small gap",
        ),
        pytest.param(run(2.4, 2.6, 2.6, gap=-0.05), 0.8, "train–test gap is small (−0.05 bits/dim)", id="negative gap"),
        pytest.param(run(2.59, 2.6, 2.6, gap=0.3), 0.0, "The teacher is not clearly better", id="no better teacher"),
        pytest.param(
            run(2.4, 2.45, 2.6, gap=0.05), 0.5, "(0.05 bits/dim), yet the student gains", id="small gap, better student"
        ),
        pytest.param(run(2.4, 2.5, 2.6, gap=0.3), 0.5, "a longer budget might gain more", id="best at the end"),
        pytest.param(run(2.4, 2.5, 2.6, gap=0.3, end=500), 0.5, "a larger student", id="best before the end"),
        pytest.param(run(2.4, 2.7, 2.6, gap=0.3), 0.5, "the teacher's samples did not help", id="worse student"),
    ],
)
def test_advice_follows_from_the_figures(figures: list[StageSummary], share: float, advice: str) -> None:
    found = verdict_of(figures, "sw", one_teacher=True, pool_share=share).advice
    assert advice in found
    assert found.endswith(".")
    assert found.count(". ") == 0


def test_a_gap_that_is_not_known_gives_no_advice() -> None:
    assert not advice_of(run(2.4, 2.5, 2.6, gap=math.nan), share=0.5, student_is_better=True)


@pytest.mark.parametrize("stage", ["teacher", "student", "baseline"])
def test_without_all_figures_there_is_no_advice(stage: str) -> None:
    figures = [found for found in run(2.4, 2.5, 2.6, gap=0.3) if found.stage != stage]
    assert not advice_of(figures, share=0.0, student_is_better=True)
    assert not advice_of([*figures, summary("student", math.nan)], share=0.0, student_is_better=True)
