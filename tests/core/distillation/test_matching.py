"""Matching: the pairs of each strategy, and the problems of pairs that do not fit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nfkd.config import ExperimentConfig, Glow1DConfig, GlowConfig, MatchedPair, MatchingConfig
from nfkd.distillation.matching import MatchingError, check_pairs, match_layers, strategy_of, weighted_mean
from nfkd.flows.architectures import build_flow
from nfkd.protocol.records import LayerPair
from nfkd.protocol.requests import LayerInfo


def layers_of(config: GlowConfig | Glow1DConfig, shape: tuple[int, ...]) -> list[LayerInfo]:
    return build_flow(config, shape, device="meta").layer_info()


def names(pairs: list[LayerPair]) -> list[tuple[str, str]]:
    return [(pair.student, pair.teacher) for pair in pairs]


def test_paper_pairs_the_last_step_of_every_level() -> None:
    student = layers_of(GlowConfig(levels=2, steps=2, hidden=4), (1, 8, 8))
    teacher = layers_of(GlowConfig(levels=2, steps=5, hidden=4), (1, 8, 8))
    pairs = match_layers(MatchingConfig(strategy="paper"), student, teacher)
    assert names(pairs) == [("level1.step2", "level1.step5"), ("level2.step2", "level2.step5")]
    assert pairs[0].summary == "student level 1 step 2 ↔ teacher level 1 step 5"


def test_last_only_pairs_the_last_layer() -> None:
    student = layers_of(GlowConfig(levels=2, steps=2, hidden=4), (1, 8, 8))
    teacher = layers_of(GlowConfig(levels=2, steps=5, hidden=4), (1, 8, 8))
    pairs = match_layers(MatchingConfig(strategy="last_only"), student, teacher)
    assert names(pairs) == [("level2.step2", "level2.step5")]


def test_different_numbers_of_levels_are_refused() -> None:
    student = layers_of(GlowConfig(levels=1, steps=2, hidden=4), (1, 8, 8))
    teacher = layers_of(GlowConfig(levels=2, steps=2, hidden=4), (1, 8, 8))
    with pytest.raises(MatchingError) as refused:
        match_layers(MatchingConfig(strategy="paper"), student, teacher)
    [problem] = refused.value.problems
    assert problem.path == "distillation.matching.strategy"
    assert "the student has 1 levels and the teacher 2" in problem.message
    with pytest.raises(MatchingError, match="differ"):
        match_layers(MatchingConfig(strategy="last_only"), student, teacher)


def step(name: str, shape: list[int] | None = None) -> LayerInfo:
    return LayerInfo(name=name, label=name, kind="step", shape=shape or [2], parameters=0)


@settings(max_examples=30)
@given(st.integers(1, 12), st.integers(1, 12))
def test_vectors_are_matched_by_depth(student_depth: int, teacher_depth: int) -> None:
    student, teacher = ([step(f"step{i + 1}") for i in range(depth)] for depth in (student_depth, teacher_depth))
    pairs = match_layers(MatchingConfig(strategy="paper"), student, teacher)
    assert len(pairs) == min(student_depth, teacher_depth)
    assert names(pairs)[-1] == (f"step{student_depth}", f"step{teacher_depth}")
    assert check_pairs(pairs, student, teacher) == []
    for number, pair in enumerate(pairs, 1):
        depths = int(pair.student[4:]) / student_depth, int(pair.teacher[4:]) / teacher_depth
        assert all(abs(depth - number / len(pairs)) <= 1 / len(pairs) for depth in depths)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], "matches no layer"),
        ([("a", "x"), ("a", "y")], "a-y pairs a layer twice"),
        ([("b", "x"), ("a", "y")], "a-y is out of order or crosses"),
        ([("a", "y"), ("b", "x")], "b-x is out of order or crosses"),
        ([("a", "nowhere")], "the teacher has no layer 'nowhere' (x to z)"),
        ([("a", "z")], "shapes 2 and 3×1 differ"),
    ],
)
def test_problems_of_pairs_name_the_layers(pairs: list[tuple[str, str]], expected: str) -> None:
    student, teacher = [step("a"), step("b")], [step("x"), step("y"), step("z", [3, 1])]
    layer_pairs = [LayerPair(student=s, teacher=t, summary=f"{s}-{t}") for s, t in pairs]
    assert any(expected in problem.message for problem in check_pairs(layer_pairs, student, teacher))


# --- the other strategies ---------------------------------------------------------------------------------------------


def glow(levels: int, steps: int, checkerboard: int = 0) -> list[LayerInfo]:
    return layers_of(GlowConfig(levels=levels, steps=steps, hidden=4, checkerboard=checkerboard), (1, 8, 8))


def test_by_depth_pairs_every_step_of_the_shallower_flow_level_by_level() -> None:
    pairs = match_layers(MatchingConfig(strategy="by_depth"), glow(2, 2), glow(2, 5))
    assert names(pairs) == [
        ("level1.step1", "level1.step3"),
        ("level1.step2", "level1.step5"),
        ("level2.step1", "level2.step3"),
        ("level2.step2", "level2.step5"),
    ]


def test_by_depth_pairs_steps_of_one_size_only() -> None:
    pairs = match_layers(MatchingConfig(strategy="by_depth"), glow(1, 1, checkerboard=2), glow(1, 3, checkerboard=2))
    assert names(pairs) == [
        ("level1.checker1", "level1.checker1"),
        ("level1.checker2", "level1.checker2"),
        ("level1.step1", "level1.step3"),
    ]
    assert names(match_layers(MatchingConfig(strategy="by_depth"), glow(1, 1), glow(1, 3, checkerboard=2))) == [
        ("level1.step1", "level1.step3")
    ]


def test_by_resolution_pairs_the_last_step_of_every_size_that_both_have() -> None:
    student, teacher = glow(2, 2, checkerboard=1), glow(2, 3, checkerboard=2)
    assert names(match_layers(MatchingConfig(strategy="by_resolution"), student, teacher)) == [
        ("level1.checker1", "level1.checker2"),
        ("level1.step2", "level1.step3"),
        ("level2.checker1", "level2.checker2"),
        ("level2.step2", "level2.step3"),
    ]
    assert names(match_layers(MatchingConfig(strategy="by_resolution"), glow(2, 2), teacher)) == [
        ("level1.step2", "level1.step3"),
        ("level2.step2", "level2.step3"),
    ]


def vector(steps: int) -> list[LayerInfo]:
    return layers_of(Glow1DConfig(steps=steps, hidden=4), (6,))


@pytest.mark.parametrize(
    ("student", "teacher", "alike", "chosen"),
    [
        (glow(2, 2), glow(2, 8), True, "paper"),
        (glow(2, 2), glow(2, 8, checkerboard=2), True, "paper"),
        (vector(3), vector(5), True, "by_depth"),
        (vector(3), vector(5), False, "last_only"),
        (glow(2, 2), glow(3, 8), True, "by_resolution"),
    ],
)
def test_auto_chooses_by_the_two_flows(
    student: list[LayerInfo], teacher: list[LayerInfo], alike: bool, chosen: str
) -> None:
    auto = MatchingConfig(strategy="auto")
    assert strategy_of(auto, student, teacher, alike=alike) == chosen
    if student[-1].shape == teacher[-1].shape:
        by_name = match_layers(MatchingConfig.model_validate({"strategy": chosen}), student, teacher)
        assert names(match_layers(auto, student, teacher, alike=alike)) == names(by_name)


def test_the_default_strategy_is_that_of_the_paper() -> None:
    assert MatchingConfig().strategy == "paper"
    assert names(match_layers(MatchingConfig(), vector(3), vector(5))) == [
        ("step1", "step2"),
        ("step2", "step4"),
        ("step3", "step5"),
    ]


# --- the user's own pairs ---------------------------------------------------------------------------------------------


def own(*pairs: tuple[str, str, float]) -> MatchingConfig:
    pairs_config = tuple(MatchedPair(student=s, teacher=t, weight=weight) for s, t, weight in pairs)
    return MatchingConfig(strategy="pairs", pairs=pairs_config)


def test_own_pairs_keep_their_weights() -> None:
    config = own(("level1.step1", "level1.step4", 1.0), ("level2.step2", "level2.step5", 2.5))
    pairs = match_layers(config, glow(2, 2), glow(2, 5))
    assert [(pair.student, pair.teacher, pair.weight) for pair in pairs] == [
        ("level1.step1", "level1.step4", 1.0),
        ("level2.step2", "level2.step5", 2.5),
    ]
    assert [pair.summary for pair in pairs] == [
        "student level 1 step 1 ↔ teacher level 1 step 4",
        "student level 2 step 2 ↔ teacher level 2 step 5 (weight 2.5)",
    ]


@pytest.mark.parametrize(
    ("pairs", "path", "expected"),
    [
        ((), "pairs", "matches no layer: add a pair"),
        ((("level9.step1", "level1.step1", 1.0),), "pairs.0.student", "no layer 'level9.step1' (level1.step1 to"),
        (
            (("level1.step1", "level1.step1", 1.0), ("level2.step1", "nowhere", 1.0)),
            "pairs.1.teacher",
            "the teacher has no layer 'nowhere'",
        ),
        ((("level1.squeeze", "level1.squeeze", 1.0),), "pairs.0.student", "is a squeeze, and only steps"),
        ((("level1.step1", "level2.step1", 1.0),), "pairs.0", "shapes 4×4×4 and 8×2×2 differ"),
        (
            (("level1.step2", "level1.step1", 1.0), ("level1.step1", "level1.step2", 1.0)),
            "pairs.1",
            "is out of order or crosses the pair before it",
        ),
        (
            (("level1.step1", "level1.step1", 1.0), ("level1.step1", "level1.step2", 1.0)),
            "pairs.1",
            "pairs a layer twice",
        ),
        ((("level1.step1", "level1.step1", 0.0),), "pairs", "all pairs have the weight zero"),
    ],
)
def test_a_problem_of_own_pairs_has_the_path_of_its_row(
    pairs: tuple[tuple[str, str, float], ...], path: str, expected: str
) -> None:
    with pytest.raises(MatchingError) as refused:
        match_layers(own(*pairs), glow(2, 2), glow(2, 5))
    found = {problem.path: problem.message for problem in refused.value.problems}
    assert expected in found[f"distillation.matching.{path}"]


def test_own_pairs_in_toml_imply_their_strategy() -> None:
    config = ExperimentConfig.load("digits")
    text = "[[distillation.matching.pairs]]\nstudent = 'level1.step2'\nteacher = 'level1.step8'\nweight = 3\n"
    plain = "\n".join(line for line in config.to_toml().splitlines() if not line.startswith(("strategy", "pairs")))
    read = ExperimentConfig.from_toml(plain + "\n" + text)
    assert read.distillation.matching == own(("level1.step2", "level1.step8", 3.0))
    assert ExperimentConfig.from_toml(read.to_toml()) == read


def test_the_mean_over_pairs_is_weighted() -> None:
    weights = (1.0, 0.0, 3.0)
    assert weighted_mean(torch.tensor([2.0, 100.0, 6.0]), weights).item() == pytest.approx((2 + 3 * 6) / 4)
    rows = torch.tensor([[2.0, 100.0, 6.0], [1.0, 7.0, 1.0]])
    assert weighted_mean(rows, weights).tolist() == pytest.approx([5.0, 1.0])
    assert weighted_mean(torch.tensor([1.0, 2.0, 6.0]), [1.0] * 3).item() == 3.0


def test_a_weighted_mean_depends_on_the_ratios_of_the_weights_only() -> None:
    values = torch.tensor([[1.0, 4.0], [2.0, 8.0]])
    for scale in (1.0, 1e-60, 1e60):
        found = weighted_mean(values, [3 * scale, scale])
        torch.testing.assert_close(found, torch.tensor([1.75, 3.5]))
