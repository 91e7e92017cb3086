"""A batch in pieces: values and gradients against those of the batch as a whole, in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nfkd.config import DistillationConfig, Glow1DConfig
from nfkd.data import Batch, Dataset
from nfkd.distillation.distiller import Distiller, Likelihood, cuts
from nfkd.distillation.matching import match_layers
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow

CONFIG = DistillationConfig.model_validate(
    {
        "nll": {"weight": 0.3},
        "lkd": {"weight": 0.3},
        "ilkd": {"weight": 0.2},
        "skd": {"weight": 0.2, "batch_size": 6},
    }
)


def gradients(flow: Flow) -> dict[str, Tensor]:
    values = {name: value.grad.clone() for name, value in flow.named_parameters() if value.grad is not None}
    flow.zero_grad()
    return values


def distiller(teacher: Flow, student: Flow, dataset: Dataset) -> Distiller:
    pairs = match_layers(CONFIG.matching, student.layer_info(), teacher.layer_info())
    return Distiller(CONFIG, teacher, pairs, dataset)


def compare(loss: Distiller | Likelihood, flow: Flow, batch: Batch, count: int, pieces: int) -> None:
    whole_draws, piece_draws = (torch.Generator().manual_seed(3) for _ in range(2))
    whole = loss(flow, batch, whole_draws)
    whole.total.backward()
    expected = gradients(flow)
    total, terms = 0.0, dict.fromkeys(whole.terms, 0.0)
    made = 0
    for piece in loss.pieces(flow, batch, piece_draws, count):
        piece.total.backward()
        total += piece.total.item()
        terms = {name: value + piece.terms[name].item() for name, value in terms.items()}
        made += 1
    assert made == pieces
    assert total == pytest.approx(whole.total.item(), rel=1e-12)
    assert terms == pytest.approx({name: value.item() for name, value in whole.terms.items()}, rel=1e-12)
    found = gradients(flow)
    assert found.keys() == expected.keys() != set()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-12)
    assert torch.equal(whole_draws.get_state(), piece_draws.get_state())


@pytest.mark.parametrize(("count", "pieces"), [(1, 1), (2, 2), (3, 3), (4, 4), (50, 6)])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_pieces_of_a_distillation_add_up(
    count: int, pieces: int, weighted: bool, make_flow: Callable[..., Flow], digits: Dataset, x: Tensor
) -> None:
    student, teacher = make_flow(1, 5), make_flow(3, 6)
    weights = torch.linspace(0.1, 1.9, len(x), dtype=torch.float64) if weighted else None
    compare(distiller(teacher, student, digits), student, Batch(x, None, weights), count, pieces)


@pytest.mark.parametrize(("count", "pieces"), [(1, 1), (3, 3), (50, 7)])
def test_the_pieces_of_a_likelihood_add_up(
    count: int, pieces: int, make_flow: Callable[..., Flow], digits: Dataset, x: Tensor
) -> None:
    weights = torch.linspace(0.1, 1.9, len(x), dtype=torch.float64)
    compare(Likelihood(digits), make_flow(2, 5), Batch(x, None, weights), count, pieces)


def test_each_sample_keeps_its_context(digits: Dataset) -> None:
    generator = torch.Generator().manual_seed(0)
    flows = [
        build_flow(Glow1DConfig(steps=steps, hidden=6), (4,), context_features=3, generator=generator).double()
        for steps in (1, 2)
    ]
    x, context = (torch.randn(32, size, generator=generator, dtype=torch.float64) for size in (4, 3))
    for flow in flows:
        flow.initialize(x, context)
        with torch.no_grad():
            for parameter in flow.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    dataset = replace(digits, levels=None)  # vectors: the likelihood in nats
    # Six samples take the contexts of four examples in turn: the second piece's samples must not begin again.
    compare(distiller(flows[1], flows[0], dataset), flows[0], Batch(x[:4], context[:4]), 2, 2)


@pytest.mark.parametrize(("length", "count"), [(1, 1), (7, 3), (128, 4), (5, 5), (65536, 7)])
def test_cuts_make_up_the_length(length: int, count: int) -> None:
    sizes = [part.stop - part.start for part in cuts(length, count)]
    assert (len(sizes), sum(sizes)) == (count, length)
    assert max(sizes) - min(sizes) <= 1 <= min(sizes)
