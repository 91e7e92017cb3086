"""Teachers that several runs share: a run takes over the trained teacher of another run with the same settings.

Random numbers of a stage depend on its seed and its name alone, so the other stages of the run are, bit for bit on the
CPU, those of a run that trains the teacher itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from nfkd.config import ConfigError, ExperimentConfig
from nfkd.files import is_regular
from nfkd.planning.plans import stage_training
from nfkd.protocol.events import CurvePoints, RunEvent, StageSummary
from nfkd.runs.errors import RunError
from nfkd.runs.layout import read_config, seed_directory
from nfkd.runs.pictures import every_picture
from nfkd.runs.reader import SeedRecord
from nfkd.training.checkpoint import saved_fingerprint

_TRAINING = (
    *("teacher_steps", "teacher_weights", "batch_size", "precision", "accumulate", "activations", "optimizer"),
    *("weight_decay", "learning_rate", "schedule", "warmup_steps", "gradient_clip", "ema_decay", "early_stop"),
)
"""Fields that the training of a teacher depends on."""


def teacher_key(config: ExperimentConfig) -> str:
    """Return everything that a seed's teacher depends on, its curves and pictures included, apart from the seed."""
    training = stage_training(config, "teacher").model_dump(mode="json", include=set(_TRAINING))
    fields: dict[str, Any] = config.model_dump(mode="json", include={"data", "teacher", "compute", "monitor"})
    return json.dumps(fields | {"training": training}, sort_keys=True)


def teacher_seeds(config: ExperimentConfig) -> list[int]:
    """Return the seeds for which an experiment trains a teacher; none for a given teacher."""
    if config.training.teacher_given:
        return []
    return config.seeds.values() if config.seeds.retrain_teacher else [config.seeds.first]


@dataclass(frozen=True)
class SharedTeacher:
    """The trained teacher of a run.

    Attributes
    ----------
    run
        The directory of the run that trained it.
    weights
        Its file.
    record
        The record of its seed.
    summary
        Its figures.
    """

    run: Path
    weights: Path
    record: SeedRecord
    summary: StageSummary

    def events(self, run: Path) -> Iterator[RunEvent]:
        """Yield its curves and its pictures, as events of another run."""
        seed, stage = self.summary.seed, self.record.stages["teacher"]
        curves = {name: batch for name, batch in stage.curves.items() if len(batch.steps)}
        yield CurvePoints(run=str(run), seed=seed, stage="teacher", curves=curves)
        for picture in every_picture(self.run, seed, "teacher"):
            yield msgspec.structs.replace(picture, run=str(run))


def find_teacher(runs: Sequence[Path], config: ExperimentConfig, seed: int, fingerprint: str) -> SharedTeacher | None:
    """Return the trained teacher of the first run that has one with the same settings, data and seed.

    Parameters
    ----------
    runs
        Directories of runs; those that are missing or damaged are passed over.
    config, seed
        The experiment that needs the teacher.
    fingerprint
        Of its data, as JSON.
    """
    key = teacher_key(config)
    for run in runs:
        with suppress(RunError, ConfigError, OSError):
            if (found := _trained(run, key, seed, fingerprint)) is not None:
                return found
    return None


def _trained(run: Path, key: str, seed: int, fingerprint: str) -> SharedTeacher | None:
    config = read_config(run)
    if seed not in teacher_seeds(config) or teacher_key(config) != key:
        return None
    directory = seed_directory(run, config, seed)
    if saved_fingerprint(directory) != fingerprint:
        return None
    record = SeedRecord(run, directory)
    stage, weights = record.stages.get("teacher"), directory / "teacher.safetensors"
    if stage is None or stage.summary is None or not is_regular(weights):
        return None
    return SharedTeacher(run, weights, record, stage.summary)
