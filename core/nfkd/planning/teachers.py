"""A teacher that is there already: an earlier run's, from a weights file of NFKD's, or given in Python.

Its stage makes no step; it is evaluated, drawn once, and copied into the run, which then needs the file no more.
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
from nfkd.flows.foreign.units import Affine, describe_units
from nfkd.runs.errors import RunError
from nfkd.runs.layout import EXPERIMENT, is_run, read_config, seed_directory
from nfkd.runs.reader import stage_ended
from nfkd.runs.state import ACTIVE, read_row
from nfkd.runs.weights import not_finite, weights_info

_PATH = "training.teacher_weights"
_REFUSED = "The teacher cannot be taken"
_SHOWN = 16


def with_teacher(config: ExperimentConfig, teacher: ForeignFlow | None) -> ExperimentConfig:
    """Return the experiment as it is kept with its run: where its teacher was given in Python, that is written down.

    Raises
    ------
    TypeError
        When the teacher is not wrapped.
    """
    if teacher is None:
        return config
    if not isinstance(teacher, ForeignFlow):
        msg = (
            f"teacher is a {type(teacher).__name__}: wrap a flow of zuko or normflows by nfkd.wrap_teacher, and give "
            f"one of NFKD's own as a file, {_PATH}"
        )
        raise TypeError(msg)
    units = describe_units(teacher.units)
    words = f"{FROM_PYTHON}{teacher.origin} sha256:{teacher.fingerprint()[:_SHOWN]}{units}"
    return config.replace(training={"teacher_weights": words})


def on_scaled_values(teacher: ForeignFlow, dataset: Dataset) -> ForeignFlow:
    """Return a teacher that was given in Python as a flow on the values that NFKD's flows see.

    The map to the units that it was trained in becomes its first layer. A teacher that `given_problems` refuses for
    this data is returned unchanged.
    """
    same = (teacher.event_shape, teacher.context_features) == (dataset.event_shape, dataset.context_features)
    if teacher.units == "scaled" or not same:
        return teacher
    if teacher.units != "data":
        low, high = teacher.units
        return teacher.rescaled(_numbers(low, high - low), None)
    values = _numbers(0, dataset.levels) if dataset.levels else _way_back(dataset.scaler)
    return teacher.rescaled(values, _way_back(dataset.context_scaler))


def _numbers(centre: float, width: float) -> Affine:
    return torch.tensor(centre, dtype=torch.float64), torch.tensor(width, dtype=torch.float64)


def _way_back(scaler: Scaler | None) -> Affine | None:
    if scaler is None or scaler.affine is None:
        return None
    centre, width = scaler.affine
    return torch.tensor(centre), torch.tensor(width)


def teacher_file(config: ExperimentConfig, run: Path | None) -> Path:
    """Return the file of the teacher's weights: the run's own copy where it has one, else what the experiment names.

    Parameters
    ----------
    run
        The run that is gone on with.

    Raises
    ------
    RunError
        When the experiment names a directory that is no run's, or a run that cannot be read or whose teacher has not
        been trained to its end.
    """
    if run is not None:
        own = _teacher_of(run, config)
        if is_taken(own):
            return own
    named = Path(config.training.teacher_weights)
    return _first_teacher(named) if is_folder(named) else named


def _teacher_of(run: Path, config: ExperimentConfig) -> Path:
    return seed_directory(run, config, config.seeds.first) / "teacher.safetensors"


def _first_teacher(directory: Path) -> Path:
    """Return the teacher's weights of the first seed of another run."""
    if not is_run(directory):
        action = "Give the directory of a run, or a .safetensors file of NFKD's."
        raise RunError(_REFUSED, f"{directory} is a directory, and no run's.", action)
    config = read_config(directory)
    path = _teacher_of(directory, config)
    if not is_taken(path):
        raise _not_ready(directory, "has no teacher yet", "")
    if not stage_ended(directory, config, config.seeds.first, "teacher"):
        # Where it was stopped or diverged, there is a file of the best weights until then; it looks like any other.
        choice = f", or give the file of its weights itself, {path}, to use them as they are"
        raise _not_ready(directory, "has a teacher that was not trained to its end", choice)
    return path


def _not_ready(directory: Path, what: str, choice: str) -> RunError:
    if read_row(directory).state in ACTIVE:
        return RunError(_REFUSED, f"The run {directory} {what}.", f"Wait until its teacher is there{choice}.")
    file, out = (shlex.quote(str(path)) for path in (directory / EXPERIMENT, directory))
    action = f"Resume that run (nfkd run {file} --out {out} --resume){choice}."
    return RunError(_REFUSED, f"The run {directory} {what}.", action)


def given_problems(
    config: ExperimentConfig, dataset: Dataset | None, teacher: ForeignFlow | None, run: Path | None
) -> list[ConfigProblem]:
    """Return what keeps a teacher that was given from teaching; none where it is trained.

    Parameters
    ----------
    dataset
        None where it could not be loaded: what depends on it is then not looked at.
    teacher
        Given in Python.
    run
        That is gone on with; it may have a copy of the file.
    """
    if not config.training.teacher_given:
        return []
    problems = []
    if config.seeds.retrain_teacher:
        problems.append(
            ConfigProblem("seeds.retrain_teacher", f"there is no teacher to train: {_PATH} gives it. Switch it off")
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
        words = f"the teacher ({name}) was given in Python: nfkd.run(config, directory, teacher=…, resume=True) goes on"
        return [ConfigProblem(_PATH, words)]
    problems = [
        ConfigProblem(f"distillation.{term}.weight", f"the teacher, {teacher.origin}, cannot serve it: {reason}")
        for term, reason in unsupported_terms(teacher).items()
        if config.distillation.weights().get(term, 0.0) > 0
    ]
    scalers = () if dataset is None else (dataset.scaler, dataset.context_scaler)
    if teacher.units == "data" and any(scaler is not None and scaler.affine is None for scaler in scalers):
        words = (
            "quantile scaling cannot be undone everywhere, so that a teacher on unscaled values (units='data') has no "
            "density here: choose standard, robust or none"
        )
        problems.append(ConfigProblem("data.scaling", words))
    return problems + _data_problems(dataset, teacher.event_shape, teacher.context_features, teacher.origin)


def _file_problems(config: ExperimentConfig, dataset: Dataset | None, path: Path) -> list[ConfigProblem]:
    info = weights_info(path)
    problems = _data_problems(dataset, info.event_shape, info.context_features, str(path))
    differs = _differences(info.config.model_dump(), config.teacher.model_dump())
    if differs:
        problems.append(ConfigProblem(_PATH, f"{path} is another flow than teacher: {differs}"))
    name = not_finite(path)
    if name:
        words = f"{path} has numbers in {name} that are not finite. Give weights of before it diverged"
        problems.append(ConfigProblem(_PATH, words))
    return problems


def given_warnings(config: ExperimentConfig, run: Path | None) -> list[ConfigProblem]:
    """Return what is to be known of a teacher that was given: that it was trained on other data, by its file's words.

    Nothing is said of a file that no run wrote, or by an experiment that is not valid any more.

    Parameters
    ----------
    run
        That is gone on with; its own copy of the file tells of its own data.
    """
    training = config.training
    if not training.teacher_given or training.teacher_from_python:
        return []
    try:
        theirs = ExperimentConfig.from_toml(weights_info(teacher_file(config, run)).experiment).data.model_dump()
    except (RunError, ConfigError):
        return []
    ours = config.data.model_dump()
    if theirs["kind"] != ours["kind"]:
        return [ConfigProblem(_PATH, f"the teacher was trained on other data ({theirs['kind']}, not {ours['kind']})")]
    names = [name for name in ours if name != "folder" and theirs[name] != ours[name]]  # it may lie elsewhere by now
    if not names:
        return []
    words = (
        f"the teacher was trained with other settings of the data: {', '.join(names)}; its training examples may be "
        "among this experiment's test examples"
    )
    return [ConfigProblem(_PATH, words)]


def worse_than_gaussian(figure: float, dataset: Dataset) -> str:
    """Return a warning where a given teacher is worse on validation data than a Gaussian; empty where it is not.

    Parameters
    ----------
    figure
        The teacher's mean on validation data, in the data's unit.
    dataset
        A Gaussian is fitted to its training part.
    """
    gaussian = gaussian_nll(dataset)
    if math.isnan(gaussian) or figure <= gaussian:
        return ""
    units = "for a teacher given in Python, at units of nfkd.wrap_teacher"
    return (
        f"it is worse on validation data ({figure:.4f} {dataset.unit}) than a Gaussian fitted to the training data "
        f"({gaussian:.4f} {dataset.unit}). Either it was trained on values in other units: look "
        f"{units if dataset.is_image else f'at data.scaling and, {units}'}. Or it is not trained well enough"
    )


def _differences(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """Return in what a file's flow is not the experiment's teacher, and what makes it that; empty where it is."""
    names = ["kind"] if theirs["kind"] != ours["kind"] else [name for name in ours if theirs[name] != ours[name]]
    if not names:
        return ""
    differ = ", ".join(f"its {name} is {theirs[name]}, not {ours[name]}" for name in names)
    # JSON writes words, numbers, truth and lists as TOML does.
    return f"{differ}; set {', '.join(f'teacher.{name} = {json.dumps(theirs[name])}' for name in names)}"


def _data_problems(dataset: Dataset | None, shape: Sequence[int], features: int, words: str) -> list[ConfigProblem]:
    if dataset is None:
        return []
    problems = []
    if tuple(shape) != dataset.event_shape:
        there = format_shape(dataset.event_shape)
        problems.append(
            ConfigProblem(_PATH, f"{words} is for examples of {format_shape(shape)}, and the data has {there}")
        )
    if features != dataset.context_features:
        there = dataset.context_features
        problems.append(
            ConfigProblem(_PATH, f"{words} takes a context of {features} features, and the data has {there}")
        )
    return problems
