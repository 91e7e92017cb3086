"""The rule of the pairs table and of the drawing is that of the engine."""

from __future__ import annotations

from itertools import product

import pytest

from nfkd.distillation.matching import check_pairs
from nfkd.protocol.records import LayerPair
from nfkd.protocol.requests import pairable
from nfkd_gui.model.layer_choice import LayerChoice, Side
from tests.gui.glow_layers import glow

STUDENT, TEACHER = glow(3), glow(4)
ROWS = [("level1.step2", "level1.step2"), ("level1.step3", "level1.step4"), ("level2.step1", "level2.step3")]


def changed(number: int, side: Side, name: str) -> list[tuple[str, str]]:
    student, teacher = ROWS[number]
    return [*ROWS[:number], (name, teacher) if side == "student" else (student, name), *ROWS[number + 1 :]]


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_a_layer_is_refused_exactly_where_the_engine_would_refuse_it(side: Side) -> None:
    choice = LayerChoice(pairable(STUDENT), pairable(TEACHER))
    accepted = 0
    for number, layer in product(range(len(ROWS)), STUDENT if side == "student" else TEACHER):
        pairs = [LayerPair(student=s, teacher=t, summary="") for s, t in changed(number, side, layer.name)]
        problems = check_pairs(pairs, STUDENT, TEACHER, own=True)
        reason = choice.refusal(ROWS, number, side, layer)
        assert bool(reason) == bool(problems), (number, layer.name, reason, problems)
        accepted += not reason
    assert accepted > len(ROWS), "more than the layers that are there already"


def test_a_new_pair_stands_between_its_neighbours() -> None:
    choice = LayerChoice(pairable(STUDENT), pairable(TEACHER))
    assert [choice.row_for(ROWS, f"level{level}.step{step}") for level, step in ((1, 1), (2, 1), (2, 3))] == [0, 2, 3]
    rows = [("level1.step2", "level1.step2"), ("level2.step3", "level2.step3")]
    assert choice.row_for(rows, "level2.step1") == 1
