"""The experiments: a few seconds each, with pictures and checkpoints every few steps."""

from __future__ import annotations

from typing import Any

from nfkd.config import DistillationConfig, ExperimentConfig
from tests.core.tiny import digits, moons

# No interval divides another, so that a kill falls between pictures, validations and checkpoints.
_MONITOR = {"evaluate_every": 5, "pictures_every": 3, "shares_every": 4, "sample_count": 8, "interpolation_steps": 3}
_TRAINING = {"checkpoint_every": 4}
_ASSISTANTS = [{"kind": "glow1d", "steps": 3, "hidden": 6}, {"kind": "glow1d", "steps": 2, "hidden": 5}]


def often(config: ExperimentConfig) -> ExperimentConfig:
    """Return an experiment that samples, validates and saves every few steps."""
    return config.replace(monitor=_MONITOR, training=_TRAINING)


def _every_part() -> ExperimentConfig:
    """Return digits with an assistant, all terms of the loss, averaged weights, and a teacher for each of two seeds."""
    terms: dict[str, Any] = {name: {"weight": 0.1} for name in DistillationConfig().terms()}
    terms["lkd"] |= {"schedule": "cosine", "schedule_end": 0.5}
    return digits(
        assistants=[{"kind": "glow", "levels": 2, "steps": 1, "hidden": 5}],
        distillation=terms | {"balance": "gradient_norm", "balance_every": 3},
        training={"teacher_steps": 14, "assistant_steps": 11, "student_steps": 11, "ema_decay": 0.9},
        seeds={"count": 2, "retrain_teacher": True},
    )


EXPERIMENTS = {
    name: often(config)
    for name, config in {
        "plane": moons(),
        "images": digits(),
        "grouped": moons(seeds={"count": 3}),
        "chained": moons(assistants=_ASSISTANTS, training={"assistant_steps": 20}),
        "chained group": _every_part(),
    }.items()
}
"""By name; *plane* has density pictures, *chained* has two assistants."""
