"""What the directories of a sweep's runs tell: trained teachers and causes of failures."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from nfkd.config import ExperimentConfig
from nfkd.runs.errors import RunError
from nfkd.runs.state import read_row
from nfkd.training.shared_teacher import teacher_key, teacher_seeds


def cause_of(path: Path) -> str:
    """Return why a run failed, as its own state has it."""
    try:
        return read_row(path).cause
    except RunError as error:
        return error.cause


def has_teacher(path: Path) -> bool:
    """Return whether a run has trained the teacher of its first seed."""
    with suppress(RunError):
        return read_row(path).teacher_test is not None
    return False


def teacher_identity(config: ExperimentConfig) -> str:
    """Return what identifies the teacher that a run trains first; empty for a given one."""
    seeds = teacher_seeds(config)
    return f"{teacher_key(config)} {seeds[0]}" if seeds else ""


def by_teacher(configs: Mapping[str, ExperimentConfig]) -> dict[str, list[str]]:
    """Return the names of runs by the teacher that they train first; runs with a given teacher are left out."""
    found: dict[str, list[str]] = {}
    for name, config in configs.items():
        if identity := teacher_identity(config):
            found.setdefault(identity, []).append(name)
    return found
