"""Targets of ``nfkd inspect``: the TOML file of a flow or an experiment, a preset, a weights file, a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import psutil
import torch
from torch import Tensor

from nfkd.config import ConfigError, ConfigProblem, DataConfig, ExperimentConfig, TrainingConfig
from nfkd.config.flow_file import read_flow_file
from nfkd.config.flows import FlowConfig
from nfkd.data import Batch, DataError, Dataset, NotFetchedError, load_dataset
from nfkd.evaluation.inspection import Inspection, inspect_flow
from nfkd.evaluation.likelihood import noisy
from nfkd.files import is_folder, is_regular, is_taken, read_limited
from nfkd.flows.architecture import format_shape
from nfkd.flows.architectures import FlowError, build_flow, flow_summary
from nfkd.flows.flow import Flow
from nfkd.flows.foreign.file_contents import is_text
from nfkd.protocol.roles import ASSISTANTS, ROLES, role_name
from nfkd.runs.errors import RunError
from nfkd.runs.layout import read_config, seed_directory
from nfkd.runs.weights import load_scaled_flow

_EXAMPLES = 64
_MAX_TOML_BYTES = 4 << 20
_PERTURBATION = 0.1
_COPIES = 8  # of the examples in memory during an inspection, at least


def inspect_target(target: str, shape: Sequence[int] = (), context_features: int = 0) -> list[Inspection]:
    """Inspect all flows of a target.

    Untrained flows are perturbed first, because a coupling with its initial weights is the identity.

    Parameters
    ----------
    target
        A run's directory (the trained flows of its first seed, on its validation data), a weights file of NFKD, the
        TOML file of a flow, or an experiment (TOML file or preset).
    shape, context_features
        Of the examples, for a flow file without them. With a shape, an experiment's data is not loaded.

    Raises
    ------
    ConfigError
        When the target does not exist, or the flow does not fit the examples.
    RunError
        When a run or its weights cannot be read.
    """
    path = Path(target)
    if is_folder(path):
        return _inspect_run(path)
    if path.suffix == ".safetensors" or (is_regular(path) and not is_text(path)):
        info, flow = load_scaled_flow(path)
        examples = _noise(flow.event_shape, flow.context_features)
        return [_inspect_flow(flow, info.config, examples, f"{path.name}: {flow_summary(info.config)}")]
    if is_regular(path) and not _is_experiment(path):
        file = read_flow_file(path)
        examples = _noise(_shape(shape or file.event_shape), context_features or file.context_features)
        return [_inspect_untrained(file.flow, examples, flow_summary(file.flow))]
    return _inspect_experiment(ExperimentConfig.load(target), shape, context_features)


def _is_experiment(path: Path) -> bool:
    try:
        lines = read_limited(path, _MAX_TOML_BYTES).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return False  # the next reader reports the error
    return any(line.split("=")[0].strip() == "data" or line.strip().startswith("[data]") for line in lines)


class _Examples:
    """Usual inputs of a flow; `source` describes them."""

    def __init__(self, batch: Batch, source: str, batch_size: int) -> None:
        self.batch, self.source, self.batch_size = batch, source, batch_size

    @property
    def context_features(self) -> int:
        return 0 if self.batch.context is None else self.batch.context.shape[1]


def _shape(shape: Sequence[int]) -> tuple[int, ...]:
    if len(shape) not in {1, 3} or any(size < 1 for size in shape):
        message = "needs the shape of an example: --shape 3,32,32 for images, --shape 6 for six features"
        raise ConfigError([ConfigProblem("--shape", message)])
    return tuple(shape)


def _noise(shape: tuple[int, ...], context_features: int, batch_size: int = TrainingConfig().batch_size) -> _Examples:
    """Return noise in place of data: uniform in [0, 1) like dequantized images, or normal like scaled tables."""
    _refuse_large(shape)
    generator = torch.Generator().manual_seed(0)
    draw = torch.rand if len(shape) == 3 else torch.randn
    x: Tensor = draw(_EXAMPLES, *shape, generator=generator)
    context = torch.randn(_EXAMPLES, context_features, generator=generator) if context_features else None
    return _Examples(Batch(x, context), "noise", batch_size)


def _refuse_large(shape: tuple[int, ...]) -> None:
    needed, free = _COPIES * 4 * _EXAMPLES * math.prod(shape), psutil.virtual_memory().available
    if needed > free:
        message = (
            f"inspecting examples of {format_shape(shape)} takes at least {needed / 2**30:,.1f} GiB of memory, but "
            f"only {free / 2**30:,.1f} GiB are free: give a smaller shape"
        )
        raise ConfigError([ConfigProblem("--shape", message)])


def _data(config: DataConfig, batch_size: int) -> _Examples:
    try:
        dataset: Dataset = load_dataset(config)
    except NotFetchedError as error:
        hint = "; or give --shape, such as 3,32,32, to inspect without data"
        raise ConfigError(
            [ConfigProblem(problem.path, problem.message + hint) for problem in error.problems]
        ) from error
    except DataError as error:
        raise ConfigError(error.problems) from error
    split = dataset.validation.take(slice(_EXAMPLES))
    return _Examples(noisy(dataset, split), f"validation data of {dataset.name}", batch_size)


def _inspect_run(path: Path) -> list[Inspection]:
    config = read_config(path)
    directory = seed_directory(path, config, config.seeds.first)
    files = {role: directory / f"{role}.safetensors" for role in ROLES}
    if config.training.teacher_from_python:
        del files["teacher"]  # a flow of another library
    files = {role: file for role, file in files.items() if is_taken(file)}
    if not files:
        title, cause = "There is nothing to inspect", f"{path} has no weights of NFKD's flows."
        raise RunError(title, cause, "Wait until its first stage has ended.")
    examples = _data(config.data, config.training.batch_size)
    inspections = []
    for role, file in files.items():
        info, flow = load_scaled_flow(file)
        inspections.append(
            _inspect_flow(flow, info.config, examples, f"{role_name(role)}: {flow_summary(info.config)}")
        )
    return inspections


def _inspect_experiment(config: ExperimentConfig, shape: Sequence[int], context_features: int) -> list[Inspection]:
    batch_size = config.training.batch_size
    examples = _noise(_shape(shape), context_features, batch_size) if shape else _data(config.data, batch_size)
    flows: dict[str, FlowConfig] = {"teacher": config.teacher, **dict(zip(ASSISTANTS, config.assistants, strict=False))}
    flows["student"] = config.student
    return [
        _inspect_untrained(flow, examples, f"{role_name(role)}: {flow_summary(flow)}") for role, flow in flows.items()
    ]


def _inspect_untrained(config: FlowConfig, examples: _Examples, name: str) -> Inspection:
    generator = torch.Generator().manual_seed(0)
    x, context = examples.batch.x, examples.batch.context
    try:
        flow = build_flow(config, x.shape[1:], context_features=examples.context_features, generator=generator)
    except FlowError as error:
        raise ConfigError(error.problems) from error
    _perturb(flow, generator)
    flow.initialize(x, context)  # afterwards, so that ActNorm sees the perturbed activations
    with torch.no_grad():
        flow.train()(x, context)  # gives batch norm its running statistics
    return _inspect_flow(flow.eval(), config, examples, f"{name}, untrained")


@torch.no_grad()
def _perturb(flow: Flow, generator: torch.Generator) -> None:
    """Add noise to every parameter, scaled by 1/√inputs so that outputs change equally for any width."""
    for parameter in flow.parameters():
        inputs = parameter[0].numel() if parameter.dim() > 1 else 1
        parameter += _PERTURBATION / math.sqrt(inputs) * torch.randn(parameter.shape, generator=generator)


def _inspect_flow(flow: Flow, config: FlowConfig, examples: _Examples, name: str) -> Inspection:
    batch = examples.batch
    return inspect_flow(
        flow, config, batch.x, batch.context, source=examples.source, name=name, batch_size=examples.batch_size
    )
