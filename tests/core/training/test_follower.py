"""What other processes get before a stage."""

from __future__ import annotations

import pickle

from nfkd.data import load_dataset
from nfkd.distillation.distiller import Likelihood
from nfkd.flows.architectures import build_flow
from nfkd.training.follower import stage_start
from nfkd.training.state import StageState
from nfkd.training.step import make_step
from tests.core.tiny import moons


def test_the_start_of_a_stage_has_no_more_numbers_than_its_tensors() -> None:
    """It is sent pickled, and `pickle` writes the memory of all tensors that lie together with each of them."""
    config = moons()
    dataset = load_dataset(config.data)
    state = StageState.fresh("student", 0, build_flow(config.student, (2,)), config.training, len(dataset.train))
    loss = Likelihood(dataset)
    for _ in range(3):
        make_step(state, loss, dataset, config.training, 0.001)
    start = stage_start(state, loss, 10)
    numbers = sum(each.numel() * each.element_size() for each in start.state.tensors.values())
    assert numbers < len(pickle.dumps(start)) < numbers + 400 * len(start.state.tensors) + 4000
