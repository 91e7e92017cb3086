"""Reads Glow checkpoints of the authors' earlier code (vklyukin/nf_distillation).

In that layout ``flow.layers.N`` counts the squeeze, the steps and the split of every level in order, as our flows do. A
step is ActNorm, (x + bias)·exp(logs); a 1×1 convolution by p·(lower ⊙ mask + I)·(upper ⊙ maskᵀ + diag(sign_s ⊙
exp(log_s))); and affine coupling with the layers ``block.0``, ``block.2`` and ``block.4``. The last prior is standard
normal. Our flows compute the same, so only names and shapes change. chaiyujin/glow-pytorch numbers its layers in the
same way and has other names for some tensors; both are known.

Only tensors are read, and no code in the file is called: PyTorch's weights-only reader refuses a pickle that calls
code. Objects of training libraries (Lightning's callbacks, settings) are replaced by `_Ignored`.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from nfkd.config import ConfigError, ConfigProblem, GlowConfig
from nfkd.config.flow_file import FlowFile
from nfkd.files import file_kind, is_inflated, is_regular
from nfkd.flows.architecture import format_shape
from nfkd.flows.architectures import build_flow, flow_problems
from nfkd.flows.flow import Flow
from nfkd.flows.foreign.file_contents import describe_no_tensors

_PREFIXES = ("student.", "teacher.", "")
_WRAPPERS = ("state_dict", "graph", "model")
_GLOBAL = re.compile(r"GLOBAL (\S+)")
_LAYER = re.compile(r"flow\.layers\.(\d+)\.(.+)")
_OTHER_NAMES = (  # of chaiyujin/glow-pytorch, whose convolutions have no module of their own
    (re.compile(r"^f\."), "block."),
    (re.compile(r"^(block\.\d+|conv)\.(weight|bias)$"), r"\1.conv.\2"),
    (re.compile(r"^invconv\.l$"), "invconv.lower"),
    (re.compile(r"^invconv\.u$"), "invconv.upper"),
)
_PRIOR = "prior_h"
_TRAINERS = frozenset(
    {"argparse", "collections", "easydict", "lightning", "lightning_fabric", "numpy", "omegaconf", "pathlib"}
    | {"pytorch_lightning", "typing"}
)
"""Packages whose objects training leaves in a checkpoint."""
_DEFAULT = GlowConfig()
_FIXED_OPTIONS = ("permutation", "coupling", "scale", "actnorm", "learned_prior", "checkerboard")
_GIVE_SIZES = "Give the levels, steps and width of the flow that the file was made by."


class CheckpointError(ValueError):
    """A checkpoint cannot be read as a flow.

    Attributes
    ----------
    cause, action
        Why, with the file's path, and what the user can do.
    """

    def __init__(self, path: Path, problem: str, action: str) -> None:
        self.cause, self.action = f"{path} {problem}.", action
        super().__init__(f"{self.cause} {action}")


@dataclass(frozen=True)
class Imported:
    """A flow with the weights of a checkpoint.

    Attributes
    ----------
    config, flow
        The flow, in evaluation mode.
    prefix
        Of the names of its tensors in the file, such as ``student.``; may be empty.
    left
        Tensors of other modules in the file.
    """

    config: GlowConfig
    flow: Flow
    prefix: str
    left: list[str]


class _Ignored:
    """Replaces an object, class or function in a checkpoint that is not needed."""

    def __init__(self, *arguments: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


def read_checkpoint(path: Path, file: FlowFile) -> Imported:
    """Read a Glow checkpoint.

    Parameters
    ----------
    path
        Written by ``torch.save``, or a ``.safetensors`` file. The tensors may be in ``state_dict`` (Lightning),
        ``graph`` or ``model``, and their names may start with ``student.`` or ``teacher.``: the first of student,
        teacher and no prefix that fits the flow is used.
    file
        The flow. Its event shape is optional if the checkpoint has ``prior_h``, whose size gives the image's.

    Raises
    ------
    ConfigError
        When the flow has options that this layout does not have, or does not fit the images.
    CheckpointError
        When the file cannot be read, or tensors are missing, unknown or have the wrong shape.
    """
    config = file.flow
    if not isinstance(config, GlowConfig):
        raise ConfigError([ConfigProblem("kind", f"only Glow checkpoints can be imported, not {config.kind}")])
    _refuse_options(config)
    tensors = _read(path)
    candidates = [prefix for prefix in _PREFIXES if any(name.startswith(f"{prefix}flow.layers.") for name in tensors)]
    if not candidates:
        first = ", ".join(sorted(tensors)[:3]) or "nothing"
        raise CheckpointError(path, f"has no tensors flow.layers.N…, but {first}", "Is it a Glow of that layout?")
    problems: list[CheckpointError] = []
    for prefix in candidates:
        own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        try:
            flow = _convert(path, config, file, prefix, own)
        except CheckpointError as error:
            problems.append(error)
            continue
        left = sorted(name for name in tensors if not name.startswith(prefix))
        return Imported(config, flow, prefix, left)
    raise problems[0]


def _refuse_options(config: GlowConfig) -> None:
    problems = [
        ConfigProblem(
            name, f"Glow checkpoints of this layout have {getattr(_DEFAULT, name)!r}, not {getattr(config, name)!r}"
        )
        for name in _FIXED_OPTIONS
        if getattr(config, name) != getattr(_DEFAULT, name)
    ]
    if problems:
        raise ConfigError(problems)


# --- reading the file -------------------------------------------------------------------------------------------------


def _read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name, without a wrapper such as ``state_dict``."""
    if not is_regular(path):
        raise CheckpointError(path, file_kind(path) or "does not exist", "Give the path of a checkpoint.")
    if is_inflated(path):
        raise CheckpointError(path, "is compressed, and would need more memory than its size", "Save it by torch.save.")
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            with warnings.catch_warnings(), safe_globals(_ignored_globals(path)):
                warnings.simplefilter("ignore")  # old pickles warn
                content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # A damaged or hostile pickle can raise any exception.
        action = (
            "A file with other objects than tensors is not opened. Save only the weights where it was made: "
            "torch.save(module.state_dict(), file)."
        )
        problem = describe_no_tensors(path) or f"is not a complete file of tensors: {_reason(error)}".rstrip(".")
        raise CheckpointError(path, problem, action) from error
    for name in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    if not isinstance(content, Mapping):
        problem = f"holds a {type(content).__name__}, not named tensors"
        raise CheckpointError(path, problem, "Save a module's state_dict.")
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _ignored_globals(path: Path) -> list[Any]:
    """Return the names from training libraries in a checkpoint, each to be read as `_Ignored`."""
    try:
        names = get_unsafe_globals_in_checkpoint(path)
    except ValueError:
        return []  # an older format, or no checkpoint
    return [(_Ignored, name) for name in names if name.partition(".")[0] in _TRAINERS]


def _reason(error: Exception) -> str:
    """Return why a file was not read, without PyTorch's advice to run the code in it."""
    if isinstance(error, pickle.UnpicklingError):
        named = _GLOBAL.search(str(error))
        return f"it holds {named[1]}" if named else "it is damaged or of another kind"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "it is damaged or of another kind"


# --- names and shapes -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Conversion:
    """A tensor of a layer in the checkpoint, and the tensor of our layer that it becomes."""

    source: str
    target: str
    ones: tuple[int, int] = (0, 0)
    """How many dimensions of size one the source has before and after the target's."""
    convert: Callable[[Tensor], Tensor] = lambda value: value
    is_valid: Callable[[Tensor], bool] = lambda _: True
    problem: str = ""


def _is_permutation(value: Tensor) -> bool:
    ones = value.new_ones(len(value))
    return bool(((value == 0) | (value == 1)).all() and (value.sum(0) == ones).all() and (value.sum(1) == ones).all())


def _is_sign(value: Tensor) -> bool:
    return bool((value.abs() == 1).all())


def _norm(source: str, target: str) -> tuple[_Conversion, ...]:
    return (
        _Conversion(f"{source}.bias", f"{target}.bias", (1, 2)),
        _Conversion(f"{source}.logs", f"{target}.log_scale", (1, 2)),
    )


def _last(source: str, target: str) -> tuple[_Conversion, ...]:
    return (
        _Conversion(f"{source}.conv.weight", f"{target}.weight"),
        _Conversion(f"{source}.conv.bias", f"{target}.bias"),
        _Conversion(f"{source}.logs", f"{target}.log_scale", (0, 2)),
    )


_CONVERSIONS = {
    "step": (
        *_norm("actnorm", "mixing.norm"),
        _Conversion("invconv.p", "mixing.permutation", is_valid=_is_permutation, problem="is not a permutation"),
        _Conversion("invconv.sign_s", "mixing.sign", is_valid=_is_sign, problem="has other numbers than ±1"),
        _Conversion("invconv.lower", "mixing.lower", convert=lambda value: value.tril(-1)),
        _Conversion("invconv.upper", "mixing.upper", convert=lambda value: value.triu(1)),
        _Conversion("invconv.log_s", "mixing.log_diagonal"),
        _Conversion("block.0.conv.weight", "coupling.network.weights.0"),
        *_norm("block.0.actnorm", "coupling.network.norms.0"),
        _Conversion("block.2.conv.weight", "coupling.network.weights.1"),
        *_norm("block.2.actnorm", "coupling.network.norms.1"),
        *_last("block.4", "coupling.network.last"),
    ),
    "split": _last("conv", "network"),
    "squeeze": (),
}
"""The tensors of each kind of layer."""


def _canonical(name: str) -> str:
    """Return a tensor's name in the authors' layout."""
    found = _LAYER.fullmatch(name)
    if found is None:
        return name
    rest = found[2]
    for pattern, known in _OTHER_NAMES:
        rest = pattern.sub(known, rest)
    return f"flow.layers.{found[1]}.{rest}"


# --- conversion -------------------------------------------------------------------------------------------------------


def _convert(path: Path, config: GlowConfig, file: FlowFile, prefix: str, own: dict[str, Tensor]) -> Flow:
    """Return the flow of tensors whose prefix has been removed."""
    shape = _event_shape(path, config, file, own)
    problems = flow_problems(config, shape)
    if problems:
        raise ConfigError(problems)
    flow = build_flow(config, shape)
    state = flow.state_dict()
    expected = {
        f"flow.layers.{number}.{conversion.source}": (conversion, f"layers.{number}.{conversion.target}")
        for number, layer in enumerate(flow.layer_info())
        for conversion in _CONVERSIONS[layer.kind]
    }
    found: dict[str, tuple[str, Tensor]] = {}
    extra: list[str] = []
    for name, value in own.items():
        known = _canonical(name)
        if known in expected and known not in found:
            found[known] = (name, value)
        elif name != _PRIOR:
            extra.append(prefix + name)
    _refuse_names(path, "lacks", sorted(prefix + name for name in expected.keys() - found.keys()))
    _refuse_names(path, "has the unknown tensor", sorted(extra))
    for known, (name, value) in found.items():
        conversion, target = expected[known]
        _check(path, prefix + name, value, conversion, tuple(state[target].shape))
        state[target] = conversion.convert(value.float()).reshape(state[target].shape)
    if _PRIOR in own and own[_PRIOR].count_nonzero():
        problem = f"has a learned prior ({prefix}{_PRIOR} is not zero)"
        raise CheckpointError(path, problem, "Only a standard normal prior can be imported.")
    state["_initialized"] = torch.ones_like(state["_initialized"])
    flow.load_state_dict(state)
    return flow.eval()


def _refuse_names(path: Path, verb: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise CheckpointError(path, f"{verb} {names[0]}{more}", _GIVE_SIZES)


def _event_shape(path: Path, config: GlowConfig, file: FlowFile, own: dict[str, Tensor]) -> tuple[int, ...]:
    """Return the images' shape: that of the flow's file, or that which the first ActNorm and the prior imply."""
    factor = 2**config.levels
    prior = own.get(_PRIOR)
    size = None if prior is None or prior.dim() < 2 else (factor * prior.shape[-2], factor * prior.shape[-1])
    if file.event_shape:
        shape = tuple(file.event_shape)
        if size is not None and shape[1:] != size:
            problem = f"is for images of {format_shape(size)} (by {_PRIOR}), not of {format_shape(shape[1:])}"
            raise CheckpointError(path, problem, "Correct event_shape or levels.")
        return shape
    bias = own.get("flow.layers.1.actnorm.bias")
    if size is None or bias is None or bias.dim() != 4 or bias.shape[1] % 4:
        message = "is required, because the checkpoint does not contain it: such as event_shape = [3, 32, 32]"
        raise ConfigError([ConfigProblem("event_shape", message)])
    return (bias.shape[1] // 4, *size)


def _check(path: Path, name: str, value: Tensor, conversion: _Conversion, shape: tuple[int, ...]) -> None:
    before, after = conversion.ones
    expected = (*[1] * before, *shape, *[1] * after)
    if tuple(value.shape) != expected:
        sizes = [format_shape(size) or "of a single number" for size in (value.shape, expected)]
        raise CheckpointError(path, f"has {name} in shape {sizes[0]}; this flow has {sizes[1]}", _GIVE_SIZES)
    if value.layout != torch.strided or not value.is_floating_point():
        problem = f"has {name} as {value.dtype}, not as plain floating-point numbers"
        raise CheckpointError(path, problem, "Save it as such.")
    if not value.isfinite().all():
        raise CheckpointError(path, f"has numbers in {name} that are not finite", "Use an earlier checkpoint.")
    if not conversion.is_valid(value):
        raise CheckpointError(
            path, f"has {name}, which {conversion.problem}", "The file is damaged or of another layout."
        )
