"""The norms of the terms' gradients before a run."""

from __future__ import annotations

import torch

from nfkd.config import ExperimentConfig
from nfkd.data import load_dataset
from nfkd.distillation.distiller import Distiller
from nfkd.flows.architectures import build_flow
from nfkd.training.gradient_norms import measure_norms
from nfkd.training.state import StageState
from tests.core.tiny import moons

TERMS = {"nll": {"weight": 1.0}, "lkd": {"weight": 0.2}, "ilkd": {"weight": 0.0}, "skd": {"weight": 0.0}}


def stage(config: ExperimentConfig) -> StageState:
    """Return a student with weights that no initialisation is special for."""
    flow = build_flow(config.student, (2,), generator=torch.Generator().manual_seed(1))
    dataset = load_dataset(config.data)
    flow.initialize(dataset.batch(dataset.train.some(64), torch.Generator().manual_seed(0)).x)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(2)
        for parameter in flow.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return StageState.fresh("student", 1, flow.train(), config.training, len(dataset.train))


def norms_of(config: ExperimentConfig, loss: Distiller, seconds: float = 60.0) -> tuple[dict[str, float], StageState]:
    state = stage(config)
    dataset = load_dataset(config.data)
    return measure_norms(config.training, dataset, state, loss, seconds=seconds, check=lambda: None), state


def test_a_norm_is_that_of_the_whole_gradient_of_a_loss_with_this_term_alone() -> None:
    config = moons(distillation=TERMS)
    dataset = load_dataset(config.data)
    teacher = build_flow(config.teacher, (2,), generator=torch.Generator().manual_seed(3))
    teacher.initialize(dataset.batch(dataset.train.some(64), torch.Generator().manual_seed(0)).x)
    both, state = norms_of(config, Distiller(config.distillation, teacher, [], dataset, measure_every=1))
    assert set(both) == {"nll", "lkd"}
    for name, norm in both.items():
        off = {other: {"weight": 0.0} for other in both if other != name}
        alone = Distiller(moons(distillation=TERMS | off).distillation, teacher, [], dataset)
        same, norms = stage(config), []
        for _ in range(3):  # the same batches, drawn with the same random numbers
            batch = dataset.training_batch(
                same.batches.next().numpy(), same.generators.dequantization, same.generators.augmentation
            )
            norms.append(float(alone.backward(same.flow, batch, same.generators).gradient_norm))
        torch.testing.assert_close(torch.tensor(norm), torch.tensor(sum(norms) / 3), rtol=1e-4, atol=1e-6)
    unchanged = stage(config)
    for before, after in zip(unchanged.flow.parameters(), state.flow.parameters(), strict=True):
        assert torch.equal(before, after)


def test_one_batch_is_enough_where_there_is_no_time_and_one_term_has_no_norm() -> None:
    config = moons(distillation=TERMS | {"lkd": {"weight": 0.0}})
    norms, state = norms_of(config, Distiller(config.distillation, None, [], load_dataset(config.data)), seconds=0.0)
    assert norms == {}
    other = stage(config)
    other.batches.next()
    assert torch.equal(state.batches.next(), other.batches.next())
