"""Matching: the right layers, and a plain refusal where they do not fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfkd.config import Glow1DConfig, GlowConfig, MatchingConfig
from nfkd.distillation.matching import MatchingError, check_pairs, match_layers
from nfkd.flows.architectures import build_flow
from nfkd.protocol.events import LayerPair
from nfkd.protocol.requests import LayerInfo


def layers_of(config: GlowConfig | Glow1DConfig, shape: tuple[int, ...]) -> list[LayerInfo]:
    return build_flow(config, shape, device="meta").layer_info()


def names(pairs: list[LayerPair]) -> list[tuple[str, str]]:
    return [(pair.student, pair.teacher) for pair in pairs]


def test_paper_pairs_the_end_of_every_level_and_no_squeeze_of_the_input() -> None:
    student = layers_of(GlowConfig(levels=2, steps=2, hidden=4), (1, 8, 8))
    teacher = layers_of(GlowConfig(levels=2, steps=5, hidden=4), (1, 8, 8))
    pairs = match_layers(MatchingConfig(strategy="paper"), student, teacher)
    assert names(pairs) == [("level1.step2", "level1.step5"), ("level2.step2", "level2.step5")]
    assert pairs[0].words == "student level 1 step 2 ↔ teacher level 1 step 5"


def test_last_only_pairs_the_last_layer() -> None:
    student = layers_of(GlowConfig(levels=2, steps=2, hidden=4), (1, 8, 8))
    teacher = layers_of(GlowConfig(levels=2, steps=5, hidden=4), (1, 8, 8))
    pairs = match_layers(MatchingConfig(strategy="last_only"), student, teacher)
    assert names(pairs) == [("level2.step2", "level2.step5")]


def test_unequal_levels_are_refused_not_shortened() -> None:
    student = layers_of(GlowConfig(levels=1, steps=2, hidden=4), (1, 8, 8))
    teacher = layers_of(GlowConfig(levels=2, steps=2, hidden=4), (1, 8, 8))
    with pytest.raises(MatchingError) as refused:
        match_layers(MatchingConfig(strategy="paper"), student, teacher)
    [fault] = refused.value.faults
    assert fault.path == "distillation.matching.strategy"
    assert "the student has 1 levels and the teacher 2" in fault.message
    with pytest.raises(MatchingError, match="differ"):
        match_layers(MatchingConfig(strategy="last_only"), student, teacher)


@given(st.integers(1, 12), st.integers(1, 12))
def test_vectors_are_matched_by_depth(ours: int, theirs: int) -> None:
    student = [LayerInfo(name=f"step{i}", words="", kind="step", shape=[2], parameters=1) for i in range(1, ours + 1)]
    teacher = [LayerInfo(name=f"step{i}", words="", kind="step", shape=[2], parameters=1) for i in range(1, theirs + 1)]
    pairs = match_layers(MatchingConfig(strategy="paper"), student, teacher)
    assert len(pairs) == min(ours, theirs)
    assert names(pairs)[-1] == (f"step{ours}", f"step{theirs}")
    assert check_pairs(pairs, student, teacher) == []
    for place, pair in enumerate(pairs, 1):
        depths = int(pair.student[4:]) / ours, int(pair.teacher[4:]) / theirs
        assert all(abs(depth - place / len(pairs)) <= 1 / min(ours, theirs) for depth in depths)


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([], "matches no layer"),
        ([("a", "x"), ("a", "y")], "twice or crosswise"),
        ([("b", "x"), ("a", "y")], "twice or crosswise"),
        ([("a", "y"), ("b", "x")], "twice or crosswise"),
        ([("a", "nowhere")], "not there"),
        ([("a", "z")], "shapes 2 and 3×1 differ"),
    ],
)
def test_what_does_not_fit_is_named(pairs: list[tuple[str, str]], words: str) -> None:
    def layer(name: str, shape: list[int]) -> LayerInfo:
        return LayerInfo(name=name, words=name, kind="step", shape=shape, parameters=0)

    student = [layer("a", [2]), layer("b", [2])]
    teacher = [layer("x", [2]), layer("y", [2]), layer("z", [3, 1])]
    given_pairs = [LayerPair(student=s, teacher=t, words=f"{s}-{t}") for s, t in pairs]
    faults = check_pairs(given_pairs, student, teacher)
    assert any(words in fault.message for fault in faults)
