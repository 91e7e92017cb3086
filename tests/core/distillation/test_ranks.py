"""Parts of a batch in several ranks: values, gradients and masks against those of the whole batch, in float64.

The ranks are threads, whose sums are exact; processes are tested in ``tests/core/training/test_ranks.py``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock
from typing import Any

import pytest
import torch
from torch import Tensor

from nfkd.config import DistillationConfig
from nfkd.data import Batch, Dataset
from nfkd.distillation.loss import Loss
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.distillation.ranks import Ranks
from nfkd.flows.flow import Flow
from tests.core.distillation.steps import config, distiller, generators, gradients

Flows = tuple[Flow, Flow]
Step = tuple[Loss, dict[str, Tensor], dict[str, float]]
SHARED = dict.fromkeys((name for name in OBJECTIVES if name != "relational"), 1.0)
WEIGHTS = torch.linspace(0.1, 1.9, 7, dtype=torch.float64)


class ThreadRanks(Ranks):
    """Ranks in threads of this process, of which one computes at a time: forward differentiation is per process."""

    def __init__(self, rank: int, shared: list[Any], barrier: Barrier, turn: Lock) -> None:
        self.rank, self.size = rank, len(shared)
        self._shared, self._barrier, self._turn = shared, barrier, turn

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the sums over all threads."""
        self._shared[self.rank] = [tensor.detach().clone() for tensor in tensors]
        self._turn.release()
        self._barrier.wait(30)
        sums = [torch.stack(parts).sum(0) for parts in zip(*self._shared, strict=True)]
        self._barrier.wait(30)
        self._turn.acquire()
        return sums


def steps(
    settings: DistillationConfig, flows: Flows, dataset: Dataset, batch: Batch, count: int, **rest: Any
) -> list[Step]:
    """Return what each of some ranks has after a step."""
    shared, barrier, turn = list[Any]([None] * count), Barrier(count), Lock()

    def one(rank: int) -> Step:
        student, teacher = copy.deepcopy(flows)
        norms: dict[str, float] = {}
        ranks = ThreadRanks(rank, shared, barrier, turn) if count > 1 else None
        loss = distiller(settings, student, teacher, dataset, norms=norms, ranks=ranks, measure_every=1)
        with turn:
            return loss.backward(student, batch, generators(), **rest), gradients(student), norms

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))


def compare(
    settings: DistillationConfig, flows: Flows, dataset: Dataset, batch: Batch, count: int, **rest: Any
) -> Loss:
    """Compare the step of every rank with that of one process; return its loss."""
    (whole, expected, norms), *_ = steps(settings, flows, dataset, batch, 1)
    for loss, found, running in steps(settings, flows, dataset, batch, count, **rest):
        assert loss.masked == whole.masked
        assert loss.total.item() == pytest.approx(whole.total.item(), rel=1e-10)
        for name in ("terms", "norms"):
            values = {term: value.item() for term, value in getattr(loss, name).items()}
            assert values == pytest.approx({term: value.item() for term, value in getattr(whole, name).items()})
        assert loss.gradient_norm.item() == pytest.approx(whole.gradient_norm.item(), rel=1e-8)
        assert running == pytest.approx(norms)
        assert found.keys() == expected.keys() != set()
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-11)
    return whole


@pytest.fixture
def flows(make_flow: Callable[..., Flow]) -> Flows:
    """A student and its teacher."""
    return make_flow(1, 5), make_flow(3, 6)


@pytest.mark.parametrize("balance", ["none", "gradient_norm"])
@pytest.mark.parametrize(("count", "micro_batches"), [(2, 1), (3, 2)])
def test_every_term_and_its_gradient_is_that_of_the_whole_batch(
    balance: str, count: int, micro_batches: int, flows: Flows, digits: Dataset, x: Tensor
) -> None:
    rest = {"lkd": {"normalize": True}, "ilkd": {"normalize": True}}
    settings = config(SHARED, rest, balance=balance, balance_every=1)
    compare(settings, flows, digits, Batch(x, None, WEIGHTS), count, micro_batches=micro_batches)


def test_more_ranks_than_samples_compute_whole_batches(flows: Flows, digits: Dataset, x: Tensor) -> None:
    settings = config({"nll": 1, "lkd": 1, "skd": 1}, {"skd": {"batch_size": 2}, "lkd": {"normalize": True}})
    compare(settings, flows, digits, Batch(x), 3)


@pytest.mark.parametrize("rows", [[1], [6], [0, 1, 2, 3], [0, 1, 2, 3, 4, 5]])
def test_values_that_are_not_finite_on_one_rank_are_masked_on_all(
    rows: list[int], flows: Flows, digits: Dataset, x: Tensor
) -> None:
    damaged = x.clone()
    damaged[rows] = math.nan
    settings = config({"nll": 1, "lkd": 1, "ilkd": 1}, balance="gradient_norm", balance_every=1)
    whole = compare(settings, flows, digits, Batch(damaged, None, WEIGHTS), 2)
    assert whole.masked == dict.fromkeys(("nll", "lkd", "ilkd"), len(rows))


def test_gradients_that_are_not_finite_on_one_rank_are_masked_on_all(flows: Flows, digits: Dataset, x: Tensor) -> None:
    marked = x.clone()
    marked[5] = 7.0  # the hook finds it in whatever part it is
    flows[0].register_forward_hook(_spoil)
    whole = compare(config({"nll": 1, "lkd": 1}), flows, digits, Batch(marked), 2)
    assert whole.masked == {"nll": 1, "lkd": 1}


def _spoil(_flow: Flow, inputs: tuple[Any, ...], made: Any) -> None:
    rows = (inputs[0].flatten(1) == 7.0).all(1)
    if made.latents.parts[0].requires_grad:
        mask = rows.view(-1, *[1] * (made.latents.parts[0].dim() - 1))
        made.latents.parts[0].register_hook(lambda gradient: gradient.masked_fill(mask, math.inf))


def test_a_term_that_compares_examples_is_refused(flows: Flows, digits: Dataset, x: Tensor) -> None:
    with pytest.raises(ValueError, match="relational compares the examples of a batch"):
        steps(config({"nll": 1, "relational": 1}), flows, digits, Batch(x), 2)
