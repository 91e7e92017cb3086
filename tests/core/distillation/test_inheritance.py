"""Inherit mixing: products of matrices, computed here from what the layers do to unit vectors."""

from __future__ import annotations

from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import nfkd
from nfkd.config import Glow1DConfig, GlowConfig, MatchedPair, MatchingConfig
from nfkd.distillation.inheritance import Inheritance
from nfkd.distillation.matching import match_layers
from nfkd.flows.architectures import build_flow
from nfkd.flows.bijections import build_mixing
from nfkd.flows.flow import Flow
from nfkd.planning.describe import describe
from nfkd.protocol import events
from nfkd.protocol.records import LayerPair
from nfkd.training.api import prepare
from nfkd.training.control import Control
from nfkd.training.generators import named_generator
from nfkd.training.job import execute_run
from tests.core.tiny import digits, moons

KINDS = ("lu", "dense", "shuffle", "reverse")


def glow(steps: int, permutation: Any, seed: int, levels: int = 2, **options: Any) -> Flow:
    config = GlowConfig(levels=levels, steps=steps, hidden=4, permutation=permutation, **options)
    return moved(build_flow(config, (1, 8, 8), generator=torch.Generator().manual_seed(seed)), seed)


def vector(steps: int, permutation: Any, seed: int, features: int = 5, **options: Any) -> Flow:
    config = Glow1DConfig(steps=steps, hidden=4, permutation=permutation, **options)
    return moved(build_flow(config, (features,), generator=torch.Generator().manual_seed(seed)), seed)


def moved(flow: Flow, seed: int) -> Flow:
    """Change every parameter a little, as training does."""
    generator = torch.Generator().manual_seed(100 + seed)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return flow.double()


def matrix(flow: Flow, name: str) -> Tensor:
    """Return a step's matrix by what its mixing does to unit vectors, without its norm."""
    names = [info.name for info in flow.layer_info()]
    mixing: Any = flow.layers[names.index(name)].mixing
    shape = flow.layer_info()[names.index(name)].shape
    channels = shape[0]
    units = torch.eye(channels, dtype=torch.float64).view(channels, channels, *[1] * (len(shape) - 1))
    with torch.no_grad():
        images, _ = mixing(units)
        origin, _ = mixing(torch.zeros_like(units))
        linear = (images - origin).flatten(1).T  # a column for each unit vector
        return linear if mixing.norm is None else linear / mixing.norm.log_scale.exp()


def chain(flow: Flow, names: list[str]) -> Tensor:
    """Return the matrix of consecutive steps."""
    return torch.linalg.multi_dot([matrix(flow, name) for name in names[::-1]]) if names[1:] else matrix(flow, names[0])


def level(number: int, *steps: int) -> list[str]:
    return [f"level{number}.step{step}" for step in range(steps[0], steps[-1] + 1)]


def inherit(student: Flow, teacher: Flow, pairs: list[LayerPair]) -> None:
    Inheritance("mixing", pairs).apply(student, teacher)


def paper(student: Flow, teacher: Flow) -> list[LayerPair]:
    return match_layers(MatchingConfig(), student.layer_info(), teacher.layer_info())


@pytest.mark.parametrize(
    ("kind", "target"),
    [pair for pair in product(KINDS, KINDS) if pair[0] in {"lu", "dense"} or pair == ("shuffle", "shuffle")]
    + [("reverse", "reverse"), ("shuffle", "reverse")],
)
def test_the_products_between_matched_layers_are_equal(kind: str, target: str) -> None:
    student, teacher = glow(1, kind, 1), glow(3, target, 2)
    inherit(student, teacher, paper(student, teacher))
    for number in (1, 2):
        expected = chain(teacher, level(number, 1, 3))
        torch.testing.assert_close(matrix(student, f"level{number}.step1"), expected, rtol=1e-9, atol=1e-9)
        assert torch.linalg.matrix_rank(expected) == len(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_of_vectors_take_several_steps_each(kind: str) -> None:
    student, teacher = vector(2, kind, 1), vector(6, kind, 2)
    pairs = paper(student, teacher)
    assert [(pair.student, pair.teacher) for pair in pairs] == [("step1", "step3"), ("step2", "step6")]
    inherit(student, teacher, pairs)
    for step, targets in (("step1", ["step1", "step2", "step3"]), ("step2", ["step4", "step5", "step6"])):
        torch.testing.assert_close(matrix(student, step), chain(teacher, targets), rtol=1e-9, atol=1e-9)


def test_several_steps_of_the_student_divide_the_teachers_in_order() -> None:
    student, teacher = glow(3, "lu", 1), glow(8, "dense", 2)
    inherit(student, teacher, paper(student, teacher))
    for number in (1, 2):
        whole = chain(teacher, level(number, 1, 8))
        torch.testing.assert_close(chain(student, level(number, 1, 3)), whole, rtol=1e-9, atol=1e-9)
        for step, (first, last) in enumerate(((1, 3), (4, 6), (7, 8)), start=1):
            group = chain(teacher, level(number, first, last))
            torch.testing.assert_close(matrix(student, f"level{number}.step{step}"), group, rtol=1e-9, atol=1e-9)


def test_products_end_at_own_pairs_and_later_steps_stay() -> None:
    student, teacher = vector(3, "lu", 1), vector(7, "lu", 2)
    own = tuple(MatchedPair(student=s, teacher=t) for s, t in (("step1", "step4"), ("step2", "step5")))
    last = matrix(student, "step3")
    matching = MatchingConfig(strategy="pairs", pairs=own)
    inherit(student, teacher, match_layers(matching, student.layer_info(), teacher.layer_info()))
    first = chain(teacher, ["step1", "step2", "step3", "step4"])
    torch.testing.assert_close(matrix(student, "step1"), first, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(matrix(student, "step2"), matrix(teacher, "step5"), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(matrix(student, "step3"), last, rtol=0, atol=0)


def test_checkerboard_steps_do_not_count_and_last_only_inherits_by_level() -> None:
    student, teacher = glow(1, "reverse", 1, checkerboard=1), glow(3, "reverse", 2, checkerboard=3)
    matching = MatchingConfig(strategy="last_only")
    inherit(student, teacher, match_layers(matching, student.layer_info(), teacher.layer_info()))
    for number in (1, 2):
        expected = chain(teacher, level(number, 1, 3))
        torch.testing.assert_close(matrix(student, f"level{number}.step1"), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_mixing_changes_and_the_flow_stays_invertible(kind: str) -> None:
    student, teacher = vector(2, kind, 1), vector(6, kind, 2)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    inherit(student, teacher, paper(student, teacher))
    parts = ("mixing.matrix", "mixing.lower", "mixing.upper", "mixing.log_diagonal", "mixing.sign")
    for name, value in student.state_dict().items():
        if not name.endswith((*parts, "mixing.permutation", "mixing.order")):
            assert torch.equal(value, before[name]), name
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    torch.testing.assert_close(student.decode(student.encode(x)), x, rtol=1e-8, atol=1e-8)
    jacobian = torch.func.jacrev(lambda row: student.encode(row[None]).flat()[0])(x[0])
    log_det = torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(log_det, student.encode(x[:1]).log_det[0])


# --- problems ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        (vector(2, "shuffle", 1), vector(4, "lu", 2), ["step 1", "only reorders", "step 1 to step 2", "lu or dense"]),
        (vector(2, "reverse", 1), vector(4, "reverse", 2), ["step 1 to step 2 reverse the channels 2 times", "step 1"]),
        (vector(2, "shuffle", 1), vector(4, "reverse", 2), ["leaves them in place"]),
        (vector(2, "reverse", 1), vector(6, "shuffle", 2), ["only reverses them", "permutation shuffle"]),
        (glow(3, "lu", 1), glow(2, "lu", 2), ["3 steps (level 1 step 1 to level 1 step 3)", "only 2"]),
    ],
)
def test_a_problem_names_the_layers_and_the_reason(student: Flow, teacher: Flow, expected: list[str]) -> None:
    pairs = paper(student, teacher)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    problems = Inheritance("mixing", pairs).problems(student, teacher)
    assert {problem.path for problem in problems} == {"distillation.inherit"}
    assert all(text in problems[0].message for text in [*expected, pairs[0].summary])
    with pytest.raises(ValueError, match="up to student"):
        inherit(student, teacher, pairs)
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())


def test_a_squeeze_between_matched_layers_of_one_flow_is_a_problem() -> None:
    student, teacher = glow(2, "lu", 1), glow(4, "lu", 2)
    own = tuple(MatchedPair(student=s, teacher=t) for s, t in (("level1.step2", "level1.step3"),))
    own += (MatchedPair(student="level2.step2", teacher="level2.step4"),)
    pairs = match_layers(MatchingConfig(strategy="pairs", pairs=own), student.layer_info(), teacher.layer_info())
    [problem] = Inheritance("mixing", pairs).problems(student, teacher)
    assert "at level 2 step 1 to level 2 step 2" in problem.message
    assert "at level 1 step 4 and level 2 step 1 to level 2 step 4" in problem.message


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_an_experiment_with_a_flow_without_mixing_is_refused(role: str) -> None:
    config = inheriting(**{role: {"kind": "maf", "steps": 2, "hidden": 4}})
    problems = {problem.path: problem.message for problem in describe(config).problems}
    assert f"the {role} has no mixing" in problems["distillation.inherit"]


# --- in a run ---------------------------------------------------------------------------------------------------------


def inheriting(make: Any = moons, **changes: Any) -> Any:
    training = {"learning_rate": 1e-30, "schedule": "constant"} | changes.pop("training", {})
    return make(distillation={"inherit": "mixing"}, training=training, **changes)


def test_the_student_of_a_run_inherits_and_its_baseline_does_not(tmp_path: Path) -> None:
    record = nfkd.run(inheriting(digits, training={"teacher_steps": 3, "student_steps": 1}), tmp_path / "run")
    teacher = record.load_teacher().scaled.double()
    student = record.load_student().scaled.double()
    baseline = record.load_baseline().scaled.double()
    untaught = build_flow(
        record.config.student,
        (1, 8, 8),
        generator=named_generator(record.config.seeds.first, "student", "initialisation"),
    ).double()
    pairs = paper(student, teacher)
    names = [info.name for info in teacher.layer_info() if info.kind == "step"]
    start = 0
    for pair in pairs:
        end = names.index(pair.teacher) + 1
        expected = chain(teacher, names[start:end])
        torch.testing.assert_close(matrix(student, pair.student), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(matrix(baseline, pair.student), matrix(untaught, pair.student), rtol=0, atol=1e-6)
        start = end


def test_a_resumed_run_inherits_once(tmp_path: Path) -> None:
    config = inheriting(training={"learning_rate": 1e-2, "teacher_steps": 3, "student_steps": 3})

    def stop(event: events.RunEvent, control: Control, stage: str) -> None:
        if isinstance(event, events.SamplesDrawn) and event.stage == stage:  # after the first step
            control.stop("run")

    whole = nfkd.run(config, tmp_path / "whole")
    path = prepare(config, tmp_path / "stopped")
    for stage in ("student", "baseline"):
        control = Control()
        emit = partial(stop, control=control, stage=stage)
        assert execute_run(path, config, emit, control, resume=stage == "baseline") == "stopped"
    record = nfkd.run(config, path, resume=True)
    for role in ("student", "baseline"):
        resumed, expected = (run.curves[role]["train/total"].values.tolist() for run in (record, whole))
        assert resumed == expected


@pytest.mark.parametrize("kind", ["lu", "dense"])
def test_a_singular_matrix_is_refused_and_nothing_changes(kind: str) -> None:
    mixing = build_mixing(kind, 3, torch.Generator().manual_seed(1))  # type: ignore[arg-type]
    before = mixing.mixing_matrix().detach().clone()
    for matrix_ in (torch.ones(3, 3), torch.full((3, 3), float("nan"))):
        with pytest.raises(ValueError, match="singular or not finite"):
            mixing.set_mixing_matrix(matrix_)
    assert torch.equal(mixing.mixing_matrix(), before)


def test_an_order_accepts_only_permutation_matrices() -> None:
    mixing = build_mixing("shuffle", 3, torch.Generator().manual_seed(1))
    mixing.set_mixing_matrix(torch.eye(3)[[2, 0, 1]])
    assert mixing(torch.tensor([[10.0, 20.0, 30.0]]))[0].tolist() == [[30.0, 10.0, 20.0]]
    with pytest.raises(ValueError, match="not a permutation of the channels"):
        mixing.set_mixing_matrix(2 * torch.eye(3))
