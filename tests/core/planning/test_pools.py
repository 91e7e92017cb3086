"""The pool of an experiment before it runs: problems, warnings, memory and cost."""

from __future__ import annotations

from typing import Any

import pytest

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.planning.describe import describe
from nfkd.planning.plans import stage_costs
from tests.core.tiny import digits, moons

SHARE = "distillation.pool.share"
NLL = {"lkd": {"weight": 0.0}, "ilkd": {"weight": 0.0}, "skd": {"weight": 0.0}}
LATENTS: dict[str, Any] = {"skd": {"weight": 0.0}}
NO_CACHE: dict[str, Any] = {"cache": 0}


def pooled(make=moons, terms: dict[str, Any] | None = None, training: dict[str, Any] | None = None, **pool: Any):
    """Return an experiment with a pool."""
    return make(distillation={**(terms or {}), "pool": {"share": 0.5, **pool}}, training=training or {})


def problems(config: ExperimentConfig, **named: Any) -> dict[str, str]:
    return {problem.path: problem.message for problem in describe(config, **named).problems}


def warnings(config: ExperimentConfig) -> dict[str, str]:
    return {warning.path: warning.message for warning in describe(config).warnings}


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_a_usual_pool_has_no_problem(share: float) -> None:
    assert problems(pooled(share=share)) == {}
    assert problems(pooled(digits, share=share)) == {}


@pytest.mark.parametrize(("field", "value"), [("share", 1.5), ("share", -0.1), ("size", -1)])
def test_impossible_values_are_refused_at_their_path(field: str, value: float) -> None:
    with pytest.raises(nfkd.ConfigError) as refused:
        moons(distillation={"pool": {field: value}})
    assert [problem.path for problem in refused.value.problems] == [f"distillation.pool.{field}"]


def test_a_share_of_one_is_refused_where_only_real_data_have_a_context() -> None:
    conditional: dict[str, Any] = {"data": {"class_labels": True}}
    found = problems(digits(**conditional, distillation={"pool": {"share": 1.0}}))
    assert found.keys() == {SHARE}
    assert "the contexts of the samples are from real data: choose less than 1" in found[SHARE]
    assert problems(digits(**conditional, distillation={"pool": {"share": 0.9}})) == {}


@pytest.mark.parametrize(
    ("share", "size", "message"),
    [
        (0.1, 4, "0.1 of a batch of 4 leaves no samples of the teacher: make training.batch_size larger"),
        (0.9, 4, "0.9 of a batch of 4 leaves no real examples: make training.batch_size larger"),
        (0.5, 4, None),
    ],
)
def test_a_batch_that_is_too_small_for_the_share_is_refused(share: float, size: int, message: str | None) -> None:
    found = problems(pooled(share=share, training={"batch_size": size}))
    assert found == ({} if message is None else {SHARE: message})


def test_a_pool_smaller_than_its_part_of_a_batch_is_refused() -> None:
    message = "a pool of 15 is smaller than the 16 samples that each batch takes from it: make it larger"
    found = problems(pooled(size=15))
    assert found.keys() == {"distillation.pool.size"}
    assert found["distillation.pool.size"].startswith(message)
    assert problems(pooled(size=16)) == {}


def test_a_teacher_that_cannot_sample_is_refused() -> None:
    zuko = pytest.importorskip("zuko")
    teacher = nfkd.wrap_teacher(zuko.flows.MAF(2, transforms=2, hidden_features=(8,)))
    name = {"training": {"teacher_weights": "python:zuko MAF"}}
    config = moons(distillation={**LATENTS, "pool": {"share": 0.5}}, **name)
    assert problems(config, teacher=teacher) == {}
    teacher.unsupported["synthesis"] = "it has no inverse"
    message = "the teacher cannot sample: it has no inverse; set it to 0"
    assert problems(config, teacher=teacher) == {SHARE: message}
    assert problems(moons(distillation=LATENTS, **name), teacher=teacher) == {}


def test_a_pool_alone_uses_the_teacher() -> None:
    assert "no term uses the teacher" in warnings(moons(distillation=NLL))["distillation"]
    assert "distillation" not in warnings(pooled(terms=NLL))


def memory(config: ExperimentConfig) -> int:
    student = describe(config).student
    assert student is not None
    return student.memory


def test_the_memory_has_the_samples_with_their_noise_and_the_cache() -> None:
    plain, size = memory(digits(distillation=NLL)), 1000
    assert memory(pooled(digits, NLL, size=size)) - plain == 4 * size * (64 + 64)
    assert memory(pooled(digits, NLL, size=0)) - plain == 4 * 8192 * (64 + 64)
    latents = memory(digits(distillation=LATENTS))
    # log p and log-determinant, 64 latents, and the matched layers of 4×4×4 and 8×2×2 with their log-determinants
    cached = 4 * size * (2 + 64 + 64 + 1 + 32 + 1)
    assert memory(pooled(digits, LATENTS, size=size)) - latents == 4 * size * 128 + cached
    assert memory(pooled(digits, LATENTS | NO_CACHE, size=size)) - latents == 4 * size * 128


def test_too_little_memory_names_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nfkd.planning.describe.memory_available", lambda _: 2**30)
    found = problems(pooled(digits, NLL, size=10_000_000))
    assert found.keys() == {"student.hidden"}
    assert "make the flow, the batch or the pool smaller" in found["student.hidden"]


def cost(config: ExperimentConfig) -> float:
    return stage_costs(config, describe(config))["student"]


def test_a_cached_teacher_makes_a_step_cheaper() -> None:
    assert cost(pooled(digits, NLL)) == cost(digits(distillation=NLL))
    nll, both = cost(digits(distillation=NLL)), cost(digits(distillation=LATENTS))
    assert cost(pooled(digits, LATENTS)) - nll == pytest.approx((both - nll) / 2)
    assert cost(pooled(digits, LATENTS, share=1.0)) == pytest.approx(nll)
    assert cost(pooled(digits, LATENTS | NO_CACHE)) == pytest.approx(both)
    score = LATENTS | {"score": {"weight": 0.1}}
    assert cost(pooled(digits, score)) == pytest.approx(cost(digits(distillation=score)))


def test_skd_at_temperature_one_makes_no_samples_of_the_teacher() -> None:
    skd = NLL | {"skd": {"weight": 1.0}}
    saved = cost(digits(distillation=skd)) - cost(pooled(digits, skd))
    teacher = describe(digits(distillation=skd)).teacher
    assert teacher is not None
    assert saved == pytest.approx(teacher.multiply_adds * 64 / 32)  # 64 samples for a batch of 32
    warm = NLL | {"skd": {"weight": 1.0, "temperature": 0.9}}
    assert cost(digits(distillation=warm)) == cost(pooled(digits, warm))


def test_a_pool_that_takes_longer_than_the_training_gives_a_warning() -> None:
    path, steps = "distillation.pool.size", {"student_steps": 20}
    found = warnings(pooled(terms=NLL, training=steps))[path]
    assert found.startswith("drawing 20,000 samples of the teacher takes about as long as ")
    assert found.endswith("and the training has 20: set a smaller size")
    assert path not in warnings(pooled(terms=NLL, training={"student_steps": 10_000}))
    assert path not in warnings(pooled(terms=NLL, training=steps, size=64))
    maf = {"kind": "maf", "steps": 2, "hidden": 8}
    slow = warnings(pooled(terms=NLL, training=steps).replace(teacher=maf))[path]
    assert "an autoregressive flow computes 2 features one after another" in slow
