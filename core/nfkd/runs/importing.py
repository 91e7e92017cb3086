"""Glow checkpoints of the authors' earlier code (vklyukin/nf_distillation) as weights of ours.

In that layout ``flow.layers.N`` counts the squeeze, the steps and the split of every level in order, as our flows do. A
step is ActNorm, (x + bias)·exp(logs); then the 1×1 convolution p·(lower ⊙ mask + I)·(upper ⊙ maskᵀ + diag(sign_s ⊙
exp(log_s))); then affine coupling with the layers ``block.0``, ``block.2`` and ``block.4``. The last prior is standard
normal. The arithmetic is ours, so that only names and shapes change. chaiyujin/glow-pytorch counts its layers in the
same way and names some tensors otherwise; both names are known.

Nothing but tensors is read, and no code of the file's is called: PyTorch's weights-only reader refuses a pickle that
wants to. Objects of the libraries that trained it (Lightning's callbacks, settings) may lie beside the weights: each is
read as a `_Beside`, which forgets it.
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
from nfkd.files import file_kind, is_inflated, is_regular, is_taken
from nfkd.flows.architectures import build_flow, flow_problems
from nfkd.flows.flow import Flow
from nfkd.runs.errors import FULL, RunError, describe_error, errno_of
from nfkd.runs.weights import flow_meta, save_weights

_PREFIXES = ("student.", "teacher.", "")
_WRAPPINGS = ("state_dict", "graph", "model")
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
_PLAIN = GlowConfig()


@dataclass(frozen=True)
class Imported:
    """A flow with weights from elsewhere.

    Attributes
    ----------
    config, flow
        What it is; in evaluation mode.
    prefix
        Under which its tensors stood in the file, such as ``student.``; may be empty.
    left
        Tensors of other modules in the file.
    """

    config: GlowConfig
    flow: Flow
    prefix: str
    left: list[str]


class _Beside:
    """Stands for an object beside the weights, its class, or a function that makes one: nothing of it is kept."""

    def __init__(self, *arguments: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


def import_weights(path: Path, file: FlowFile) -> Imported:
    """Read a Glow checkpoint.

    Parameters
    ----------
    path
        Written by ``torch.save``, or a ``.safetensors`` file. The tensors may be wrapped in ``state_dict`` (Lightning),
        ``graph`` or ``model``, and their names may begin with ``student.`` or ``teacher.``: of those that are there, in
        this order, the first that is the flow is taken.
    file
        The flow. Its event shape may be left out where the checkpoint holds ``prior_h``, which tells the image's size.

    Raises
    ------
    ConfigError
        When the flow has what this layout has not, or does not fit the images.
    RunError
        When the file cannot be read, or its tensors are not this flow's: which lack, are left over or have another
        shape.
    """
    config = file.flow
    if not isinstance(config, GlowConfig):
        raise ConfigError([ConfigProblem("kind", f"only Glow checkpoints can be imported, not {config.kind}")])
    _refuse_options(config)
    tensors = _read(path)
    candidates = [prefix for prefix in _PREFIXES if any(name.startswith(f"{prefix}flow.layers.") for name in tensors)]
    if not candidates:
        first = ", ".join(sorted(tensors)[:3]) or "nothing"
        raise _refusal(path, f"has no tensors flow.layers.N…, but {first}", "Is it a Glow of that layout?")
    problems: list[RunError] = []
    for prefix in candidates:
        own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        try:
            flow = _convert(path, config, file, prefix, own)
        except RunError as error:
            problems.append(error)
            continue
        left = sorted(name for name in tensors if not name.startswith(prefix))
        return Imported(config, flow, prefix, left)
    raise problems[0]


def save_imported(imported: Imported, target: Path, source: Path) -> None:
    """Write an imported flow as a weights file that `nfkd.runs.weights.load_scaled_flow` reads.

    Raises
    ------
    RunError
        When something is there already, or it cannot be written.
    """
    if is_taken(target):
        title = "The weights were not written"
        raise RunError(title, f"{target} is there already.", "Give another --out.")
    meta = flow_meta(imported.config, imported.flow) | {"imported": source.name, "prefix": imported.prefix}
    try:
        save_weights(target, imported.flow.state_dict(), "", meta)
    except OSError as error:
        title = "The disk is full" if errno_of(error) in FULL else "The weights were not written"
        raise RunError(title, f"{target}: {describe_error(error)}.", "Give another --out.") from error


def _refuse_options(config: GlowConfig) -> None:
    options = ("permutation", "coupling", "scale", "actnorm", "learned_prior", "checkerboard")
    problems = [
        ConfigProblem(
            name, f"Glow checkpoints of this layout have {getattr(_PLAIN, name)!r}, not {getattr(config, name)!r}"
        )
        for name in options
        if getattr(config, name) != getattr(_PLAIN, name)
    ]
    if problems:
        raise ConfigError(problems)


def _refusal(path: Path, what: str, action: str) -> RunError:
    return RunError("The checkpoint cannot be imported", f"{path} {what}.", action)


def _read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by their names, its wrapping taken off."""
    if not is_regular(path):
        raise _refusal(path, file_kind(path) or "is not there", "Name a checkpoint's file.")
    if is_inflated(path):
        raise _refusal(path, "is packed, and would take more memory than its size", "Save it by torch.save.")
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            with warnings.catch_warnings(), safe_globals(_beside(path)):
                warnings.simplefilter("ignore")  # of old pickles; what cannot be read is refused in our own words
                content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # A damaged or hostile pickle can end in any exception; all mean that the file holds no plain tensors.
        what = f"is no whole file of tensors: {_why(error)}"
        action = (
            "A file that holds more than tensors is not opened; where it was made, save its state_dict alone: "
            "torch.save(module.state_dict(), file)."
        )
        raise _refusal(path, what.rstrip("."), action) from error
    for name in _WRAPPINGS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    if not isinstance(content, Mapping):
        raise _refusal(path, f"holds a {type(content).__name__}, not named tensors", "Save a module's state_dict.")
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _beside(path: Path) -> list[Any]:
    """Return what a checkpoint names of the libraries that train, each with what it is read as."""
    try:
        names = get_unsafe_globals_in_checkpoint(path)
    except ValueError:
        return []  # an older file of torch's, or none
    return [(_Beside, name) for name in names if name.partition(".")[0] in _TRAINERS]


def _why(error: Exception) -> str:
    """Say what kept a file from being read; never in PyTorch's words, which advise to run what is in it."""
    if not isinstance(error, pickle.UnpicklingError):
        return describe_error(error)
    named = _GLOBAL.search(str(error))
    return f"it holds {named[1]}" if named else "it is damaged or of another kind"


def _convert(path: Path, config: GlowConfig, file: FlowFile, prefix: str, own: dict[str, Tensor]) -> Flow:
    """Return the flow of tensors whose prefix has been taken off."""
    shape = _event_shape(path, config, file, own)
    problems = flow_problems(config, shape)
    if problems:
        raise ConfigError(problems)
    flow = build_flow(config, shape)
    state = flow.state_dict()
    expected = _expected(flow)
    given: dict[str, tuple[str, Tensor]] = {}
    extra = []
    for name, value in own.items():
        known = _canonical(name)
        if known in expected and known not in given:
            given[known] = (name, value)
        elif name != _PRIOR:
            extra.append(prefix + name)
    missing = sorted(prefix + name for name in expected.keys() - given.keys())
    _refuse_names(path, "lacks", missing)
    _refuse_names(path, "has no use for", sorted(extra))
    for known, (name, value) in given.items():
        entry = expected[known]
        _check(path, prefix + name, value, entry)
        state[entry.ours] = entry.change(value.float()).reshape(state[entry.ours].shape)
    if _PRIOR in own and own[_PRIOR].count_nonzero():
        raise _refusal(
            path, f"has a learned prior ({prefix}{_PRIOR} is not zero)", "Only a standard normal can be had."
        )
    state["_initialized"] = torch.ones_like(state["_initialized"])
    flow.load_state_dict(state)
    return flow.eval()


def _refuse_names(path: Path, verb: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        action = "Give the levels, steps and width of the flow that the file was made by."
        raise _refusal(path, f"{verb} {names[0]}{more}", action)


def _canonical(name: str) -> str:
    found = _LAYER.fullmatch(name)
    if found is None:
        return name
    rest = found[2]
    for pattern, known in _OTHER_NAMES:
        rest = pattern.sub(known, rest)
    return f"flow.layers.{found[1]}.{rest}"


def _event_shape(path: Path, config: GlowConfig, file: FlowFile, own: dict[str, Tensor]) -> tuple[int, ...]:
    """Return the images' shape: the file of the flow says it, or the first ActNorm and the prior's size do."""
    factor = 2**config.levels
    prior = own.get(_PRIOR)
    size = None if prior is None or prior.dim() < 2 else (factor * prior.shape[-2], factor * prior.shape[-1])
    if file.event_shape:
        shape = tuple(file.event_shape)
        if size is not None and shape[1:] != size:
            what = f"is for images of {size[0]}×{size[1]} (by {_PRIOR}), not of {'×'.join(map(str, shape[1:]))}"
            raise _refusal(path, what, "Correct event_shape or levels.")
        return shape
    bias = own.get("flow.layers.1.actnorm.bias")
    if size is None or bias is None or bias.dim() != 4 or bias.shape[1] % 4:
        problem = ConfigProblem(
            "event_shape", "is needed, for the checkpoint does not tell it: such as event_shape = [3, 32, 32]"
        )
        raise ConfigError([problem])
    return (bias.shape[1] // 4, *size)


@dataclass(frozen=True)
class _Entry:
    """A tensor of theirs: its name in our state, its shape, and what must be done to it and asked of it."""

    ours: str
    shape: tuple[int, ...]
    change: Callable[[Tensor], Tensor] = lambda value: value
    law: Callable[[Tensor], bool] = lambda _: True
    words: str = ""


def _expected(flow: Flow) -> dict[str, _Entry]:
    """Return every tensor of the layout by its name."""
    found: dict[str, _Entry] = {}
    state = flow.state_dict()
    for number, layer in enumerate(flow.layer_info()):
        theirs, ours = f"flow.layers.{number}.", f"layers.{number}."
        if layer.kind == "step":
            _expect_step(found, theirs, ours, layer.shape[0], state)
        elif layer.kind == "split":
            _expect_last(found, f"{theirs}conv.", f"{ours}network.", state)
    return found


def _expect_step(found: dict[str, _Entry], theirs: str, ours: str, channels: int, state: dict[str, Tensor]) -> None:
    _expect_norm(found, f"{theirs}actnorm.", f"{ours}mixing.norm.", channels)
    square, conv, mixing = (channels, channels), f"{theirs}invconv.", f"{ours}mixing."
    found[f"{conv}p"] = _Entry(f"{mixing}permutation", square, law=_is_permutation, words="is no permutation")
    found[f"{conv}sign_s"] = _Entry(f"{mixing}sign", (channels,), law=_is_sign, words="holds other numbers than ±1")
    found[f"{conv}lower"] = _Entry(f"{mixing}lower", square, change=lambda value: value.tril(-1))
    found[f"{conv}upper"] = _Entry(f"{mixing}upper", square, change=lambda value: value.triu(1))
    found[f"{conv}log_s"] = _Entry(f"{mixing}log_diagonal", (channels,))
    for place, hidden in enumerate((0, 2)):
        block, network = f"{theirs}block.{hidden}.", f"{ours}coupling.network."
        weight = state[f"{network}weights.{place}"]
        found[f"{block}conv.weight"] = _Entry(f"{network}weights.{place}", tuple(weight.shape))
        _expect_norm(found, f"{block}actnorm.", f"{network}norms.{place}.", len(weight))
    _expect_last(found, f"{theirs}block.4.", f"{ours}coupling.network.last.", state)


def _expect_norm(found: dict[str, _Entry], theirs: str, ours: str, channels: int) -> None:
    found[f"{theirs}bias"] = _Entry(f"{ours}bias", (1, channels, 1, 1))
    found[f"{theirs}logs"] = _Entry(f"{ours}log_scale", (1, channels, 1, 1))


def _expect_last(found: dict[str, _Entry], theirs: str, ours: str, state: dict[str, Tensor]) -> None:
    weight = state[f"{ours}weight"]
    found[f"{theirs}conv.weight"] = _Entry(f"{ours}weight", tuple(weight.shape))
    found[f"{theirs}conv.bias"] = _Entry(f"{ours}bias", (len(weight),))
    found[f"{theirs}logs"] = _Entry(f"{ours}log_scale", (len(weight), 1, 1))


def _is_permutation(value: Tensor) -> bool:
    ones = value.new_ones(len(value))
    return bool(((value == 0) | (value == 1)).all() and (value.sum(0) == ones).all() and (value.sum(1) == ones).all())


def _is_sign(value: Tensor) -> bool:
    return bool((value.abs() == 1).all())


def _check(path: Path, name: str, value: Tensor, entry: _Entry) -> None:
    shape = tuple(value.shape)
    if shape != entry.shape:
        what = f"has {name} in shape {_words(shape)}; this flow has {_words(entry.shape)}"
        raise _refusal(path, what, "Give the levels, steps and width of the flow that the file was made by.")
    if value.layout != torch.strided or not value.is_floating_point():
        raise _refusal(path, f"has {name} as {value.dtype}, not as plain floating-point numbers", "Save it so.")
    if not value.isfinite().all():
        raise _refusal(path, f"has numbers in {name} that are not finite", "Take an earlier checkpoint.")
    if not entry.law(value):
        raise _refusal(path, f"has {name}, which {entry.words}", "The file is damaged or of another layout.")


def _words(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "of a single number"
