"""NFKD: knowledge distillation of normalizing flows. All is imported on first use, so that commands start fast."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nfkd.config import ConfigError, ConfigProblem, ExperimentConfig
    from nfkd.flows.architectures import build_flow
    from nfkd.flows.foreign import wrap_teacher
    from nfkd.runs.data_space import load_flow
    from nfkd.runs.reader import open_run
    from nfkd.training.api import run

__version__ = "0.1.0"
__all__ = [
    "ConfigError",
    "ConfigProblem",
    "ExperimentConfig",
    "build_flow",
    "load_flow",
    "open_run",
    "run",
    "wrap_teacher",
]

_LAZY = {
    "ConfigError": "nfkd.config",
    "ConfigProblem": "nfkd.config",
    "ExperimentConfig": "nfkd.config",
    "build_flow": "nfkd.flows.architectures",
    "load_flow": "nfkd.runs.data_space",
    "open_run": "nfkd.runs.reader",
    "run": "nfkd.training.api",
    "wrap_teacher": "nfkd.flows.foreign",
}


def __getattr__(name: str) -> Any:
    if name == "Fault":
        warnings.warn("nfkd.Fault is now nfkd.ConfigProblem", DeprecationWarning, stacklevel=2)
        name = "ConfigProblem"
    if name not in _LAZY:
        msg = f"module 'nfkd' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_LAZY[name]), name)
