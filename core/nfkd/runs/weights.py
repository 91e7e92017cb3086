"""Weights files (safetensors), written completely or not at all."""

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
from nfkd.data.files import list_names
from nfkd.files import FileError, is_folder, replacing, require_regular
from nfkd.flows.architecture import format_shape
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from nfkd.flows.foreign.file_contents import describe_contents
from nfkd.flows.isolation import isolated
from nfkd.protocol.roles import ROLES
from nfkd.runs.errors import RunError, describe_error, system_error
from nfkd.runs.tensors import open_tensors

_UNUSABLE = "The weights cannot be used"
_MISMATCH = "The weights do not fit"
_USE_OWN_FLOW = "Use the flow that they were trained for."
_MAX_SIZE = 65_536  # of each dimension of an example, and of its context, as in a flow's file
_MAX_VALUES = 1 << 24  # of an example: the tensors of a convolutional flow do not limit its image size


def save_weights(path: Path, weights: Mapping[str, Tensor], config_toml: str, meta: Mapping[str, str]) -> None:
    """Write a flow's weights and buffers.

    Parameters
    ----------
    path
        Replaced only once the new file is on the disk.
    weights
        As returned by `torch.nn.Module.state_dict`.
    config_toml
        The experiment, for the file's metadata.
    meta
        More metadata, such as stage and step.

    Raises
    ------
    OSError
        When the file cannot be written; an older file then stays as it is.
    """
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}
    try:
        with replacing(path) as temporary:
            save_file(tensors, temporary, {"config": config_toml, **meta})
    except SafetensorError as error:
        raise system_error(error, path) from error


def flow_meta(config: FlowConfig, flow: Flow) -> dict[str, str]:
    """Return the metadata from which `load_scaled_flow` builds the flow."""
    return {
        "flow": config.model_dump_json(),
        "event_shape": json.dumps(flow.event_shape),
        "context_features": str(flow.context_features),
    }


@dataclass(frozen=True)
class WeightsInfo:
    """The flow of a weights file.

    Attributes
    ----------
    experiment
        TOML of the run that wrote the file; empty if no run did.
    units
        Scaling of its data, as written by `DataUnits.to_json` and not yet checked; empty if the file has none.
    """

    config: FlowConfig
    event_shape: tuple[int, ...]
    context_features: int
    experiment: str = ""
    units: str = ""


def weights_info(path: Path) -> WeightsInfo:
    """Return the flow of a weights file without reading its values.

    Raises
    ------
    RunError
        As in `load_scaled_flow`; missing, extra and truncated tensors are refused too.
    """
    try:
        with open_tensors(path) as file:
            meta = file.metadata() or {}
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise unreadable_weights(path, error) from error
    info, flow = _read_flow(path, meta, len(shapes))
    _refuse_mismatch(path, shapes, flow)
    return info


def not_finite(path: Path) -> str:
    """Return the name of the first tensor of a weights file with a value that is not finite in single precision.

    Returns
    -------
    str
        In alphabetical order; empty where all values are finite.

    Raises
    ------
    RunError
        When the file cannot be read.
    """
    try:
        status = require_regular(path)
        return _not_finite(path, status.st_mtime_ns, status.st_size)
    except (OSError, SafetensorError) as error:
        raise unreadable_weights(path, error) from error


@lru_cache(maxsize=8)
def _not_finite(path: Path, _changed: int, _size: int) -> str:
    """Cache by time and size, because the studio checks the experiment at every change of the form."""
    with open_tensors(path) as file:
        names = sorted(file.keys())
        return next((name for name in names if not file.get_tensor(name).float().isfinite().all()), "")


def _read_flow(path: Path, meta: Mapping[str, str], tensors: int) -> tuple[WeightsInfo, Flow]:
    """Return the description of a file's flow, and that flow on the meta device.

    The metadata may be wrong or hostile: a flow with more layers than the file has tensors is not built.
    """
    if "foreign" in meta:
        cause = f"{path} has the weights of a {meta['foreign']}, and NFKD can build only its own flows."
        action = "Build that flow, load_state_dict(safetensors.torch.load_file(path)), and use nfkd.wrap_teacher."
        raise RunError(title="The flow is from another library", cause=cause, action=action)
    what, action = ("", "") if "flow" in meta else describe_contents(path)
    if what:
        raise RunError(_UNUSABLE, f"{path} is {what}.", f"{action}.")
    try:
        info = _parse_info(meta)
        if getattr(info.config, "steps", 0) > tensors:
            raise RunError(_MISMATCH, f"{path} has {tensors:,} tensors, fewer than its flow.", _USE_OWN_FLOW)
        flow = build_flow(info.config, info.event_shape, context_features=info.context_features, device="meta")
    except (LookupError, ValueError, TypeError, ArithmeticError, RuntimeError) as error:
        # A wrong size can raise any of these in the first layer that it reaches.
        cause = f"{path} does not describe its flow."
        raise RunError(title=_UNUSABLE, cause=cause, action="Use a file that NFKD has written.") from error
    return info, flow


def _parse_info(meta: Mapping[str, str]) -> WeightsInfo:
    """Parse the description of a file's flow; raises for anything that is not a flow."""
    config: FlowConfig = TypeAdapter(FlowConfig).validate_json(meta["flow"])
    shape, features = json.loads(meta["event_shape"]), int(meta["context_features"])
    info = WeightsInfo(
        config, tuple(int(size) for size in shape), features, meta.get("config", ""), meta.get("units", "")
    )
    sizes = info.event_shape
    is_valid = (
        len(sizes) in {1, 3} and all(1 <= size <= _MAX_SIZE for size in sizes) and math.prod(sizes) <= _MAX_VALUES
    )
    if not is_valid or not 0 <= features <= _MAX_SIZE:
        raise ValueError(meta["context_features"])
    return info


@isolated()
def load_scaled_flow(path: Path) -> tuple[WeightsInfo, Flow]:
    """Return the description of a weights file, and its flow, which works on scaled values.

    The flow is in float32, on the CPU and in evaluation mode.

    Raises
    ------
    RunError
        When the file cannot be read or does not describe its flow.
    """
    info = weights_info(path)  # checks the shapes of the tensors before memory is allocated
    flow = build_flow(info.config, info.event_shape, context_features=info.context_features)
    load_weights(path, flow)
    return info, flow.eval()


def unreadable_weights(path: Path, error: Exception) -> RunError:
    """Return the error for a weights file that could not be opened or is no safetensors file."""
    title = "The weights cannot be read"
    if isinstance(error, FileNotFoundError):
        return RunError(title, f"{path}: there is no such file.")
    if is_folder(path):
        action = f"Name a .safetensors file in it{_list_weights(path)}."
        return RunError(title, f"{path} is a directory, not a file of weights.", action)
    if isinstance(error, FileError):
        return RunError(title, f"{error}.", "Name a weights file.")
    if isinstance(error, SafetensorError):
        what, action = describe_contents(path)
        if what:
            return RunError(title, f"{path} is {what}.", f"{action}.")
        return RunError(title, f"{path} is not a complete weights file.", "It is damaged, or from another program.")
    return RunError(title, f"{path}: {describe_error(error)}.", "Check its permissions and its disk.")


def _list_weights(directory: Path) -> str:
    """Return the weights files of a run, for a message; empty if there are none."""
    names = [f"{role}.safetensors" for role in ROLES]
    found = [path for folder in ("", "seed-*/") for name in names for path in directory.glob(f"{folder}{name}")]
    return f": {list_names([str(path.relative_to(directory)) for path in found])}" if found else ""


def load_weights(path: Path, flow: Flow) -> None:
    """Read weights into a flow of the same architecture.

    Raises
    ------
    RunError
        When the file cannot be read, or its tensors do not fit the flow; the message names the first that differ.
    """
    try:
        with open_tensors(path) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise unreadable_weights(path, error) from error
    _refuse_mismatch(path, {name: tuple(value.shape) for name, value in tensors.items()}, flow)
    flow.load_state_dict(tensors)


def _refuse_mismatch(path: Path, shapes: Mapping[str, tuple[int, ...]], flow: Flow) -> None:
    expected = flow.state_dict()
    missing, extra = sorted(expected.keys() - shapes.keys()), sorted(shapes.keys() - expected.keys())
    wrong = sorted(name for name in expected.keys() & shapes.keys() if tuple(expected[name].shape) != shapes[name])
    problems = [f"{verb} {_first(names)}" for verb, names in (("lacks", missing), ("has the unknown", extra)) if names]
    if wrong:
        name = wrong[0]
        actual, needed = (format_shape(shape) or "one number" for shape in (shapes[name], expected[name].shape))
        problems.append(f"has {name} in another shape: {actual}, not {needed}")
    if problems:
        raise RunError(_MISMATCH, f"{path} {', '.join(problems)}.", _USE_OWN_FLOW)


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
    return f"{names[0]}{more}"
