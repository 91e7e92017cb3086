"""Random numbers, batches, learning rates, checkpoints."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nfkd.config import TrainingConfig
from nfkd.runs.errors import RunError
from nfkd.training.checkpoint import NAME, Checkpoint, Position, load_checkpoint, save_checkpoint
from nfkd.training.generators import Batches, Generators, named_generator
from nfkd.training.optimizers import learning_rate, make_optimizer


def draws(generator: torch.Generator) -> list[float]:
    return torch.rand(4, generator=generator).tolist()


def test_generators_depend_on_seed_stage_and_purpose_alone() -> None:
    names = [(1, "teacher", "order"), (2, "teacher", "order"), (1, "student", "order"), (1, "teacher", "synthesis")]
    first = [draws(named_generator(*name)) for name in names]
    assert first == [draws(named_generator(*name)) for name in names]
    assert len({tuple(values) for values in first}) == len(names)


def test_generators_are_restored() -> None:
    generators = Generators(1, "teacher")
    draws(generators.order)
    draws(generators("synthesis"))
    state = generators.state()
    assert all(value.dtype == torch.uint8 for value in state.values())
    expected = draws(generators.order), draws(generators("synthesis")), draws(generators("jacobian"))
    other = Generators(1, "teacher")
    other.restore(state)
    assert (draws(other.order), draws(other("synthesis")), draws(other("jacobian"))) == expected


@given(st.integers(1, 60), st.integers(1, 70), st.integers(1, 5))
def test_an_epoch_shows_each_example_at_most_once(count: int, size: int, epochs: int) -> None:
    batches = Batches(count, size, torch.Generator().manual_seed(0))
    per_epoch = count // min(size, count)
    for _ in range(epochs):
        seen = torch.cat([batches.next() for _ in range(per_epoch)])
        assert len(seen.unique()) == len(seen) == per_epoch * min(size, count)


def test_batches_are_restored_in_the_middle_of_an_epoch() -> None:
    generators = Generators(3, "teacher")
    batches = Batches(50, 8, generators.order)
    for _ in range(9):
        batches.next()
    kept, (order, cursor) = generators.state(), batches.state()
    expected = [batches.next().tolist() for _ in range(20)]
    again = Generators(3, "teacher")
    again.restore(kept)
    other = Batches(50, 8, again.order)
    other.restore(order, cursor)
    assert [other.next().tolist() for _ in range(20)] == expected


def test_the_learning_rate_has_a_warmup_and_a_cosine() -> None:
    config = TrainingConfig(learning_rate=0.1, warmup_steps=10, schedule="cosine")
    rates = [learning_rate(config, step, 110) for step in range(110)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) / 11 for step in range(10)])
    assert rates[10] == pytest.approx(0.1)
    assert rates[60] == pytest.approx(0.05)
    assert all(later < earlier for earlier, later in pairwise(rates[10:]))
    assert 0 < rates[-1] < 1e-4
    above = config.model_copy(update={"final_learning_rate": 0.02})
    assert [learning_rate(above, step, 110) for step in (5, 10, 60, 110)] == pytest.approx([rates[5], 0.1, 0.06, 0.02])
    assert learning_rate(config.model_copy(update={"final_learning_rate": 0.5}), 109, 110) == pytest.approx(0.1)
    constant = TrainingConfig(learning_rate=0.1, warmup_steps=0, schedule="constant")
    assert {learning_rate(constant, step, 10) for step in range(10)} == {0.1}


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamax", torch.optim.Adamax), ("adamw", torch.optim.AdamW)]
)
def test_the_configured_optimizer_is_created(name: str, kind: type) -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    made = make_optimizer(TrainingConfig(optimizer=name), [parameter])  # type: ignore[arg-type]
    of_torch = (each for each in type(made).__mro__ if each.__module__.startswith("torch"))
    assert next(of_torch) is kind


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(Position(stage="student", step=step, best=1.5), {"model/a": torch.full((3,), float(step))})


def test_a_checkpoint_is_read_as_written(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(3))
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded.position == checkpoint(3).position
    torch.testing.assert_close(loaded.group("model")["a"], torch.full((3,), 3.0))


def test_a_damaged_checkpoint_is_replaced_by_the_previous_one(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(3))
    save_checkpoint(tmp_path, checkpoint(6))
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:-5])
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded.position.step == 3
    (tmp_path / "checkpoint.previous.safetensors").write_bytes(b"no checkpoint at all")
    with pytest.raises(RunError, match="checkpoints cannot be read"):
        load_checkpoint(tmp_path)


def test_a_directory_without_checkpoints_has_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None
