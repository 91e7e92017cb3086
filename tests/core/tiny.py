"""Experiments that run in about a second."""

from __future__ import annotations

from typing import Any

from nfkd.config import ExperimentConfig

_MOONS = {
    "name": "tiny moons",
    "data": {"kind": "two_moons", "count": 400},
    "teacher": {"kind": "glow1d", "steps": 3, "hidden": 8},
    "student": {"kind": "glow1d", "steps": 2, "hidden": 4},
    "training": {
        "teacher_steps": 30,
        "student_steps": 20,
        "batch_size": 32,
        "warmup_steps": 2,
        "checkpoint_every": 8,
        "early_stop": 0,
    },
    "monitor": {"evaluate_every": 5, "pictures_every": 10, "sample_count": 8, "interpolation_steps": 3},
    "compute": {"device": "cpu", "threads": 1},
}
_DIGITS = {
    "name": "tiny digits",
    "data": {"kind": "digits", "test_fraction": 0.05},
    "teacher": {"kind": "glow", "levels": 2, "steps": 2, "hidden": 6},
    "student": {"kind": "glow", "levels": 2, "steps": 1, "hidden": 4},
}


def moons(**changes: Any) -> ExperimentConfig:
    """Return an experiment on two moons with 70 steps in all, and some fields changed."""
    return ExperimentConfig.from_dict(_MOONS).replace(**changes)


def digits(**changes: Any) -> ExperimentConfig:
    """Return an experiment on digits with 70 steps in all, and some fields changed."""
    return ExperimentConfig.from_dict(_MOONS | _DIGITS).replace(**changes)
