"""Given teachers, which are not trained: from an earlier run, a weights file of NFKD, or Python.

A given teacher is evaluated, shown once, and copied into the run, which then no longer needs the file.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from nfkd.config import ConfigError, ConfigProblem, ExperimentConfig
from nfkd.config.training import FROM_PYTHON
from nfkd.data import Dataset
from nfkd.data.scaling import Scaler
from nfkd.distillation.objectives import unsupported_terms
from nfkd.evaluation.gaussian import gaussian_nll
from nfkd.files import is_folder, is_taken
from nfkd.flows.architecture import format_shape
from nfkd.flows.foreign import ForeignFlow
from nfkd.flows.foreign.units import AffineMap, describe_units
from nfkd.runs.errors import RunError
from nfkd.runs.layout import EXPERIMENT, is_run, read_config, seed_directory
from nfkd.runs.reader import stage_ended
from nfkd.runs.state import ACTIVE, read_row
from nfkd.runs.weights import not_finite, weights_info
from nfkd.text import format_number

_PATH = "training.teacher_weights"
_REFUSED = "The teacher cannot be used"
_FINGERPRINT_LENGTH = 16


def with_teacher(config: ExperimentConfig, teacher: ForeignFlow | None) -> ExperimentConfig:
    """Return the experiment with the fingerprint of a teacher from Python, as it is saved with the run.

    Raises
    ------
    TypeError
        When the teacher is not wrapped.
    """
    if teacher is None:
        return config
    if not isinstance(teacher, ForeignFlow):
        msg = (
            f"teacher is a {type(teacher).__name__}: wrap a flow of zuko or normflows with nfkd.wrap_teacher; for a "
            f"flow of NFKD set {_PATH} to its file"
        )
        raise TypeError(msg)
    units = describe_units(teacher.units)
    name = f"{FROM_PYTHON}{teacher.origin} sha256:{teacher.fingerprint()[:_FINGERPRINT_LENGTH]}{units}"
    return config.replace(training={"teacher_weights": name})


def on_scaled_values(teacher: ForeignFlow, dataset: Dataset) -> ForeignFlow:
    """Return a teacher from Python as a flow on NFKD's scaled values.

    The map to the units that it was trained in becomes its first layer. A teacher of other shapes, which
    `teacher_problems` reports, is returned unchanged.
    """
    same = (teacher.event_shape, teacher.context_features) == (dataset.event_shape, dataset.context_features)
    if teacher.units == "scaled" or not same:
        return teacher
    if teacher.units != "data":
        low, high = teacher.units
        return teacher.rescaled(_numbers(low, high - low), None)
    values = _numbers(0, dataset.levels) if dataset.levels else _unscaling(dataset.scaler)
    return teacher.rescaled(values, _unscaling(dataset.context_scaler))


def _numbers(centre: float, width: float) -> AffineMap:
    return torch.tensor(centre, dtype=torch.float64), torch.tensor(width, dtype=torch.float64)


def _unscaling(scaler: Scaler | None) -> AffineMap | None:
    if scaler is None or scaler.affine is None:
        return None
    centre, width = scaler.affine
    return torch.tensor(centre), torch.tensor(width)


def teacher_file(config: ExperimentConfig, run: Path | None) -> Path:
    """Return the file of the teacher's weights: the copy in the resumed run if there is one, else the experiment's.

    Raises
    ------
    RunError
        When the experiment names a directory that is not a run, a run that cannot be read, or one whose teacher is not
        completely trained.
    """
    if run is not None:
        copy = _teacher_path(run, config)
        if is_taken(copy):
            return copy
    named = Path(config.training.teacher_weights)
    return _first_teacher(named) if is_folder(named) else named


def _teacher_path(run: Path, config: ExperimentConfig) -> Path:
    return seed_directory(run, config, config.seeds.first) / "teacher.safetensors"


def _first_teacher(directory: Path) -> Path:
    """Return the teacher's weights of the first seed of another run."""
    if not is_run(directory):
        action = "Choose the directory of a run or a .safetensors file of NFKD."
        raise RunError(_REFUSED, f"The directory {directory} is not a run.", action)
    config = read_config(directory)
    path = _teacher_path(directory, config)
    if not is_taken(path):
        raise _not_ready(directory, "has no teacher yet", "")
    if not stage_ended(directory, config, config.seeds.first, "teacher"):
        # A stopped or diverged teacher leaves a file of its best weights, which looks like any other.
        choice = f", or choose its file {path} to use its weights as they are"
        raise _not_ready(directory, "has a teacher whose training has not ended", choice)
    return path


def _not_ready(directory: Path, what: str, choice: str) -> RunError:
    if read_row(directory).state in ACTIVE:
        return RunError(_REFUSED, f"The run {directory} {what}.", f"Wait until its teacher is trained{choice}.")
    file, out = (shlex.quote(str(path)) for path in (directory / EXPERIMENT, directory))
    action = f"Resume that run (nfkd run {file} --out {out} --resume){choice}."
    return RunError(_REFUSED, f"The run {directory} {what}.", action)


def teacher_problems(
    config: ExperimentConfig, dataset: Dataset | None, teacher: ForeignFlow | None, run: Path | None
) -> list[ConfigProblem]:
    """Return the problems of a given teacher; none for a teacher that is trained.

    Parameters
    ----------
    config
        The experiment.
    dataset
        The data, or None if it could not be loaded; checks that need it are then left out.
    teacher
        A teacher from Python.
    run
        The resumed run, which may have a copy of the file.
    """
    if not config.training.teacher_given:
        return []
    problems = []
    if config.seeds.retrain_teacher:
        problems.append(
            ConfigProblem(
                "seeds.retrain_teacher", f"the teacher is not trained, because {_PATH} is set: switch this off"
            )
        )
    if config.training.teacher_from_python:
        return problems + _python_problems(config, dataset, teacher)
    try:
        return problems + _file_problems(config, dataset, teacher_file(config, run))
    except RunError as error:
        return [*problems, ConfigProblem(_PATH, f"{error.cause} {error.action}".strip())]


def _python_problems(
    config: ExperimentConfig, dataset: Dataset | None, teacher: ForeignFlow | None
) -> list[ConfigProblem]:
    if teacher is None:
        name = config.training.teacher_weights.removeprefix(FROM_PYTHON)
        message = f"the teacher ({name}) is from Python: resume with nfkd.run(…, teacher=…, resume=True)"
        return [ConfigProblem(_PATH, message)]
    problems = [
        ConfigProblem(f"distillation.{term}.weight", f"the teacher, {teacher.origin}, does not support it: {reason}")
        for term, reason in unsupported_terms(teacher).items()
        if term in config.distillation.active_terms()
    ]
    scalers = () if dataset is None else (dataset.scaler, dataset.context_scaler)
    if teacher.units == "data" and any(scaler is not None and scaler.affine is None for scaler in scalers):
        message = (
            "quantile scaling is not invertible everywhere, so a teacher on unscaled values (units='data') has no "
            "density here: choose standard, robust or none"
        )
        problems.append(ConfigProblem("data.scaling", message))
    if teacher.units == "data" and dataset is not None and dataset.dequantizer and dataset.dequantizer.shifts:
        message = (
            "single values become intervals here, so a teacher on the values of the data (units='data') has no "
            "density: dequantize only whole numbers, or teach on scaled values (units='scaled')"
        )
        problems.append(ConfigProblem("data.dequantize", message))
    return problems + _data_problems(dataset, teacher.event_shape, teacher.context_features, teacher.origin)


def _file_problems(config: ExperimentConfig, dataset: Dataset | None, path: Path) -> list[ConfigProblem]:
    info = weights_info(path)
    problems = _data_problems(dataset, info.event_shape, info.context_features, str(path))
    differs = _differences(info.config.model_dump(), config.teacher.model_dump())
    if differs:
        problems.append(ConfigProblem(_PATH, f"{path} has another flow than the experiment's teacher: {differs}"))
    name = not_finite(path)
    if name:
        message = f"{path} has numbers in {name} that are not finite: choose weights from before it diverged"
        problems.append(ConfigProblem(_PATH, message))
    return problems


def teacher_warnings(config: ExperimentConfig, run: Path | None) -> list[ConfigProblem]:
    """Return a warning if a teacher's file says that it was trained on other data.

    There is none for files without a valid experiment. A resumed run may have a copy of the file.
    """
    training = config.training
    if not training.teacher_given or training.teacher_from_python:
        return []
    try:
        trained_on = ExperimentConfig.from_toml(weights_info(teacher_file(config, run)).experiment).data.model_dump()
    except (RunError, ConfigError):
        return []
    data = config.data.model_dump()
    if trained_on["kind"] != data["kind"]:
        message = f"the teacher was trained on other data ({trained_on['kind']}, not {data['kind']})"
        return [ConfigProblem(_PATH, message)]
    names = [name for name in data if name != "folder" and trained_on[name] != data[name]]  # folders may be moved
    if not names:
        return []
    message = (
        f"the teacher was trained with other settings of the data: {', '.join(names)}; its training examples may be "
        "among this experiment's test examples"
    )
    return [ConfigProblem(_PATH, message)]


def gaussian_warning(nll: float, dataset: Dataset) -> str:
    """Return a warning if a given teacher is worse than a Gaussian fitted to the training data; otherwise empty.

    Parameters
    ----------
    nll
        The teacher's mean NLL on the validation data, in the data's unit.
    dataset
        The data.
    """
    gaussian = gaussian_nll(dataset)
    if math.isnan(gaussian) or nll <= gaussian:
        return ""
    units = "for a teacher from Python, units of nfkd.wrap_teacher"
    return (
        f"it is worse on validation data ({format_number(nll)} {dataset.unit}) than a Gaussian fitted to the training "
        f"data ({format_number(gaussian)} {dataset.unit}). Either it was trained on values in other units: check "
        f"{units if dataset.is_image else f'data.scaling and, {units}'}. Or it is not trained well enough"
    )


def _differences(saved: dict[str, Any], teacher: dict[str, Any]) -> str:
    """Return how a file's flow differs from the experiment's teacher, and which settings to change; else empty."""
    names = ["kind"] if saved["kind"] != teacher["kind"] else [key for key in teacher if saved[key] != teacher[key]]
    if not names:
        return ""
    differ = ", ".join(f"its {name} is {saved[name]}, not {teacher[name]}" for name in names)
    # JSON writes strings, numbers, booleans and lists like TOML.
    return f"{differ}; set {', '.join(f'teacher.{name} = {json.dumps(saved[name])}' for name in names)}"


def _data_problems(dataset: Dataset | None, shape: Sequence[int], features: int, label: str) -> list[ConfigProblem]:
    if dataset is None:
        return []
    problems = []
    if tuple(shape) != dataset.event_shape:
        expected = format_shape(dataset.event_shape)
        message = f"{label} is for examples of {format_shape(shape)}, and the data has {expected}"
        problems.append(ConfigProblem(_PATH, message))
    if features != dataset.context_features:
        message = f"{label} takes a context of {features} features, and the data has {dataset.context_features}"
        problems.append(ConfigProblem(_PATH, message))
    return problems
