"""Inherit blocks: a student of the teacher's size computes the teacher's density; smaller ones have its parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import nfkd
from nfkd.config import Glow1DConfig, GlowConfig
from nfkd.config.flows import FlowConfig, IAFConfig, JetConfig, MAFConfig, NSFConfig, TarFlowConfig
from nfkd.data import Batch
from nfkd.distillation.inheritance import Inheritance
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from nfkd.planning.describe import describe
from nfkd.runs.recovery import recover
from tests.core.distillation.test_inheritance import chain, matrix
from tests.core.flows.flow_cases import batch, context_of, every_flow, generator
from tests.core.tiny import digits, moons
from tests.core.training.runs import KillPoint, assert_same, run_with_copies

IMAGE, VECTOR = (1, 8, 8), (5,)


def flow(config: FlowConfig, shape: tuple[int, ...], seed: int, features: int = 0) -> Flow:
    return build_flow(config, shape, context_features=features, generator=generator(seed)).double()


def trained(config: FlowConfig, shape: tuple[int, ...], features: int = 0) -> Flow:
    """Return a flow with noise on every parameter but those of the outer norms, which are set from the examples."""
    made, rng = flow(config, shape, 7, features), generator(8)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if ".mixing.norm." not in name:
                parameter += 0.05 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
    made.initialize_outer(*examples(shape, features))
    return made


def examples(shape: tuple[int, ...], features: int = 0) -> tuple[Tensor, Tensor | None]:
    return batch(shape, 32, seed=5), context_of(features, 32, seed=6)


def inherit(student: Flow, teacher: Flow, configs: tuple[FlowConfig, FlowConfig]) -> None:
    x, context = examples(student.event_shape, student.context_features)
    Inheritance("blocks", configs=configs).apply(student, teacher, Batch(x, context))


def student_of(config: FlowConfig, teacher: Flow, **changes: Any) -> Flow:
    """Return a student that has inherited, with fewer steps or other changes."""
    smaller = config.model_copy(update=changes)
    student = flow(smaller, teacher.event_shape, 1, teacher.context_features)
    inherit(student, teacher, (smaller, config))
    return student


def part(flow: Flow, name: str, prefix: str) -> dict[str, Tensor]:
    """Return a layer's tensors whose names begin with a prefix."""
    index = [info.name for info in flow.layer_info()].index(name)
    state = flow.layers[index].state_dict()
    return {key: value for key, value in state.items() if key.startswith(prefix)}


def assert_copied(student: Flow, name: str, teacher: Flow, target: str, prefix: str = "coupling.") -> None:
    mine, theirs = part(student, name, prefix), part(teacher, target, prefix)
    assert list(mine) == list(theirs) != []
    for key in mine:
        torch.testing.assert_close(mine[key], theirs[key], rtol=0, atol=0)


# --- equal flows ------------------------------------------------------------------------------------------------------


@every_flow
def test_an_equal_student_computes_the_teachers_density(
    config: FlowConfig, shape: tuple[int, ...], features: int
) -> None:
    teacher = trained(config, shape, features)
    if getattr(config, "batch_norm", False):
        messages = [problem.message for problem in problems(config, config, shape)]
        assert messages
        assert all("batch norm" in message for message in messages)
        return
    student = student_of(config, teacher)
    x, context = batch(shape, 6), context_of(features, 6)
    torch.testing.assert_close(student.log_prob(x, context), teacher.log_prob(x, context), rtol=1e-9, atol=1e-9)
    fresh = flow(config, shape, 1, features)
    fresh.initialize(*examples(shape, features))
    assert not torch.allclose(fresh.log_prob(x, context), teacher.log_prob(x, context), atol=1e-3)


# --- fewer steps ------------------------------------------------------------------------------------------------------


def test_a_glow_step_mixes_like_several_and_copies_the_last_network() -> None:
    config = GlowConfig(levels=2, steps=5, hidden=4, learned_prior=True)
    teacher = trained(config, IMAGE)
    student = student_of(config, teacher, steps=2)
    for level in ("level1", "level2"):
        for step, first, last in ((1, 1, 3), (2, 4, 5)):
            expected = chain(teacher, [f"{level}.step{number}" for number in range(first, last + 1)])
            torch.testing.assert_close(matrix(student, f"{level}.step{step}"), expected, rtol=1e-5, atol=1e-5)
            assert_copied(student, f"{level}.step{step}", teacher, f"{level}.step{last}")
    assert_copied(student, "level1.split", teacher, "level1.split", "network.")
    assert student.prior is not None
    assert teacher.prior is not None
    for mine, theirs in zip(student.prior.parameters(), teacher.prior.parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize(
    "config",
    [
        Glow1DConfig(steps=6, hidden=4),
        Glow1DConfig(steps=6, hidden=4, network="residual", permutation="shuffle"),
        NSFConfig(steps=6, hidden=4, bins=3),
        NSFConfig(steps=6, hidden=4, bins=3, transform="autoregressive"),
    ],
)
def test_outer_norms_come_from_the_examples_and_inner_ones_from_the_teacher(config: FlowConfig) -> None:
    teacher = trained(config, VECTOR)
    student = student_of(config, teacher, steps=2)
    x, _ = examples(VECTOR)
    for step, target in (("step1", "step3"), ("step2", "step6")):
        assert_copied(student, step, teacher, target)
        norm = part(student, step, "mixing.norm.")
        normalised = (x + norm["mixing.norm.bias"]) * norm["mixing.norm.log_scale"].exp()
        torch.testing.assert_close(normalised.mean(0), torch.zeros(5).double(), rtol=0, atol=1e-9)
        torch.testing.assert_close(normalised.std(0, correction=0), torch.ones(5).double(), rtol=0, atol=1e-4)
        x = student.trace(examples(VECTOR)[0])[step][0].detach()
    before = student.log_prob(batch(VECTOR)).detach()
    student.initialize(10 * batch(VECTOR, 32))  # the first batch of training changes nothing
    assert torch.equal(student.log_prob(batch(VECTOR)), before)


FEWER_STEPS = [(2, 4, (1, 4)), (2, 6, (3, 6)), (1, 4, (3,)), (3, 5, (1, 4, 5))]
fewer_steps = pytest.mark.parametrize(("steps", "of", "copied"), FEWER_STEPS)


@pytest.mark.parametrize("config_type", [MAFConfig, IAFConfig])
@fewer_steps
def test_reversed_orders_still_alternate(config_type: Any, steps: int, of: int, copied: tuple[int, ...]) -> None:
    config = config_type(steps=of, hidden=6)
    teacher = trained(config, VECTOR)
    student = student_of(config, teacher, steps=steps)
    for step, target in enumerate(copied, start=1):
        assert_copied(student, f"step{step}", teacher, f"step{target}", "network.")
        expected = torch.arange(5) if step % 2 else torch.arange(5).flip(0)
        assert torch.equal(part(student, f"step{step}", "order")["order"], expected)


@fewer_steps
def test_blocks_of_tarflow_come_from_blocks_of_the_same_order(steps: int, of: int, copied: tuple[int, ...]) -> None:
    teacher = trained(TarFlowConfig(steps=of, hidden=8, depth=1), VECTOR)
    student = student_of(TarFlowConfig(steps=of, hidden=8, depth=1), teacher, steps=steps)
    for step, target in enumerate(copied, start=1):
        assert_copied(student, f"step{step}", teacher, f"step{target}", "network.")


@pytest.mark.parametrize("config", [TarFlowConfig(steps=2, hidden=8, depth=4), JetConfig(steps=2, hidden=8, depth=4)])
def test_a_transformer_of_fewer_layers_has_every_second_one(config: TarFlowConfig | JetConfig) -> None:
    teacher = trained(config, IMAGE)
    student = student_of(config, teacher, depth=2)
    for step in ("step1", "step2"):
        for layer, target in ((0, 1), (1, 3)):
            prefixes = [f"network.transformer.layers.{number}." for number in (layer, target)]
            mine, theirs = (part(each, step, prefix) for each, prefix in zip((student, teacher), prefixes, strict=True))
            assert [name.removeprefix(prefixes[0]) for name in mine] == [
                name.removeprefix(prefixes[1]) for name in theirs
            ]
            assert all(torch.equal(a, b) for a, b in zip(mine.values(), theirs.values(), strict=True))
        for prefix in ("network.inputs.", "network.outputs.", "network.positions"):
            assert_copied(student, step, teacher, step, prefix)


def test_couplings_of_jet_keep_what_they_change() -> None:
    config = JetConfig(steps=6, hidden=8)
    teacher = trained(config, IMAGE)
    student = student_of(config, teacher, steps=2)
    for step, target in (("step1", "step3"), ("step2", "step6")):
        assert_copied(student, step, teacher, target, "")
        assert torch.equal(part(student, step, "changed")["changed"], part(teacher, target, "changed")["changed"])


def test_permuted_orders_are_those_of_the_copied_steps() -> None:
    config = MAFConfig(steps=4, hidden=6, order="permuted")
    teacher = trained(config, VECTOR)
    student = student_of(config, teacher, steps=2)
    for step, target in (("step1", "step2"), ("step2", "step4")):
        assert_copied(student, step, teacher, target, "")


def test_checkerboard_steps_copy_networks_of_the_same_squares() -> None:
    config = GlowConfig(levels=1, steps=1, hidden=4, checkerboard=4, permutation="reverse")
    teacher = trained(config, IMAGE)
    student = student_of(config, teacher, checkerboard=2)
    assert_copied(student, "level1.checker1", teacher, "level1.checker1")  # of steps 1 and 2
    assert_copied(student, "level1.checker2", teacher, "level1.checker4")  # of steps 3 and 4


def test_an_inherited_flow_is_still_invertible() -> None:
    config = GlowConfig(levels=2, steps=4, hidden=4)
    student = student_of(config, trained(config, IMAGE), steps=1)
    x = batch(IMAGE)
    torch.testing.assert_close(student.decode(student.encode(x)), x, rtol=1e-7, atol=1e-7)


# --- problems ---------------------------------------------------------------------------------------------------------

GLOW = GlowConfig(levels=2, steps=4, hidden=8)
VECTORS = Glow1DConfig(steps=4, hidden=8)


def problems(student: FlowConfig, teacher: FlowConfig, shape: tuple[int, ...]) -> list[Any]:
    flows = [build_flow(config, shape, device="meta") for config in (student, teacher)]
    return Inheritance("blocks", configs=(student, teacher)).problems(*flows)


@pytest.mark.parametrize(
    ("teacher", "changes", "expected"),
    [
        (GLOW, {"hidden": 16}, ["hidden is 16 in the student and 8 in the teacher", "cannot be wider"]),
        (VECTORS, {"hidden": 9}, ["cannot be wider"]),
        (VECTORS.model_copy(update={"network": "residual"}), {"hidden": 4}, ["units can be removed only from"]),
        (NSFConfig(steps=4, hidden=8), {"hidden": 4}, ["hidden is 4", "units can be removed only from"]),
        (MAFConfig(steps=4, hidden=8), {"hidden": 4}, ["units can be removed only from"]),
        (GLOW, {"steps": 5}, ["steps is 5 in the student and only 4 in the teacher"]),
        (GLOW, {"levels": 1}, ["levels is 1"]),
        (GLOW, {"coupling": "additive"}, ["coupling is additive in the student and affine in the teacher"]),
        (GLOW, {"scale": "tanh"}, ["scale is tanh"]),
        (GLOW, {"actnorm": False}, ["actnorm is false"]),
        (GLOW, {"learned_prior": True}, ["learned_prior is true"]),
        (GLOW, {"permutation": "shuffle"}, ["only reorders the channels"]),
        (GLOW.model_copy(update={"checkerboard": 2}), {"checkerboard": 0}, ["checkerboard is 0"]),
        (GLOW.model_copy(update={"checkerboard": 3}), {"checkerboard": 2}, ["see the other half of the data"]),
        (VECTORS, {"depth": 1}, ["depth is 1"]),
        (VECTORS, {"network": "residual"}, ["network is residual"]),
        (NSFConfig(steps=4, hidden=8), {"bins": 4}, ["bins is 4"]),
        (NSFConfig(steps=4, hidden=8), {"tail_bound": 2.0}, ["tail_bound is 2.0"]),
        (NSFConfig(steps=4, hidden=8), {"transform": "autoregressive"}, ["transform is autoregressive"]),
        (MAFConfig(steps=4, hidden=8), {"order": "permuted"}, ["order is permuted"]),
        (MAFConfig(steps=3, hidden=8), {"steps": 2}, ["the other order"]),
        (TarFlowConfig(steps=3, hidden=8), {"steps": 2}, ["the other order"]),
        (TarFlowConfig(steps=4), {"depth": 3}, ["depth is 3 in the student and 2 in the teacher: give both the same"]),
        (TarFlowConfig(steps=4), {"hidden": 32}, ["units can be removed only from"]),
    ],
)
def test_flows_that_do_not_fit_are_refused_with_the_reason(
    teacher: FlowConfig, changes: dict[str, Any], expected: list[str]
) -> None:
    shape = IMAGE if isinstance(teacher, GlowConfig) else VECTOR
    student = teacher.model_copy(update={"steps": min(2, teacher.steps)} | changes)
    found = problems(student, teacher, shape)
    assert found
    assert {problem.path for problem in found} == {"distillation.inherit"}
    assert all(text in found[0].message for text in expected)


def test_other_kinds_contexts_and_libraries_are_refused() -> None:
    flows = flow(VECTORS, VECTOR, 1), flow(NSFConfig(steps=2, hidden=8), VECTOR, 1)
    configs = VECTORS, NSFConfig(steps=2, hidden=8)
    [kind] = Inheritance("blocks", configs=configs).problems(*flows)
    assert "kind glow1d" in kind.message
    [library] = Inheritance("blocks").problems(*flows)
    assert "another library" in library.message
    conditional = flow(VECTORS, VECTOR, 1, features=3)
    inheritance = Inheritance("blocks", configs=(VECTORS, VECTORS))
    [context] = inheritance.problems(conditional, flows[0])
    assert "a context of 3 values" in context.message
    before = {name: value.clone() for name, value in conditional.state_dict().items()}
    with pytest.raises(ValueError, match="a context of 3 values"):
        inheritance.apply(conditional, flows[0], Batch(*examples(VECTOR, 3)))
    assert all(torch.equal(value, before[name]) for name, value in conditional.state_dict().items())


def test_an_experiment_is_refused_before_it_runs() -> None:
    wider = digits(distillation={"inherit": "blocks"}, student={"hidden": 7})
    found = {problem.path: problem.message for problem in describe(wider).problems}
    assert "hidden is 7 in the student and 6 in the teacher" in found["distillation.inherit"]
    for hidden in (4, 6):
        assert not describe(digits(distillation={"inherit": "blocks"}, student={"hidden": hidden})).problems


def test_only_maximum_likelihood_with_inherited_blocks_uses_the_teacher() -> None:
    alone = {name: {"weight": 0.0} for name in ("lkd", "ilkd", "skd")}
    for mode, warned in (("none", True), ("blocks", False)):
        config = digits(distillation=alone | {"inherit": mode}, student={"hidden": 6})
        assert any("no term uses" in warning.message for warning in describe(config).warnings) == warned


# --- in a run ---------------------------------------------------------------------------------------------------------


def inheriting(mode: str = "blocks", hidden: int = 8, **changes: Any) -> Any:
    return moons(distillation={"inherit": mode}, student={"steps": 1, "hidden": hidden}, **changes)


def test_the_baseline_is_that_of_a_run_without_inheritance_bit_for_bit(tmp_path: Path) -> None:
    few = {"teacher_steps": 6, "student_steps": 9}
    records = {mode: nfkd.run(inheriting(mode, training=few), tmp_path / mode) for mode in ("none", "blocks")}
    weights = {mode: load_file(record.path / "baseline.safetensors") for mode, record in records.items()}
    assert weights["none"].keys() == weights["blocks"].keys()
    assert all(torch.equal(value, weights["blocks"][name]) for name, value in weights["none"].items())
    curves = [record.curves["baseline"]["train/total"].values.tolist() for record in records.values()]
    assert curves[0] == curves[1]
    students = [record.curves["student"]["train/nll"].values[0] for record in records.values()]
    assert students[0] != students[1]


def test_the_student_of_a_run_starts_with_its_teachers_networks(tmp_path: Path) -> None:
    still = {"learning_rate": 1e-30, "schedule": "constant", "student_steps": 1}
    record = nfkd.run(inheriting(training=still | {"teacher_steps": 3}), tmp_path / "run")
    student, teacher = record.load_student().scaled, record.load_teacher().scaled
    for key, value in part(student, "step1", "coupling.").items():
        torch.testing.assert_close(value, part(teacher, "step3", "coupling.")[key], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("hidden", "baseline"), [(8, True), (4, False)])
def test_a_killed_run_inherits_once(hidden: int, baseline: bool, tmp_path: Path) -> None:
    steps = {"teacher_steps": 4, "student_steps": 7, "checkpoint_every": 4}
    config = inheriting(hidden=hidden, training=steps | {"baseline": baseline})
    points = [KillPoint(1, "student", 3), KillPoint(1, "student", 6)]
    points += [KillPoint(1, "baseline", 5)] if baseline else []
    whole, copies = run_with_copies(config, tmp_path, points)
    for copied in copies:
        recover(copied)
        nfkd.run(config, copied, resume=True)
        assert_same(copied, whole, config)


def test_every_assistant_inherits_from_the_flow_before_it() -> None:
    assistants = [{"kind": "glow1d", "steps": 2, "hidden": 6}]
    found = {problem.path: problem.message for problem in describe(inheriting(assistants=assistants)).problems}
    assert "the student as the student of assistant 1" in found["distillation.inherit"]
    assert "hidden is 8 in the student and 6 in the teacher" in found["distillation.inherit"]
    assert not describe(inheriting(assistants=[assistants[0] | {"hidden": 8}])).problems
