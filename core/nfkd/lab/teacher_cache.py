"""Trained teachers of the lab, kept in files: those that come with NFKD, and those trained here."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import platformdirs
from safetensors import SafetensorError

from nfkd.config.lab import LabConfig
from nfkd.config.presets import resource_path
from nfkd.flows.flow import Flow
from nfkd.runs.errors import RunError
from nfkd.runs.tensors import open_tensors
from nfkd.runs.weights import load_weights, save_weights

_VERSION = 1
"""Raised when other weights would result from the same state."""
_KEPT = 50
SHIPPED = resource_path("lab")
"""Teachers that come with NFKD."""


class TeacherCache:
    """Finds the weights of a trained teacher by all settings that they depend on.

    Parameters
    ----------
    folder
        Where teachers trained here are kept, at most fifty; the user's cache if None.
    shipped
        Where those that come with NFKD are; nothing is written there.
    """

    def __init__(self, folder: Path | None = None, shipped: Path = SHIPPED) -> None:
        self._folder = folder or platformdirs.user_cache_path("nfkd") / "lab"
        self._shipped = shipped

    def load(self, config: LabConfig, flow: Flow) -> float | None:
        """Load a teacher's weights into a flow and return its value on held-out points; None if there are none."""
        for folder in (self._shipped, self._folder):
            path = folder / file_name(config)
            try:
                with open_tensors(path) as tensors:
                    value = float((tensors.metadata() or {})["held_out"])
                load_weights(path, flow)
            except (OSError, SafetensorError, RunError, KeyError, ValueError):
                continue  # missing or damaged: the teacher is trained again
            return value
        return None

    def save(self, config: LabConfig, flow: Flow, value: float) -> None:
        """Keep a trained teacher; a folder that cannot be written to is left alone."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / file_name(config)
            save_weights(path, flow.state_dict(), config.experiment().to_toml(), {"held_out": repr(value)})
            known = sorted(self._folder.glob("*.safetensors"), key=lambda file: file.stat().st_mtime)
            for old in known[:-_KEPT]:
                old.unlink(missing_ok=True)
        except OSError:
            return


def file_name(config: LabConfig) -> str:
    """Return the name of the file of a state's teacher."""
    training = config.training.model_dump(mode="json")
    names = (
        "teacher_steps", "batch_size", "teacher_optimizer", "teacher_learning_rate", "optimizer", "weight_decay",
        "learning_rate", "schedule", "warmup_steps", "gradient_clip", "accumulate", "precision", "ema_decay",
    )  # fmt: skip
    depends = [
        _VERSION,
        config.data.model_dump(mode="json"),
        config.lab.points,
        config.teacher.model_dump(mode="json"),
        config.seeds.first,
        {name: training[name] for name in names},
    ]
    digest = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()
    return f"{digest[:24]}.safetensors"
