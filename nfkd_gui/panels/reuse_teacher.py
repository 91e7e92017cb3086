"""Use a finished run's teacher in the experiment of the form."""

from __future__ import annotations

import copy
from typing import Any

from nfkd.config import ConfigError, ConfigProblem, ExperimentConfig
from nfkd.protocol.requests import Snapshot

_WEIGHTS = "training.teacher_weights"


def with_teacher(document: dict[str, Any], snapshot: Snapshot) -> dict[str, Any]:
    """Return a copy of an experiment that uses the teacher of a run: its architecture and its weights.

    Raises
    ------
    ConfigError
        If the run has no trained teacher, its teacher is from another library, or its experiment is invalid.
    """
    config = ExperimentConfig.from_toml(snapshot.config)
    if config.training.teacher_from_python:
        raise ConfigError(
            [ConfigProblem(_WEIGHTS, "its teacher comes from another library, so it can only be used from Python")]
        )
    if not any(stage.stage == "teacher" and stage.summary is not None for stage in snapshot.stages):
        raise ConfigError([ConfigProblem("", "its teacher is not trained yet: wait until that stage has finished")])
    after = copy.deepcopy(document)
    after["teacher"] = config.model_dump(mode="python")["teacher"]
    for section, values in (
        ("training", {"teacher_weights": snapshot.row.run}),
        ("seeds", {"retrain_teacher": False}),
    ):
        old = after.get(section)
        after[section] = (old if isinstance(old, dict) else {}) | values
    return after
