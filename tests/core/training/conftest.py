"""Fixtures of the tests of training."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.protocol import events
from tests.core.training.runs import TrainedRun


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[ExperimentConfig], TrainedRun]:
    """Return a function that runs an experiment, each only once in a session."""
    runs: dict[str, TrainedRun] = {}

    def run(config: ExperimentConfig) -> TrainedRun:
        text = config.to_toml()
        if text not in runs:
            seen: list[events.RunEvent] = []
            record = nfkd.run(config, tmp_path_factory.mktemp("trained") / "run", on_event=seen.append)
            runs[text] = TrainedRun(record, seen)
        return runs[text]

    return run
