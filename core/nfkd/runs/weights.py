"""Weights on disk: safetensors, written whole or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from nfkd.config.flows import FlowConfig
from nfkd.files import FileError, replacing, require_regular
from nfkd.flows.architecture import format_shape
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from nfkd.flows.isolation import isolated
from nfkd.runs.errors import RunError, describe_error, system_error
from nfkd.runs.tensors import open_tensors

_UNFIT = "The weights do not fit"
_MADE_BY = "Use the flow that they were made by."
_MOST_SIZE = 65_536  # of an example's dimension, or of its context, as in a flow's file
_MOST_VALUES = 1 << 24  # of an example: the tensors of a flow of convolutions do not show how large its images are


def save_weights(path: Path, weights: Mapping[str, Tensor], config_toml: str, meta: Mapping[str, str]) -> None:
    """Write a flow's weights and buffers.

    Parameters
    ----------
    path
        The file; it is replaced only once the new one is on disk.
    weights
        As `torch.nn.Module.state_dict` gives them.
    config_toml
        The experiment, kept in the file's metadata.
    meta
        More metadata, such as the stage and the step.

    Raises
    ------
    OSError
        When it cannot be written; an older file is untouched then.
    """
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}
    try:
        with replacing(path) as temporary:
            save_file(tensors, temporary, {"config": config_toml, **meta})
    except SafetensorError as error:
        raise system_error(error, path) from error


def flow_meta(config: FlowConfig, flow: Flow) -> dict[str, str]:
    """Return what `load_scaled_flow` needs to build a flow again, as metadata."""
    return {
        "flow": config.model_dump_json(),
        "event_shape": json.dumps(flow.event_shape),
        "context_features": str(flow.context_features),
    }


@dataclass(frozen=True)
class WeightsInfo:
    """Of which flow a weights file is.

    Attributes
    ----------
    experiment
        That of the run that wrote it, as TOML; empty where none did.
    units
        The scaling of its data, as `DataUnits.to_json` wrote it and not checked yet; empty where the file keeps none.
    """

    config: FlowConfig
    event_shape: tuple[int, ...]
    context_features: int
    experiment: str = ""
    units: str = ""


def weights_info(path: Path) -> WeightsInfo:
    """Return of which flow a weights file is, without reading its numbers.

    Raises
    ------
    RunError
        As `load_scaled_flow`: a file whose tensors lack, are left over or are cut off is refused here too.
    """
    try:
        with open_tensors(path) as file:
            meta = file.metadata() or {}
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error
    info, flow = _described(path, meta, len(shapes))
    _refuse_unfit(path, shapes, flow)
    return info


def not_finite(path: Path) -> str:
    """Return the first tensor of a weights file, in the order of their names, with a number that a flow cannot take.

    A flow keeps its numbers in single precision: what is too large for it is not finite there.

    Returns
    -------
    str
        Its name; empty where all are finite.

    Raises
    ------
    RunError
        When the file cannot be read.
    """
    try:
        about = require_regular(path)
        return _not_finite(path, about.st_mtime_ns, about.st_size)
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


@lru_cache(maxsize=8)
def _not_finite(path: Path, _changed: int, _size: int) -> str:
    """Read a file of such a time and size once: an experiment is described at every change of its form."""
    with open_tensors(path) as file:
        names = sorted(file.keys())
        return next((name for name in names if not file.get_tensor(name).float().isfinite().all()), "")


def _described(path: Path, meta: Mapping[str, str], tensors: int) -> tuple[WeightsInfo, Flow]:
    """Return of which flow a file is, and that flow without storage.

    Every number in the metadata may be false: nothing is built whose size the file's own tensors do not bear out.
    """
    if "foreign" in meta:
        cause = f"{path} holds the weights of a {meta['foreign']}, and NFKD has only its own flows' code."
        action = "Make that flow, load_state_dict(safetensors.torch.load_file(path)) and nfkd.wrap_teacher it."
        raise RunError(title="The flow is another library's", cause=cause, action=action)
    try:
        info = _info_of(meta)
        if getattr(info.config, "steps", 0) > tensors:
            raise RunError(_UNFIT, f"{path} holds {tensors:,} tensors, and its flow has more.", _MADE_BY)
        flow = build_flow(info.config, info.event_shape, context_features=info.context_features, device="meta")
    except (LookupError, ValueError, TypeError, ArithmeticError, RuntimeError) as error:
        # A tampered size ends in whatever the first layer that it reaches makes of it.
        cause = f"{path} does not say of which flow it is."
        raise RunError(
            title="The weights cannot be used", cause=cause, action="Use a file that NFKD has written."
        ) from error
    return info, flow


def _info_of(meta: Mapping[str, str]) -> WeightsInfo:
    """Return what a file says of its flow; whatever makes no flow raises."""
    config: FlowConfig = TypeAdapter(FlowConfig).validate_json(meta["flow"])
    shape, features = json.loads(meta["event_shape"]), int(meta["context_features"])
    info = WeightsInfo(
        config, tuple(int(size) for size in shape), features, meta.get("config", ""), meta.get("units", "")
    )
    sizes = info.event_shape
    fit = len(sizes) in {1, 3} and all(1 <= size <= _MOST_SIZE for size in sizes) and math.prod(sizes) <= _MOST_VALUES
    if not fit or not 0 <= features <= _MOST_SIZE:
        raise ValueError(meta["event_shape"], features)
    return info


@isolated()
def load_scaled_flow(path: Path) -> tuple[WeightsInfo, Flow]:
    """Return what a weights file says of its flow, and the flow, which works on scaled values.

    The flow is in float32, on the CPU and in evaluation mode.

    Raises
    ------
    RunError
        When the file cannot be read or does not say of which flow it is.
    """
    info = weights_info(path)  # compares the tensors' shapes before anything takes memory
    flow = build_flow(info.config, info.event_shape, context_features=info.context_features)
    load_weights(path, flow)
    return info, flow.eval()


def _unreadable(path: Path, error: Exception) -> RunError:
    title = "The weights cannot be read"
    if isinstance(error, FileNotFoundError):
        return RunError(title, f"{path}: there is no such file.")
    if isinstance(error, FileError):
        return RunError(title, f"{error}.", "Name a weights file.")
    if isinstance(error, SafetensorError):
        return RunError(title, f"{path} is no whole weights file.", "The file is damaged, or of another program.")
    return RunError(title, f"{path}: {describe_error(error)}.", "The file may not be read, or its disk has a problem.")


def load_weights(path: Path, flow: Flow) -> None:
    """Read weights into a flow of the same architecture.

    Raises
    ------
    RunError
        When the file cannot be read, or its tensors are not this flow's; the words name the first that differ.
    """
    try:
        with open_tensors(path) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error
    _refuse_unfit(path, {name: tuple(value.shape) for name, value in tensors.items()}, flow)
    flow.load_state_dict(tensors)


def _refuse_unfit(path: Path, shapes: Mapping[str, tuple[int, ...]], flow: Flow) -> None:
    expected = flow.state_dict()
    missing, extra = sorted(expected.keys() - shapes.keys()), sorted(shapes.keys() - expected.keys())
    wrong = sorted(name for name in expected.keys() & shapes.keys() if tuple(expected[name].shape) != shapes[name])
    problems = [f"{word} {_first(names)}" for word, names in (("lacks", missing), ("has no use for", extra)) if names]
    if wrong:
        theirs, ours = (format_shape(shape) or "one number" for shape in (shapes[wrong[0]], expected[wrong[0]].shape))
        problems.append(f"has {wrong[0]} in another shape: {theirs}, not {ours}")
    if problems:
        raise RunError(
            title=_UNFIT,
            cause=f"{path} {', '.join(problems)}.",
            action=_MADE_BY,
        )


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
    return f"{names[0]}{more}"
