"""A run's teacher, taken over into the experiment that is written."""

from __future__ import annotations

import copy
from typing import Any

from nfkd.config import ConfigError, ConfigProblem, ExperimentConfig
from nfkd.protocol.requests import Snapshot

_WEIGHTS = "training.teacher_weights"


def with_teacher_of(document: dict[str, Any], snapshot: Snapshot) -> dict[str, Any]:
    """Return an experiment's values with the teacher of a run in place of its own; nothing is trained for it then.

    Raises
    ------
    ConfigError
        When the run has no teacher yet, its teacher is another library's, or its experiment is not valid any more.
    """
    config = ExperimentConfig.from_toml(snapshot.config)
    if config.training.teacher_from_python:
        raise ConfigError(
            [ConfigProblem(_WEIGHTS, "its teacher is another library's flow, and can only be given in Python")]
        )
    if not any(stage.stage == "teacher" and stage.summary is not None for stage in snapshot.stages):
        raise ConfigError([ConfigProblem("", "its teacher is not trained yet: wait until that stage has ended")])
    after = copy.deepcopy(document)
    after["teacher"] = config.model_dump(mode="python")["teacher"]
    for section, values in (
        ("training", {"teacher_weights": snapshot.row.run}),
        ("seeds", {"retrain_teacher": False}),  # there is none to train
    ):
        there = after.get(section)
        after[section] = (there if isinstance(there, dict) else {}) | values
    return after
