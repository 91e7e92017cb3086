"""Assistants in an experiment before it runs: the chain, costs, descriptions, problems and warnings."""

from __future__ import annotations

from typing import Any

import pytest

from nfkd.config import ExperimentConfig
from nfkd.planning.describe import describe
from nfkd.planning.plans import chain, stage_costs, stage_steps, teacher_of
from nfkd.protocol.requests import Description
from nfkd.protocol.roles import Role
from tests.core.tiny import digits, moons

FIRST, SECOND = {"kind": "glow1d", "steps": 3, "hidden": 6}, {"kind": "glow1d", "steps": 2, "hidden": 5}
STAGES: list[Role] = ["teacher", "assistant-1", "assistant-2", "student", "baseline"]


def with_assistants(*assistants: dict[str, Any], **changes: Any) -> ExperimentConfig:
    """Return two moons with assistants, by default two."""
    steps = {"assistant_steps": 15} | changes.pop("training", {})
    return moons(assistants=assistants or (FIRST, SECOND), training=steps, **changes)


def warnings(config: ExperimentConfig) -> dict[str, str]:
    return {warning.path: warning.message for warning in describe(config).warnings}


def problems(config: ExperimentConfig) -> dict[str, str]:
    return {problem.path: problem.message for problem in describe(config).problems}


def test_the_chain_and_its_budgets() -> None:
    config = with_assistants(training={"baseline": False})
    assert chain(config) == STAGES[:-1]
    assert [teacher_of(config, role) for role in chain(config)] == [None, *STAGES[:3]]
    assert teacher_of(config, "baseline") is None
    assert stage_steps(config) == {"teacher": 30, "assistant-1": 15, "assistant-2": 15, "student": 20}


def test_a_step_costs_what_its_own_two_flows_cost() -> None:
    costs = stage_costs(with_assistants(FIRST), describe(with_assistants(FIRST)))
    alone = moons(student=FIRST)
    assert costs["assistant-1"] == stage_costs(alone, describe(alone))["student"]
    below = moons(teacher=FIRST)
    assert costs["student"] == stage_costs(below, describe(below))["student"]
    assert costs["baseline"] == stage_costs(moons(), describe(moons()))["baseline"]


def test_every_flow_is_described() -> None:
    description = describe(with_assistants())
    assert not description.problems
    assert [flow.summary for flow in description.assistants if flow] == ["Glow-1D 3", "Glow-1D 2"]
    assert description.student_teacher is description.assistants[1]
    assert all(flow.memory > 0 for flow in description.assistants if flow)
    plain: Description = describe(moons())
    assert (plain.assistants, plain.assistant_pairs) == ([], [])
    assert plain.student_teacher is plain.teacher


@pytest.mark.parametrize(
    ("make", "assistants", "path", "message"),
    [
        (moons, [FIRST, {"kind": "glow"}], "assistants.1.kind", "Glow"),
        (digits, [{"kind": "glow", "levels": 1, "steps": 1, "hidden": 4}], "assistants.0.levels", "the teacher's are"),
    ],
)
def test_a_problem_of_an_assistant_has_its_field(make: Any, assistants: Any, path: str, message: str) -> None:
    assert message in problems(make(assistants=assistants))[path]


def test_levels_that_do_not_fit_the_assistant_are_the_students_problem() -> None:
    one = {"kind": "glow", "levels": 1, "steps": 1, "hidden": 4}
    found = problems(digits(assistants=[one]))
    assert "assistant 1's are" in found["student.levels"]


@pytest.mark.parametrize("hidden", [64, 2])
def test_an_assistant_that_is_not_between_the_two_in_size_gives_a_warning(hidden: int) -> None:
    found = warnings(with_assistants({"kind": "glow1d", "steps": 2, "hidden": hidden}))
    assert "is not between the teacher" in found["assistants.0"]
    assert "assistants.0" not in warnings(with_assistants())
    swapped = warnings(with_assistants(SECOND, FIRST))
    assert "assistants.0" not in swapped
    assert "assistant 2" in swapped["assistants.1"]
    assert "is not between assistant 1" in swapped["assistants.1"]


def test_an_assistant_deeper_than_its_teacher_gives_a_warning() -> None:
    found = warnings(with_assistants({"kind": "glow1d", "steps": 5, "hidden": 2}))
    assert found["assistants.0.steps"] == "assistant 1 (5 steps) is deeper than its teacher (3 steps)"


def test_pairs_of_the_table_are_for_the_student_and_assistants_are_matched_automatically() -> None:
    pairs = [{"student": "step2", "teacher": "step1", "weight": 2.0}]  # of the second assistant
    config = with_assistants(distillation={"matching": {"strategy": "pairs", "pairs": pairs}})
    description = describe(config)
    assert not description.problems
    assert [(pair.student, pair.teacher, pair.weight) for pair in description.pairs] == [("step2", "step1", 2.0)]
    messages = [warning.message for warning in description.warnings if warning.path == "distillation.matching.pairs"]
    assert messages == [f"assistant {n} is matched by 'auto': the pairs of the table are the student's" for n in (1, 2)]
    auto = describe(with_assistants(distillation={"matching": {"strategy": "auto"}})).assistant_pairs
    assert [[pair.summary for pair in pairs] for pairs in description.assistant_pairs] == [
        [pair.summary for pair in pairs] for pairs in auto
    ]
    beyond = [{"student": "step1", "teacher": "step3"}]  # teacher and first assistant have it, the last has not
    problem = problems(with_assistants(distillation={"matching": {"strategy": "pairs", "pairs": beyond}}))
    assert "has no layer 'step3'" in problem["distillation.matching.pairs.0.teacher"]
    assert "the student as the student of assistant 2" in problem["distillation.matching.pairs.0.teacher"]
